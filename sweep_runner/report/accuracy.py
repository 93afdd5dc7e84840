"""The accuracy of an evaluation and how sure it is, from the table of its predictions."""

from __future__ import annotations

import pyarrow as pa

from sweep_runner.report.facts import predictions
from sweep_runner.results.answer import published
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.rightness import groups_of, scores
from sweep_runner.results.tables import Warn
from trainables.intervals import Share, share


def published_on_test(board: Leaderboard, paths: SweepPaths, warn: Warn) -> Share | None:
    """The accuracy on test of the trial whose model is published; None where it was not evaluated there."""
    row = published(board)
    return None if row is None else accuracy_of(paths, row.trial, "test", warn)


def accuracy_of(paths: SweepPaths, trial: int, split: str, warn: Warn) -> Share | None:
    """The accuracy of a trial's final evaluation on a split; None without one."""
    table = predictions(paths, trial, split, warn)
    return None if table is None else accuracy(table)


def accuracy(table: pa.Table) -> Share | None:
    """The accuracy of predictions with its 95 % interval; None without a row.

    Of labels, the mean share of an example's labels that are right. Examples of one group count together.
    """
    if not len(table):
        return None
    return share(scores(table), groups_of(table))
