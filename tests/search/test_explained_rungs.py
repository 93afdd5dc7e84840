"""The comparisons that `sweep explain` tells are those that the pruner made."""

from __future__ import annotations

import math
import random

import pytest

from sweep_runner.search.pruners import decide, rungs_passed
from sweep_runner.spec.strategies import Hyperband, Pruner, SuccessiveHalving, Threshold

HALVING = SuccessiveHalving(kind="successive_halving", min_epochs=1, reduction_factor=3)
HYPERBAND = Hyperband(kind="hyperband", min_epochs=1, max_epochs=9, reduction_factor=3)


@pytest.mark.parametrize("options", [HALVING, HYPERBAND])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_they_agree_with_the_decision(options: Pruner, mode: str) -> None:
    chance = random.Random(0)
    values: dict[int, dict[int, float]] = {}
    for epoch in range(1, 10):
        for number in range(12):
            values.setdefault(number, {})[epoch] = chance.choice([0.1, 0.5, 0.7, chance.random(), float("nan")])
            rungs = rungs_passed(options, mode, values, number, epoch)  # type: ignore[arg-type]
            reason = decide(options, mode, values, number, epoch)  # type: ignore[arg-type]
            assert [rung.passed for rung in rungs[:-1]] == [True] * (len(rungs) - 1)
            assert (not rungs or rungs[-1].passed) == (reason is None)
            for rung in rungs:
                ahead = [
                    one for one in rung.rivals.values() if (one > rung.value if mode == "max" else one < rung.value)
                ]
                assert rung.passed == (len(ahead) < rung.num_kept and not math.isnan(rung.value))
                if not rung.passed and not math.isnan(rung.value):
                    assert rung.threshold in ahead


def test_a_rung_names_rivals_and_what_was_needed() -> None:
    (rung,) = rungs_passed(HALVING, "max", {0: {1: 0.5}, 1: {1: 0.9}, 2: {1: 0.7}, 3: {}}, 0, 1)
    assert rung.rivals == {1: 0.9, 2: 0.7}
    assert (rung.num_kept, rung.threshold, rung.passed) == (1, 0.9, False)


def test_a_pruner_without_rungs_has_none() -> None:
    assert rungs_passed(Threshold(kind="threshold", lower=0.9), "max", {0: {1: 0.5}}, 0, 1) == []
