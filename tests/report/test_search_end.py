"""What the report, `sweep top`, `show` and `explain` say of a search that a rule has ended, and of confirmed trials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.cli.main import main
from sweep_runner.report.facts import saved_by_pruning
from sweep_runner.report.page import render
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.spec.loader import dump_spec
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import SPEC, drive, open_keeper


def swept(root: Path, search: dict[str, Any], **changes: Any) -> ResultsPaths:
    """Results with the sweep `small`."""
    spec = SweepSpec.model_validate(
        {**SPEC, "search": {"sampler": "random", "trials": 9, "seed": 3, **search}, **changes}
    )
    with open_keeper(spec, root / "small") as keeper:
        drive(keeper)
    SweepPaths(root / "small").spec.write_text(dump_spec(spec))
    return ResultsPaths(root)


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(list(map(str, arguments))) == 0
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_what_ended_the_search_and_the_runs_of_the_best_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = swept(tmp_path, {"confirm": {"top": 2, "seeds": 3}, "stop": {"no_gain": 2}, "trials": 40})
    board = leaderboard(results, "small")
    best, again = board.ranked[0], [row for row in board.unranked if row.confirms is not None]
    assert len(again) == 4
    top = said(capsys, "top", "small", "--results", tmp_path)
    assert "the search has ended by search.stop.no_gain (2)" in top
    assert "confirmed_mean" in top.replace("\n", " ")
    shown = said(capsys, "show", "small", str(best.trial), "--results", tmp_path)
    assert f"{best.runs}, by which it is ranked" in shown
    assert all(f"(trial {row.trial})" in shown for row in again if row.confirms == best.trial)
    repetition = again[0]
    shown = said(capsys, "show", "small", str(repetition.trial), "--results", tmp_path)
    assert f"repeats trial {repetition.confirms} with another seed" in shown
    explained = said(capsys, "explain", "small", str(repetition.trial), "--results", tmp_path)
    assert "without pruning" in explained
    page = render(results, "small", lambda text: None)
    assert "The search has ended by search.stop.no_gain (2)" in page
    assert f"val_accuracy {best.runs}" in page
    assert "Confirmed trials come first" in page


def test_a_pruners_decisions_are_told_without_the_repetitions(tmp_path: Path) -> None:
    from sweep_runner.report.decisions import decisions_of

    results = swept(
        tmp_path,
        {"confirm": {"top": 9, "seeds": 2}},
        fixed={"epochs": 9},
        pruner={"kind": "promotion", "min_epochs": 3},
    )
    board = leaderboard(results, "small")
    searched = {row.trial for row in board.ranked}
    for row in board.ranked:
        for decision in decisions_of(board, results.sweep("small"), row):
            assert set(decision.rung.rivals) < searched


def test_paused_trials_that_were_not_continued_are_among_what_pruning_saved(tmp_path: Path) -> None:
    pruner = {"kind": "promotion", "min_epochs": 3}
    results = swept(tmp_path, {}, fixed={"epochs": 9}, pruner=pruner, keep={"paused": 2})
    board = leaderboard(results, "small")
    saved = saved_by_pruning(board, None)
    assert saved is not None
    counts = board.sweep.counts
    assert (saved["paused"], saved["pruned"]) == (2, counts["PRUNED"])
    assert counts["PRUNED"] > 0
    assert saved["epochs"] == sum(9 - row.row["epochs"] for row in board.ranked)
    page = render(results, "small", lambda text: None)
    assert re.search(r"<b>2</b>paused trials were not continued", page)
