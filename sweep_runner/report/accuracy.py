"""The accuracy of an evaluation and how sure it is, from the table of its predictions."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sweep_runner.report.facts import predictions
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn
from trainables.intervals import Share, share


def best_on_test(board: Leaderboard, paths: SweepPaths, warn: Warn) -> Share | None:
    """The accuracy on test of a leaderboard's first trial; None where it was not evaluated there."""
    return accuracy_of(paths, board.ranked[0].trial, "test", warn) if board.ranked else None


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
    if "group" in table.column_names:
        groups = table["group"]
    else:  # results of earlier versions, in which a crop's name is its picture's with `#` and a number
        groups = pc.replace_substring_regex(table["example"], r"#\d+$", "")
    return share(scores(table), groups.to_pylist())


def scores(table: pa.Table) -> list[float]:
    """How right the prediction of each example is, 0 to 1."""
    num_classes = max(1, sum(name.startswith("p_") for name in table.column_names))
    labels, predicted = table["labels"].to_pylist(), table["predicted"].to_pylist()
    if all(len(row) == 1 for row in (*labels, *predicted)):
        return [float(actual == said) for actual, said in zip(labels, predicted, strict=True)]
    return [1 - len(set(actual) ^ set(said)) / num_classes for actual, said in zip(labels, predicted, strict=True)]
