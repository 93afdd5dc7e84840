"""Which model is published, where the smaller or the faster of those that cannot be told apart is preferred."""

from __future__ import annotations

from sweep_runner.execution.publishing.answering import _preferred
from sweep_runner.results.answer import Answer
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.model import Objective

ANSWER = Answer(winner=4, ranked=("4:3", "1:2", "2:2", "0:1"), compared=(4, 1, 2, 0), alike=(4, 1, 2), chosen=4)
PARAMETERS = {0: 10, 1: 3_000, 2: 2_000, 4: 9_000}


def state(parameters: dict[int, int] = PARAMETERS) -> SweepState:
    trials = {number: TrialSummary(number, num_parameters=size) for number, size in parameters.items()}
    return SweepState(Objective(), trials=trials)


def test_the_smallest_of_those_alike_is_published_and_why_is_told() -> None:
    answer = _preferred(ANSWER, "smaller", state(), lambda trial: True)
    assert answer.chosen == 2, "trial 0 is smaller, and worse by more than chance"
    assert answer.why_chosen == (
        "trial 2 is published instead of trial 4 (export.prefer: smaller): number of parameters 2,000 instead of "
        "9,000, the lowest of trials 1, 2 and 4, which do not differ significantly and have checkpoints"
    )


def test_a_trial_without_a_checkpoint_cannot_be_published() -> None:
    assert _preferred(ANSWER, "smaller", state(), lambda trial: trial != 2).chosen == 1
    alone = _preferred(ANSWER, "smaller", state(), lambda trial: trial == 4)
    assert alone.chosen == 4
    assert "no other trial that is not significantly worse has a checkpoint" in alone.why_chosen


def test_of_equals_the_better_one_is_published() -> None:
    same = dict.fromkeys(PARAMETERS, 5_000)
    assert _preferred(ANSWER, "smaller", state(same), lambda trial: True).chosen == 4


def test_faster_is_by_measured_latency_where_all_have_it() -> None:
    of = state()
    for number, latency in ((4, 8.0), (1, 2.0), (2, 3.0)):
        of.trials[number].facts["onnx_latency_ms"] = latency
    answer = _preferred(ANSWER, "faster", of, lambda trial: True)
    assert answer.chosen == 1
    assert "latency in ms 2 instead of 8" in answer.why_chosen


def test_nothing_is_preferred_unless_asked() -> None:
    assert _preferred(ANSWER, "", state(), lambda trial: True) == ANSWER
