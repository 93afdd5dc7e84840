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
