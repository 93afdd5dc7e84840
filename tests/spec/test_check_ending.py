"""`search.stop` and `search.confirm` in a sweep file: what is taken, refused, and warned of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sweep_runner.spec.plan import Plan
from trainables.quantities import duration_text

PlanOf = Callable[..., Plan]
ProblemsOf = Callable[..., str]

TEXT = """
    name: x
    trainable: image_classifier
    data: {dataset: digits}
    fixed: {model: mlp6, pretrained: false, finetune: scratch}
    space: {lr: [0.1, 0.01]}
    search: {trials: 6, SEARCH}
"""


def text(search: str) -> str:
    return TEXT.replace("SEARCH", search)


@pytest.mark.parametrize(
    ("written", "seconds", "told"),
    [
        ("2h", 7200, "2h"),
        ("90m", 5400, "1h 30m"),
        ("1h30m", 5400, "1h 30m"),
        ("1h 30min", 5400, "1h 30m"),
        ("0.5h", 1800, "30m"),
        ("45s", 45, "45s"),
        ("600", 600, "10m"),
    ],
)
def test_durations(plan_of: PlanOf, written: str, seconds: float, told: str) -> None:
    stop = plan_of(text(f"stop: {{after: {written}}}")).spec.search.stop
    assert stop is not None
    assert stop.after == seconds
    assert duration_text(seconds) == told


@pytest.mark.parametrize("written", ["soon", "0", "-5m", "2d", "h", "true", "1:30", '""', "2h30"])
def test_what_is_no_duration_is_refused_with_how_to_write_one(problems_of: ProblemsOf, written: str) -> None:
    problem = problems_of(text(f"stop: {{after: {written}}}"))
    assert "search.stop.after" in problem
    assert 'is not a duration: give hours, minutes and seconds such as "2h", "90m" or "1h30m"' in problem


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("stop: {at: 97}", "search.stop.at is 97: val_accuracy is always between 0 and 1\n    Did you mean 0.97?"),
        ("stop: {at: -0.1}", "search.stop.at is -0.1: val_accuracy is always between 0 and 1"),
        ("stop: {}", "search.stop needs after, at or no_gain"),
        ("stop: {no_gain: 0}", "search.stop.no_gain is 0: must be at least 1"),
        ("confirm: {top: 0}", "search.confirm.top is 0: must be at least 1"),
        ("confirm: {seeds: 1}", "search.confirm.seeds is 1: must be at least 2"),
    ],
)
def test_values_that_cannot_be(problems_of: ProblemsOf, search: str, expected: str) -> None:
    assert expected in problems_of(text(search))


def test_a_loss_has_no_greatest_value(plan_of: PlanOf, problems_of: ProblemsOf) -> None:
    of_loss = text("stop: {at: 3.0}") + "    objective: {metric: val_loss}\n"
    assert plan_of(of_loss).spec.search.stop is not None
    assert "val_loss is always at least 0" in problems_of(of_loss.replace("3.0", "-1"))


def test_a_seed_that_is_set_cannot_be_another_one(problems_of: ProblemsOf, plan_of: PlanOf) -> None:
    seeded = text("confirm: {top: 2}").replace("fixed: {", "fixed: {seed: 3, ")
    assert "fixed.seed is set: search.confirm repeats trials with other seeds" in problems_of(seeded)
    assert plan_of(seeded.replace("confirm: {top: 2}", "seed: 1")).spec.fixed["seed"] == 3


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("stop: {no_gain: 6}", "search.stop.no_gain is 6: it cannot end a search of 6 trials early"),
        ("confirm: {top: 7}", "search.confirm.top is 7: the sweep has 6 trials"),
        ("stop: {after: 40s}", "search.stop.after is 40s: about half of it is reserved"),
    ],
)
def test_what_changes_nothing_or_less_than_it_says_is_told(plan_of: PlanOf, search: str, expected: str) -> None:
    (warning,) = plan_of(text(search).replace("[0.1, 0.01]", "{low: 0.01, high: 0.1}")).warnings
    assert expected in warning


def test_with_several_objectives_the_first_one_decides(plan_of: PlanOf) -> None:
    several = text("sampler: random, stop: {at: 0.9}, confirm: {top: 2}").replace(
        "[0.1, 0.01]", "{low: 0.01, high: 0.1}"
    )
    warnings = plan_of(several + "    objective: [val_accuracy, num_parameters]\n").warnings
    assert "search.stop.at, search.confirm look at the first objective alone, val_accuracy" in warnings
