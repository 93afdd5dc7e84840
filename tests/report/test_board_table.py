"""The report's leaderboard shows what trials differ in, and says once what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep_runner.report.board_table import board_table
from sweep_runner.report.page import collect, duration, render
from sweep_runner.results.display import column_texts
from sweep_runner.results.events import Confirmed, EpochReported, TrialEnded, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective

PARAMS: Sequence[Mapping[str, Any]] = (
    {"optimizer": "adam", "lr": 0.0004, "epochs": 1, "momentum_of_sgd": None},
    {"optimizer": "adam", "lr": 0.02, "epochs": 1, "momentum_of_sgd": None},
)


def _write(root: Path, all_params: Sequence[Mapping[str, Any]]) -> ResultsPaths:
    paths = SweepPaths(root / "small")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), list(all_params[0]), {}) as recorder:
        for trial, params in enumerate(all_params):
            known = {name: value for name, value in params.items() if value is not None}
            recorder.record(TrialStarted(time=1.0, trial=trial, attempt=1, seed=0, params=known))
            metrics = {"val_accuracy": 0.5 + trial / 10, "val_loss": 0.25}
            recorder.record(EpochReported(time=2.0, trial=trial, attempt=1, epoch=1, metrics=metrics))
            recorder.record(TrialEnded(time=3.0, trial=trial, attempt=1, state="COMPLETED"))
    return ResultsPaths(root)


def _silent(text: str) -> None:
    raise AssertionError(text)


def test_empty_columns_are_left_out_and_what_all_share_is_said_once(tmp_path: Path) -> None:
    table = collect(_write(tmp_path, PARAMS), "small", _silent)["table"]
    assert [column.title for column in table.columns] == ["rank", "trial", "state", "val_accuracy", "lr", "time"]
    assert table.alike == "optimizer adam, epochs 1, val_loss 0.25, epochs run 1"
    page = render(ResultsPaths(tmp_path), "small", _silent)
    assert "All of them: optimizer adam, epochs 1" in page
    assert '<button type="button">val_<wbr>accuracy</button></th>' in page


def test_params_stand_before_metrics_that_few_look_at(tmp_path: Path) -> None:
    rows = [{**row, "optimizer": name} for row, name in zip(PARAMS, ("adam", "sgd"), strict=True)]
    titles = [column.title for column in collect(_write(tmp_path, rows), "small", _silent)["table"].columns]
    assert titles[3:6] == ["val_accuracy", "optimizer", "lr"]


def test_a_single_trial_keeps_its_params(tmp_path: Path) -> None:
    table = collect(_write(tmp_path, PARAMS[:1]), "small", _silent)["table"]
    assert {"optimizer", "lr", "epochs"} <= {column.title for column in table.columns}
    assert table.alike == ""


def test_a_column_has_one_number_of_decimals() -> None:
    assert column_texts([0.0004, 0.0213579, None]) == ["0.000400", "0.021358", ""]
    assert column_texts([0.5, 12.25]) == ["0.50", "12.25"]
    assert column_texts([0.9, None, 0.8]) == ["0.9", "", "0.8"]
    assert column_texts([3e-9, 0.5]) == ["3e-09", "0.5"]


def test_repetitions_say_of_which_trial_and_a_confirmed_trial_has_its_mean(tmp_path: Path) -> None:
    results = _write(tmp_path, PARAMS)
    with Recorder.open(results.sweep("small"), Objective(), list(PARAMS[0]), {}) as recorder:
        recorder.record(TrialStarted(time=4.0, trial=2, attempt=1, seed=9, params={"lr": 0.02}, confirms=1))
        metrics = {"val_accuracy": 0.7, "val_loss": 0.2}
        recorder.record(EpochReported(time=5.0, trial=2, attempt=1, epoch=1, metrics=metrics))
        recorder.record(TrialEnded(time=6.0, trial=2, attempt=1, state="COMPLETED", confirms=1))
        recorder.record(Confirmed(time=7.0, trials=(1,)))
    board = leaderboard(results, "small")
    columns = {column.title: column.texts for column in board_table(board, board.rows, None, duration).columns}
    assert list(columns["trial"]) == ["1", "0", "2"]
    assert list(columns["name"]) == ["", "", "repeats trial 1"]
    assert list(columns["rank"]) == ["1", "2", ""]
    assert list(columns["runs"]) == ["2", "1", ""]
    assert columns["mean ± std"][0].startswith("0.6500 ± ")
