"""What keeps a sweep from making one model of several is told before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_runner.errors import RequestError
from sweep_runner.spec.check import load_plan

BASE: dict[str, Any] = {
    "name": "small",
    "data": {"dataset": "digits"},
    "fixed": {
        "epochs": 2,
        "model": "mlp6",
        "color": "grayscale",
        "pretrained": False,
        "finetune": "scratch",
        "seed": 1,
    },
    "space": {"lr": [0.001, 0.002]},
    "search": {"sampler": "grid", "trials": 2},
    "export": {"soup": "auto"},
}


def problems(tmp_path: Path, **changes: Any) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**BASE, **changes}))
    with pytest.raises(RequestError) as caught:
        load_plan(file)
    return str(caught.value)


def test_what_can_be_made_passes(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(BASE))
    assert load_plan(tmp_path / "small.yaml").spec.export.soup == "auto"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"search": {"trials": 1}}, "the sweep has one trial"),
        ({"export": {"soup": "auto", "formats": []}}, "export.formats is empty"),
        ({"export": {"soup": "auto", "refit": True}}, "export.refit publishes a model that is retrained"),
        ({"data": {"dataset": "digits", "split": {"folds": 3}}}, "with data.split.folds"),
        ({"fixed": {"epochs": 2, "model": "mlp6", "color": "grayscale", "pretrained": False}}, "random weights of its"),
        (
            {"trainable": "synthetic", "data": {}, "fixed": {"epochs": 2}},
            "synthetic cannot make one model of several checkpoints",
        ),
    ],
)
def test_each_obstacle_is_told_with_the_key(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    found = problems(tmp_path, **changes)
    assert "export.soup: " in found
    assert told in found


def test_a_setting_without_effect_is_refused_of_a_new_sweep_and_warned_of_in_one_that_has_begun(
    tmp_path: Path,
) -> None:
    """Earlier versions took it: such a sweep continues as it was."""
    fixed = {"epochs": 2, "model": "resnet18", "pretrained": False, "input_resolution": 32, "drop_path": 0.1}
    values = {**BASE, "fixed": fixed, "space": {"pooling": ["avg", "max"], "lr": [0.001, 0.01]}, "export": {}}
    told = "resnet18 makes a map of one pixel of 32 pixels, so that max would change nothing"
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(RequestError, match=told):
        load_plan(file)
    begun = load_plan(file, resolved=True)
    (warning,) = (one for one in begun.warnings if told in one)
    assert "the sweep continues as it began" in warning
    assert any(told in one for one in load_plan(file, before=begun.spec).warnings)
    file.write_text(yaml.safe_dump({**values, "space": {"pooling": ["token"], "lr": [0.001]}}))
    with pytest.raises(RequestError, match="does not support token"):
        load_plan(file, resolved=True)
