"""How often test was looked at: counted, told, and never a reason for a rank."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sweep_runner.cli.main import main
from sweep_runner.report.page import render
from sweep_runner.results.events import EpochReported, FinalEvaluated, TrialEnded, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.state import SweepState
from sweep_runner.results.uses_of_test import UsesOfTest, note_look, uses_of_test
from sweep_runner.spec.model import Objective

MakeSweep = Callable[..., SweepPaths]
THREE = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]


def judged(trial: int, accuracy: float, epoch: int = 2, split: str = "test") -> FinalEvaluated:
    metrics = {f"{split}_accuracy": accuracy}
    return FinalEvaluated(time=1500.0, trial=trial, split=split, num_examples=10, metrics=metrics, epoch=epoch)


def uses(results: ResultsPaths, name: str = "one") -> UsesOfTest:
    return uses_of_test(results, leaderboard(results, name))


def test_a_first_look_is_one_and_a_repeated_one_is_no_other(make_sweep: MakeSweep, results: ResultsPaths) -> None:
    # After a crash between evaluation and package the same model is judged again.
    make_sweep("one", THREE, events=[judged(2, 0.7), judged(2, 0.7), judged(0, 0.5, split="val")])
    assert uses(results).count == 1
    assert str(uses(results)) == "used once"


def test_after_more_trials_the_older_figure_is_marked_and_ranks_nobody(
    make_sweep: MakeSweep, results: ResultsPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    # The earlier winner was better on test: by val it is second all the same.
    make_sweep("one", THREE, events=[judged(1, 0.9), judged(2, 0.7)])
    found = uses(results)
    assert str(found) == "used 2 times (trials 1 and 2)"
    board = leaderboard(results, "one")
    assert [row.trial for row in board.ranked] == [2, 1, 0]
    assert "earlier winner" in found.of(board.trial(1))
    assert "earlier winner" not in found.of(board.trial(2))
    assert found.of(board.trial(0)) == ""

    assert main(["top", "one", "--results", str(results.root)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))
    assert [(row["trial"], row["test_use"]) for row in rows] == [("2", "2"), ("1", "1"), ("0", "")]
    assert main(["show", "one", "--results", str(results.root)]) == 0
    assert "again: sweep reproduce one 2 " in capsys.readouterr().out, "of the best trial, which was not named"
    page = render(results, "one", lambda text: None)
    assert "used 2 times (trials 1 and 2)" in page
    assert page.count("(earlier)") == 1
    assert main(["query", "select test_uses from sweeps", "--results", str(results.root)]) == 0
    assert capsys.readouterr().out.split() == ["test_uses", "2"]


def test_a_paused_winner_that_went_on_is_judged_anew() -> None:
    state = SweepState(Objective())

    def report(epoch: int, value: float) -> EpochReported:
        return EpochReported(time=1.0, trial=0, attempt=1, epoch=epoch, metrics={"val_accuracy": value})

    events: list[Any] = [TrialStarted(time=1.0, trial=0, attempt=1, seed=0, params={}), report(1, 0.5)]
    for event in [*events, judged(0, 0.4, epoch=1)]:
        state.apply(event)
    assert state.trials[0].has_final("test")
    for event in (report(2, 0.6), TrialEnded(time=2.0, trial=0, attempt=1, state="COMPLETED")):
        state.apply(event)
    assert not state.trials[0].has_final("test"), "the model of its best epoch is another one"
    state.apply(judged(0, 0.45, epoch=2))
    assert state.trials[0].has_final("test")
    assert (state.test_uses, state.trials[0].test_use) == (2, 2)


def test_an_evaluation_of_an_earlier_version_counts_as_of_the_best_epoch() -> None:
    state = SweepState(Objective())
    metrics = {"val_accuracy": 0.5}
    for event in (
        EpochReported(time=1.0, trial=0, attempt=1, epoch=1, metrics=metrics),
        FinalEvaluated(time=2.0, trial=0, split="test", num_examples=3, metrics={"test_accuracy": 1.0}),
    ):
        state.apply(event)
    assert state.trials[0].has_final("test")
    assert state.test_uses == 1


def test_tables_of_an_earlier_version_tell_who_was_judged(make_sweep: MakeSweep, results: ResultsPaths) -> None:
    make_sweep("one", THREE, events=[judged(1, 0.9), judged(2, 0.7)])
    board = leaderboard(results, "one")
    bare = [replace(row, row={**row.row, "test_use": None}) for row in board.ranked]
    values = {name: value for name, value in board.sweep.values.items() if name != "test_uses"}
    old = replace(board, ranked=tuple(bare), sweep=replace(board.sweep, values=values))
    assert str(uses_of_test(results, old)) == "used 2 times (trials 1 and 2)"


def test_what_sweep_evaluate_judges_counts_once_a_model(make_sweep: MakeSweep, results: ResultsPaths) -> None:
    paths = make_sweep("one", THREE, events=[judged(2, 0.7)])
    winner, other = ({"sweep": "one", "trial": trial, "epoch": 2} for trial in (2, 1))
    for origin in (winner, winner, other, {"sweep": "elsewhere", "trial": 7, "epoch": 1}, {}):
        note_look(paths, origin, "model.onnx")
    found = uses(results)
    assert found.count == 4, "the winner was judged by the sweep already"
    assert set(found.evaluated) == {"trial 1 epoch 2", "elsewhere trial 7 epoch 1", "model.onnx"}
    (paths.looks_at_test / "damaged.json").write_text("{")
    assert uses(results).count == 5, "a damaged note is a look, too"


def test_other_sweeps_on_the_same_test_examples_are_named(make_sweep: MakeSweep, results: ResultsPaths) -> None:
    make_sweep("one", THREE, events=[judged(2, 0.7)])
    make_sweep("two", THREE, events=[judged(1, 0.7), judged(2, 0.8)])
    make_sweep("unused", THREE)
    assert str(uses(results)) == "used once; the same test examples were used by other sweeps, too: two (2)"
