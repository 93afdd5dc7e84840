"""What plots are drawn from: learning curves and confusion matrices, read from the tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.parts import evaluation_path
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.schemas import EVALUATIONS
from sweep_runner.results.tables import Warn, damaged_message, read_part
from sweep_runner.results.trial_names import find_trials
from sweep_runner.results.values import rows_of

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """How a trial's metrics went.

    Attributes:
        trial: its number.
        title: for people: number and name.
        epochs: those reported.
        metrics: one value per epoch, NaN where there is none.
        best_epoch: by the objective.
    """

    trial: int
    title: str
    epochs: tuple[int, ...]
    metrics: Mapping[str, tuple[float, ...]]
    best_epoch: int | None


@dataclass(frozen=True)
class Confusion:
    """What a trial's model took for what, in one final evaluation.

    Attributes:
        title: for people: whose model it is.
        split: that was evaluated.
        classes: their names; of each, (C,): precision, recall, f1 and support (how many examples have it).
        matrix: (C, C), actual × predicted, where each example has one class; else None.
        labels: (C, 2, 2), a matrix a label, [no, yes] × [no, yes]; None where each example has one class.
        pairs: (actual, predicted, count), most frequent first. Of labels: how often the first was missed where the
            second was said by mistake.
    """

    title: str
    split: str
    classes: tuple[str, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    matrix: Counts | None
    labels: Counts | None
    pairs: tuple[tuple[str, str, int], ...]


def best_and_baselines(board: Leaderboard) -> list[TrialRow]:
    """The best trial, then the baselines; of a copy, the trial that was trained."""
    named = [row for row in (*board.ranked, *board.unranked) if row.name is not None]
    named.sort(key=lambda row: row.trial)
    return find_trials(board, [str(row.trial) for row in (*board.ranked[:1], *named)])


def title_of(row: TrialRow) -> str:
    """`trial 3 · adam-max`."""
    return f"trial {row.trial}" + (f" · {row.name}" if row.name else "")


def read_curves(paths: SweepPaths, rows: Sequence[TrialRow], warn: Warn, objective: str = "") -> list[Curve]:
    """The learning curves of trials, in the order given; without those that have not reported yet.

    Args:
        paths: of the sweep.
        rows: its trials.
        warn: told what cannot be read.
        objective: the sweep's metric, which a trainable of the user's own may call as it likes.
    """
    tables = []
    for path in sorted(paths.table("epochs").glob("part-*.parquet")):
        try:
            tables.append(read_part(path))
        except (OSError, pa.ArrowInvalid) as error:
            warn(damaged_message(path, error))
    if not tables:
        return []
    table = pa.concat_tables(tables, promote_options="default")
    names = [name for name in table.column_names if name.startswith(("train_", "val_")) or name == objective]
    table = table.select(["trial", "epoch", *names]).sort_by([("trial", "ascending"), ("epoch", "ascending")])
    # Sorted once and cut: a filter for each of a thousand trials would read everything a thousand times.
    table, numbers = table.combine_chunks(), table["trial"].to_numpy()
    curves = []
    for row in rows:
        first, last = np.searchsorted(numbers, [row.trial, row.trial + 1])
        own = table.slice(first, last - first)
        metrics = {
            name: tuple(math.nan if value is None else float(value) for value in own[name].to_pylist())
            for name in names
            if own[name].null_count < len(own)
        }
        if metrics:
            epochs = tuple(own["epoch"].to_pylist())
            curves.append(Curve(row.trial, title_of(row), epochs, metrics, row.row["best_epoch"]))
    return curves


def read_confusion(paths: SweepPaths, row: TrialRow, split: str, warn: Warn) -> Confusion | None:
    """What a trial's final evaluation on a split says; None: it was not evaluated on it."""
    found = {name: evaluation_path(paths.table(name), row.trial, split) for name in EVALUATIONS}
    if not all(path.exists() for path in found.values()):
        return None
    tables = {}
    for name, path in found.items():
        try:
            tables[name] = read_part(path, ("labels", "predicted") if name == "predictions" else None)
        except (OSError, pa.ArrowInvalid) as error:
            warn(damaged_message(path, error))
            return None
    return confusion_of(title_of(row), split, **tables)


def confusion_of(title: str, split: str, predictions: pa.Table, classes: pa.Table, confusions: pa.Table) -> Confusion:
    """What the tables of one evaluation say.

    Args:
        title: for people.
        split: that was evaluated.
        predictions: a row per example; as the others, see `trainables.contract.Evaluation`.
        classes: a row per class.
        confusions: one row per cell.
    """
    records, cells = rows_of(classes), rows_of(confusions)
    names = tuple(str(record["class"]) for record in records)
    matrix, labels = _matrices(names, cells)
    if matrix is not None:
        pairs = [(names[i], names[j], int(matrix[i, j])) for i, j in np.argwhere(matrix) if i != j]
    else:
        pairs = _label_pairs(predictions)
    position = {name: number for number, name in enumerate(names)}
    pairs.sort(key=lambda pair: (-pair[2], position[pair[0]], position[pair[1]]))

    def figures(name: str) -> tuple[float, ...]:
        return tuple(float(record[name] or 0.0) for record in records)

    return Confusion(
        title=title,
        split=split,
        classes=names,
        precision=figures("precision"),
        recall=figures("recall"),
        f1=figures("f1"),
        support=tuple(int(record["support"]) for record in records),
        matrix=matrix,
        labels=labels,
        pairs=tuple(pairs),
    )


def _matrices(names: Sequence[str], cells: Sequence[Mapping[str, Any]]) -> tuple[Counts | None, Counts | None]:
    position = {name: number for number, name in enumerate(names)}
    if any(cell["label"] is not None for cell in cells):
        labels = np.zeros((len(names), 2, 2), dtype=np.int64)
        for cell in cells:
            labels[position[cell["label"]], int(cell["actual"] == "yes"), int(cell["predicted"] == "yes")] = cell[
                "count"
            ]
        return None, labels
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    for cell in cells:
        matrix[position[cell["actual"]], position[cell["predicted"]]] = cell["count"]
    return matrix, None


def _label_pairs(predictions: pa.Table) -> list[tuple[str, str, int]]:
    pairs: Counter[tuple[str, str]] = Counter()
    for labels, predicted in zip(*(predictions[name].to_pylist() for name in ("labels", "predicted")), strict=True):
        pairs.update((missed, said) for missed in set(labels) - set(predicted) for said in set(predicted) - set(labels))
    return [(missed, said, count) for (missed, said), count in pairs.items()]
