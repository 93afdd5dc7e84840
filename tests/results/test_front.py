"""The Pareto front: none of its trials is beaten in all objectives."""

from __future__ import annotations

import random

from sweep_runner.results.front import dominates, front, point_of
from sweep_runner.results.state import TrialSummary
from sweep_runner.spec.goals import Goal
from sweep_runner.spec.model import Objective


def test_what_dominates() -> None:
    assert dominates((2.0, 1.0), (1.0, 1.0))
    assert not dominates((2.0, 0.0), (1.0, 1.0))
    assert not dominates((1.0, 1.0), (1.0, 1.0)), "equal ones are both an answer"


def test_the_front_is_what_comparing_all_with_all_gives() -> None:
    dice = random.Random(0)
    for num_goals in (1, 2, 3):
        points = {number: tuple(float(dice.randrange(6)) for _ in range(num_goals)) for number in range(40)}
        expected = {n for n, mine in points.items() if not any(dominates(other, mine) for other in points.values())}
        assert front(points) == expected
    assert front({}) == set()


def test_a_trial_lies_where_less_latency_is_better_and_nowhere_without_one() -> None:
    objective = Objective(also=(Goal(metric="onnx_latency_ms", mode="min"), Goal(metric="val_loss", mode="min")))
    summary = TrialSummary(0, best_value=0.9, best_metrics={"val_accuracy": 0.9, "val_loss": 0.3})
    assert point_of(summary, objective) is None
    summary.facts["onnx_latency_ms"] = 5.0
    assert point_of(summary, objective) == (0.9, -5.0, -0.3)
    summary.best_metrics = {**summary.best_metrics, "val_loss": float("nan")}
    assert point_of(summary, objective) is None
