"""What `sweep init` writes as baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep_runner.cli.usual_baselines import with_usual_baselines
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec

TEXT = """\
name: tried
data: {{dataset: digits}}
trainable: {trainable}
fixed: {{epochs: 3}}
space:
{space}
objective: {{metric: {metric}, mode: max}}
search: {{trials: {trials}}}
"""
IMAGES = "  model: [simple_cnn3, mlp6, cnn4]\n  lr: {low: 1e-4, high: 0.1, log: true}\n  optimizer: [sgd, adamw]"


@pytest.mark.parametrize(
    ("trials", "expected"), [(20, ["simple_cnn3", "mlp6", "cnn4"]), (6, ["simple_cnn3", "mlp6"]), (1, ["simple_cnn3"])]
)
def test_each_network_has_its_usual_recipe_as_a_baseline(tmp_path: Path, trials: int, expected: list[str]) -> None:
    file = tmp_path / "s.yaml"
    text = TEXT.format(trainable="image_classifier", space=IMAGES, metric="val_accuracy", trials=trials)
    file.write_text(text)
    written = with_usual_baselines(text, load_spec(file).spec)
    file.write_text(written)
    baselines = check_spec(load_spec(file)).spec.baselines  # complete, and inside the space
    assert list(baselines) == [f"usual-{model}" for model in expected]
    assert all(params["optimizer"] == "adamw" for params in baselines.values())


def test_a_trainable_without_usual_values_gets_none(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    text = TEXT.format(trainable="synthetic", space="  lr: {low: 1e-4, high: 0.1, log: true}", metric="score", trials=9)
    text = text.replace("data: {dataset: digits}\n", "")
    file.write_text(text)
    assert with_usual_baselines(text, load_spec(file).spec) == text
