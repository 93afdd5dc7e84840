"""Small sweeps and a driver that trains nothing, for the tests of the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.search.study import Study
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import Choice, FloatRange, IntRange

SPACE: dict[str, Any] = {
    "model": Choice(values=("a", "b", "c")),
    "optimizer": Choice(values=("adam", "sgd")),
    "momentum": Choice(values=(0.8, 0.9), when={"optimizer": ("sgd",)}),
    "nesterov": Choice(values=(True, False), when={"momentum": (0.9,), "augment": ("light",)}),
    "lr": FloatRange(low=1e-5, high=1e-1, log=True),
    "dropout": FloatRange(low=0.0, high=0.55, step=0.1),
    "width": IntRange(low=1, high=4, log=True),
    "resolution": IntRange(low=96, high=230, step=32),
    "layers": IntRange(low=4, high=4),
}
BASELINES: dict[str, dict[str, Any]] = {
    "small": {
        "model": "a", "optimizer": "adam", "lr": 0.001, "dropout": 0.0, "width": 2, "resolution": 96, "layers": 4,
    },
    "large": {
        "model": "c", "optimizer": "sgd", "momentum": 0.9, "nesterov": True,
        "lr": 0.01, "dropout": 0.3, "width": 4, "resolution": 224, "layers": 4,
    },
}  # fmt: skip
GRID_POINTS = {"points": 2}


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    """These tests record thousands of times."""
    return in_memory


@pytest.fixture
def make_spec() -> Callable[..., SweepSpec]:
    def make(
        sampler: str = "random",
        trials: int = 12,
        *,
        seed: int = 0,
        space: dict[str, Any] | None = None,
        baselines: dict[str, dict[str, Any]] | None = None,
        options: dict[str, Any] | None = None,
        **more: Any,
    ) -> SweepSpec:
        if options is None:
            options = GRID_POINTS if sampler == "grid" else {}
        if baselines is None:
            baselines = BASELINES if space is None else {}
        return SweepSpec(
            **{
                "name": "tried",
                "space": SPACE if space is None else space,
                "fixed": {"augment": "light"},
                "baselines": baselines,
                "search": {"sampler": sampler, "trials": trials, "seed": seed, "options": options},
                **more,
            }
        )

    return make


@pytest.fixture
def open_study(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    opened: list[Study] = []

    def open_(spec: SweepSpec, path: Path | None = None) -> Study:
        study = Study.open(path or tmp_path / "study.journal", spec)
        opened.append(study)
        return study

    yield open_
    for study in opened:
        study.close()


def objective(params: dict[str, Any], epoch: int) -> float:
    """Depends on every kind of parameter, best at lr 0.01."""
    quality = 1 - abs(math.log10(params["lr"]) + 2) / 10 + params["width"] / 100 + (params["model"] == "b") / 10
    return quality * epoch / 3


def finish(study: Study, epochs: int = 3) -> None:
    """Goes on with what is open, then asks until nothing is left."""

    def train(number: int, params: dict[str, Any]) -> None:
        for epoch in range(1, epochs + 1):
            study.report(number, epoch, objective(params, epoch))
            if reason := study.should_prune(number, epoch):
                assert reason
                study.tell(number, "PRUNED")
                return
        study.tell(number, "COMPLETED", objective(params, epochs))

    for proposal in study.open_trials():
        train(proposal.number, proposal.params)
    while (proposal := study.ask()) is not None:
        train(proposal.number, proposal.params)


@pytest.fixture
def drive() -> Callable[..., None]:
    return finish
