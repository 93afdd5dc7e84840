"""Every sampler beside every pruner proposes from what was learnt by a third of the sweep."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from sweep_runner.search.study import Study
from sweep_runner.spec.space import FloatRange
from sweep_runner.spec.strategies import Sampler

PRUNERS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "successive_halving"},
    {"kind": "hyperband", "max_epochs": 9},
    {"kind": "median", "startup_trials": 1},
    {"kind": "percentile", "startup_trials": 1},
    {"kind": "threshold", "lower": -5.0},
    {"kind": "patient", "patience": 0},
    {"kind": "promotion", "min_epochs": 3},
]
LEARNING = [sampler for sampler in get_args(Sampler) if sampler not in ("random", "grid", "qmc")]
SPACE = {"x": FloatRange(low=0.0, high=1.0), "y": FloatRange(low=0.0, high=1.0)}
TRIALS, EPOCHS = 18, 9


def train(study: Study, trial: Any, best: float) -> None:
    """A curve that is the better the nearer x and y are to the best, and dips once."""
    last = max(study.trials()[trial.number].intermediate, default=0)
    for epoch in range(last + 1, EPOCHS + 1):
        value = 1 - abs(trial.params["x"] - best) - abs(trial.params["y"] - best) - 1 / epoch - (epoch == 5)
        study.report(trial.number, epoch, value)
        if epoch < EPOCHS and study.should_prune(trial.number, epoch):
            study.tell(trial.number, "PRUNED")
            return
        if epoch < EPOCHS and study.should_pause(trial.number, epoch):
            study.pause(trial.number)
            return
    study.tell(trial.number, "COMPLETED", value)


def proposals(study: Study, best: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while (trial := study.ask()) is not None:
        if trial.number == len(found):
            found.append(trial.params)
        train(study, trial, best)
    return found


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: pruner["kind"])
@pytest.mark.parametrize("sampler", LEARNING)
def test_what_was_learnt_shows_by_a_third_of_the_sweep(sampler, pruner, make_spec, open_study, tmp_path) -> None:
    """Two sweeps with the same seed, whose best settings lie at opposite ends: only chance would propose the same."""
    ways = []
    for name, best in (("low", 0.0), ("high", 1.0)):
        spec = make_spec(sampler, TRIALS, space=SPACE, pruner=pruner)
        ways.append(proposals(open_study(spec, tmp_path / name), best))
    low, high = ways
    assert low[0] == high[0]
    third = TRIALS // 3
    assert [a == b for a, b in zip(low, high, strict=True)][third + 1 :].count(True) <= third // 2


@pytest.mark.parametrize("sampler", LEARNING)
def test_stopped_trials_count_where_nearly_none_completes(sampler, make_spec, open_study, tmp_path) -> None:
    """With a hard pruner the second half is nearer to the best than chance is."""
    distances = {}
    for kind in (sampler, "random"):
        total = 0.0
        for seed in range(2):
            spec = make_spec(kind, 30, space=SPACE, seed=seed, pruner={"kind": "successive_halving"})
            found = proposals(open_study(spec, tmp_path / f"{kind}-{seed}"), 0.2)
            total += sum(abs(params["x"] - 0.2) + abs(params["y"] - 0.2) for params in found[15:])
        distances[kind] = total
    assert distances[sampler] < 0.9 * distances["random"]
