"""Every figure of the report, by its place in the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep_runner.report import facts
from sweep_runner.report.charts import costs, evaluation, params, progress
from sweep_runner.report.charts.plot import Shown
from sweep_runner.report.param_order import Found
from sweep_runner.report.plot_data import Confusion, best_and_baselines, read_confusion, read_curves, title_of
from sweep_runner.results.answer import published_first
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn

if TYPE_CHECKING:
    import optuna

MAX_MATRICES = 12
"""Trials whose confusion matrix is in the page."""
_MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix, which is seen when its trial is chosen.

    Attributes:
        trial: its number.
        title: whose model it is, and on which split.
        shown: the figure.
    """

    trial: int
    title: str
    shown: Shown


def draw(
    board: Leaderboard, rows: Sequence[TrialRow], paths: SweepPaths, study: optuna.Study, found: Found, warn: Warn
) -> dict[str, Any]:
    """What shows trials: each is a `Shown`, None where there is nothing to show, or several.

    Args:
        board: the sweep's trials.
        rows: those that are drawn, one by one.
        paths: of the sweep.
        study: its trials, of `study_of`.
        found: of `known_importances`.
        warn: told of what cannot be read.
    """
    drawn = {row.trial for row in rows}
    matters = params.importances(study, found)
    thin = _of_trials(study, drawn)
    return {
        "best": progress.best_so_far(board, facts.when_it_ran(paths, warn), drawn),
        "curves": progress.learning_curves(
            board, read_curves(paths, rows, warn, board.objective), best_and_baselines(board)
        ),
        "importances": None if isinstance(matters, str) else matters,
        "parallel": params.parallel_coordinates(thin, board.objective, found),
        "slices": params.slices(thin, board.objective, found),
        "pair": params.pair(thin, board.objective, found),
        "trade_off": costs.trade_off(board, drawn),
        "size_trade_off": costs.size_trade_off(board, drawn),
    }


def draw_evaluations(
    paths: SweepPaths,
    board: Leaderboard,
    confusion: Confusion | None,
    table: pa.Table | None,
    epochs: pa.Table,
    warn: Warn,
) -> dict[str, Any]:
    """What final evaluations and workers' time show.

    Args:
        paths: of the sweep.
        board: its trials.
        confusion: of the model that is published.
        table: its predictions.
        epochs: of all trials.
        warn: told of what cannot be read.
    """
    calibration = None
    if table is not None and confusion is not None:
        calibration = evaluation.calibration(facts.calibration_bins(table), confusion.split)
    return {
        "matrices": matrices(paths, board, warn),
        "calibration": calibration,
        "time": costs.time_spent(facts.where_time_went(board, epochs)),
    }


def matrices(paths: SweepPaths, board: Leaderboard, warn: Warn) -> list[Matrix]:
    """The confusion matrices of evaluated trials, that of the published model first; as many as there is room for."""
    found: list[Matrix] = []
    for row, split in facts.evaluated(paths, published_first(board), MAX_MATRICES):
        confusion = read_confusion(paths, row, split, warn)
        shown = evaluation.confusion(confusion, row.trial) if confusion is not None else None
        if shown is not None and (not found or sum(len(one.shown.svg) for one in found) + len(shown.svg) < _MOST_BYTES):
            found.append(Matrix(row.trial, f"{title_of(row)} on {split}", shown))
    return found


def _of_trials(study: optuna.Study, wanted: set[int]) -> optuna.Study:
    """A study with only these trials."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    if len(trials) <= len(wanted):
        return study
    thin = optuna.create_study(direction=study.direction)
    thin.add_trials([trial for trial in trials if trial.user_attrs.get("trial", trial.number) in wanted])
    return thin
