"""Who pauses at a rung, who goes on later, who is given up: from the recorded values alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.search.promotion import Competition, group_of
from sweep_runner.search.pruners import resolve
from sweep_runner.spec.strategies import Promotion

OPTIONS = Promotion(kind="promotion", min_epochs=3, reduction_factor=3, group_by=())


def at_rung(*values: float, epoch: int = 3) -> dict[int, dict[int, float]]:
    """Trials 0, 1, … with their values at the rung."""
    return {number: {epoch: value} for number, value in enumerate(values)}


def competition(values: Any, mode: Any = "max", groups: Any = None, options: Promotion = OPTIONS) -> Competition:
    return Competition(options, mode, values, groups or dict.fromkeys(values, ()))


def test_the_first_trial_goes_on_and_a_worse_second_one_pauses() -> None:
    assert competition(at_rung(0.5)).pauses(0, 3) is None
    reason = competition(at_rung(0.5, 0.4)).pauses(1, 3)
    assert reason == "rung at epoch 3: 0.4 is rank 2 of 2 trials; the best 1 continue (needs 0.5)"


def test_nothing_pauses_between_rungs() -> None:
    values = {0: {2: 0.9, 3: 0.9, 4: 0.9}, 1: {2: 0.1, 3: 0.1, 4: 0.1}}
    assert competition(values).pauses(1, 2) is None
    assert competition(values).pauses(1, 4) is None
    assert competition(values).pauses(1, 3) is not None


def test_a_paused_trial_goes_on_when_the_best_third_has_room_for_it() -> None:
    paused = {1, 2, 3, 4}
    assert competition(at_rung(0.9, 0.5, 0.4, 0.3, 0.2)).promoted(paused) is None
    assert competition(at_rung(0.9, 0.5, 0.4, 0.3, 0.2, 0.1)).promoted(paused) == 1


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 1)])
def test_which_way_is_better(mode: str, best: int) -> None:
    assert competition(at_rung(0.5, 0.1, 0.9), mode).promoted({0, 1, 2}) == best


def test_trials_compete_with_those_of_their_group_only() -> None:
    values = at_rung(0.9, 0.8, 0.3, 0.2)
    groups = {0: ("model=quick",), 1: ("model=quick",), 2: ("model=slow",), 3: ("model=slow",)}
    alike = competition(values, groups=groups)
    assert alike.pauses(2, 3) is None, "the first of its network runs to its end, however low it starts"
    assert "1 of 2 trials with model=slow" in str(alike.standing(2, 3))
    assert alike.pauses(3, 3) is not None


def test_the_higher_rung_goes_first_and_is_given_up_last() -> None:
    values = {0: {3: 0.9, 9: 0.9}, 1: {3: 0.8, 9: 0.5}, 2: {3: 0.7}, 3: {3: 0.6}, 4: {3: 0.1}, 5: {3: 0.1}}
    found = competition(values)
    assert found.promoted({1, 2, 3}) is None
    assert found.given_up({1, 2, 3}, 1) == [2, 3]
    assert found.given_up({1, 2, 3}, 3) == []


def test_what_is_no_number_is_behind_every_number_and_never_goes_on() -> None:
    assert competition(at_rung(math.nan)).pauses(0, 3) is not None
    assert competition(at_rung(math.nan, 0.1)).promoted({0, 1}) == 1


def test_equal_values_do_not_all_go_on() -> None:
    found = competition(at_rung(1.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert [number for number in range(6) if found.pauses(number, 3) is None] == [0, 1]


def test_groups_are_named_by_their_values() -> None:
    options = OPTIONS.model_copy(update={"group_by": ("model", "workers")})
    assert group_of(options, {"model": "resnet18", "lr": 0.1}) == ("model=resnet18",)


def test_the_first_rung_and_the_groups_come_from_the_sweep(make_spec: Any) -> None:
    found = resolve(make_spec(fixed={"epochs": 10}, pruner=Promotion(kind="promotion")))
    assert isinstance(found, Promotion)
    assert (found.min_epochs, found.group_by) == (4, ("model",))
    with pytest.raises(RequestError, match=r"min_epochs.*first rung"):
        resolve(make_spec(fixed={}, pruner=Promotion(kind="promotion")))
