"""What a sweep that has ended claims: from its log and its predictions on val alone, without training anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sweep_runner.results.answer import Answer
from sweep_runner.results.answering import work_out
from sweep_runner.results.events import Answered, EpochReported, FinalEvaluated, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from trainables.image.measures.scores import score
from trainables.outcomes import packed

Outcomes = dict[int, list[npt.NDArray[np.bool_]]]
"""Of each trial, epoch for epoch."""


def outcomes(shares: list[list[float]], number: int, seed: int = 0) -> Outcomes:
    """Trials that err on the same hard examples, each right on about these shares of them, epoch for epoch."""
    random = np.random.default_rng(seed)
    hard = random.random(number)
    return {
        trial: [(hard + random.normal(0, 0.15, number)) < share for share in epochs]
        for trial, epochs in enumerate(shares)
    }


def write(folder: Path, of: Outcomes, *, tell: bool = True, metric: str = "val_accuracy", judged: tuple[int, ...] = ()):
    """A sweep with these trials, and final evaluations of some of them on val."""
    paths = SweepPaths(folder / "photos")
    paths.root.mkdir(parents=True)
    paths.spec.write_text("name: photos\n")
    with Recorder(paths, Objective(metric=metric), ["lr"], {}, flush_interval_s=3600) as recorder:
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))
        for trial, epochs in of.items():
            recorder.record(TrialStarted(time=2.0, trial=trial, attempt=1, seed=1, params={"lr": 0.1}))
            for epoch, right in enumerate(epochs, start=1):
                metrics = {"val_accuracy": float(right.mean()), "val_macro_f1": float(right.mean()) / 2}
                told = packed(right) if tell else ""
                recorder.record(
                    EpochReported(time=3.0, trial=trial, attempt=1, epoch=epoch, metrics=metrics, outcomes=told)
                )
            recorder.record(TrialEnded(time=4.0, trial=trial, attempt=1, state="COMPLETED", duration_s=1.0))
        for trial in judged:
            best = max(of[trial], key=lambda right: float(right.mean()))
            logits = np.where(best[:, None], [[1.0, 0.0]], [[0.0, 1.0]]).astype(np.float32)
            names = [f"{number}.jpg" for number in range(len(best))]
            found = score("val", names, np.zeros(len(best), int), logits, ["cat", "dog"], False)
            recorder.record_evaluation(trial, "val", found.predictions, found.classes)
            recorder.record(
                FinalEvaluated(time=5.0, trial=trial, split="val", num_examples=len(best), metrics=found.metrics)
            )
        answer = work_out(recorder.state, paths, judged)
        recorder.record(Answered(time=6.0, answer=answer.to_json()))
        recorder.record(SweepChanged(time=7.0, state="COMPLETED"))
    return paths, answer


def text(answer: Answer) -> str:
    return "\n".join(answer.lines())


def test_it_names_who_cannot_be_told_apart_and_what_to_expect(tmp_path: Path) -> None:
    _, answer = write(tmp_path, outcomes([[0.5, 0.8], [0.6, 0.79], [0.7, 0.78], [0.2, 0.25]], 60))
    assert answer.compared == tuple(int(each.partition(":")[0]) for each in answer.ranked)
    assert answer.winner in answer.alike
    assert set(answer.alike) == {0, 1, 2}
    assert answer.unseen is not None
    assert 0 <= answer.unseen.drop < 0.2
    assert "trials 0, 1 and 2 do not differ significantly (all 4 trials were compared)" in text(answer)
    assert "best of 8 epochs of 4 trials" in text(answer)
    assert "too few for the observed differences" in text(answer)


def test_it_survives_the_log_and_the_table(tmp_path: Path) -> None:
    from sweep_runner.results.answer import answer_of

    paths, answer = write(tmp_path, outcomes([[0.5, 0.8], [0.6, 0.7]], 60))
    assert answer_of(leaderboard(ResultsPaths(tmp_path), paths.name)) == answer


def test_another_leaderboard_has_no_answer_yet(tmp_path: Path) -> None:
    """After `extend` a new trial stands in the table, and the answer is of those before."""
    from sweep_runner.results.answer import answer_of

    paths, _ = write(tmp_path, outcomes([[0.5, 0.8], [0.6, 0.7]], 60))
    with Recorder(paths, Objective(), ["lr"], {}, flush_interval_s=3600) as recorder:
        recorder.record(TrialStarted(time=8.0, trial=2, attempt=1, seed=1, params={"lr": 0.2}))
        recorder.record(EpochReported(time=9.0, trial=2, attempt=1, epoch=1, metrics={"val_accuracy": 0.99}))
    assert answer_of(leaderboard(ResultsPaths(tmp_path), paths.name)) is None


def test_without_outcomes_only_those_with_predictions_are_compared(tmp_path: Path) -> None:
    of = outcomes([[0.5, 0.8], [0.6, 0.78], [0.2, 0.25]], 60)
    _, answer = write(tmp_path, of, tell=False, judged=(0, 1))
    assert set(answer.compared) == {0, 1}
    assert "2 of 3 trials could be compared" in text(answer)
    assert answer.unseen is None
    assert "not estimated: 3 of 3 trials have no recorded outcomes" in text(answer)


def test_one_trial_claims_nothing(tmp_path: Path) -> None:
    _, answer = write(tmp_path, outcomes([[0.5, 0.8]], 60))
    assert answer.unseen is None
    assert "only one trial has a value" in text(answer)
    assert "differ significantly" not in text(answer)
    assert "48 of 60" in text(answer) or "of 60; 95 %" in text(answer)


def test_another_measure_is_not_taken_for_accuracy(tmp_path: Path) -> None:
    _, answer = write(tmp_path, outcomes([[0.5, 0.8], [0.6, 0.7]], 60), metric="val_macro_f1")
    assert answer.compared == ()
    assert "ranked by val_macro_f1, not by accuracy" in text(answer)


def test_a_trial_that_was_judged_on_other_val_examples_is_left_out_and_told(tmp_path: Path) -> None:
    of = outcomes([[0.5, 0.9], [0.6, 0.7]], 60) | {2: outcomes([[0.3, 0.4]], 50)[0]}
    _, answer = write(tmp_path, of)
    assert set(answer.compared) == {0, 1}
    assert "1 trial was evaluated on other val examples than the best" in text(answer)
    assert answer.unseen is None


def test_val_that_is_large_enough_is_not_called_too_small(tmp_path: Path) -> None:
    _, answer = write(tmp_path, outcomes([[0.9], [0.6], [0.5], [0.4]], 400))
    assert answer.alike == (0,)
    assert "significantly better than the others" in text(answer)
    assert "too few" not in text(answer)


@pytest.mark.parametrize("count", [1, 3])
def test_groups_of_the_predictions_widen_the_interval(tmp_path: Path, count: int) -> None:
    single = outcomes([[0.8], [0.5]], 60)
    of = {trial: [np.repeat(right, count) for right in epochs] for trial, epochs in single.items()}
    paths, plain = write(tmp_path, of, judged=(0,))
    assert plain.shares[0].num_groups == 60 * count  # the predictions name no groups
    assert paths.root.is_dir()


def test_a_trainable_that_judges_no_examples_is_not_told_what_is_missing(tmp_path: Path) -> None:
    _, answer = write(tmp_path, outcomes([[0.5, 0.8], [0.6, 0.7]], 60), tell=False)
    assert list(answer.lines()) == []


def test_an_answer_of_another_version_is_as_if_there_were_none() -> None:
    assert Answer.read({"winner": 1}) is None
    assert Answer.read(None) is None
