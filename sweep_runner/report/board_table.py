"""The report's leaderboard: which columns it has, and what stands in each cell.

Columns that are empty are left out, and what all trials share is said once below the table: what trials differ in is
what people read a leaderboard for, and is to be seen without scrolling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep_runner.results.annotations import STAR, Annotation
from sweep_runner.results.costs import shown_costs
from sweep_runner.results.display import BASELINE, column_texts, in_words, shared
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.uses_of_test import UsesOfTest


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: above it.
        texts: a cell per row.
        is_number: whether it is aligned at its right.
        hints: by row, what is to be said beside a cell.
        numbers: by row, what a cell is sorted and filtered by; empty: by its text.
    """

    title: str
    texts: Sequence[str]
    is_number: bool
    hints: Sequence[str] = ()
    numbers: Sequence[float | None] = ()


@dataclass(frozen=True)
class BoardTable:
    """The table.

    Attributes:
        columns: from left to right.
        alike: what all rows share, in words; empty: nothing.
    """

    columns: Sequence[Column]
    alike: str


def board_table(
    board: Leaderboard,
    rows: Sequence[TrialRow],
    uses: UsesOfTest | None,
    duration: Callable[[float | None], str],
    notes: Mapping[int, Annotation] | None = None,
) -> BoardTable:
    """The table of some ranked trials.

    Args:
        board: the leaderboard.
        rows: those of its ranked trials that are shown.
        uses: of the test split.
        duration: seconds as text.
        notes: what people have noted of trials.
    """
    goals = [column for column, _ in board.goals]
    costs = [column for column in shown_costs(board) if column not in goals]
    metrics = _metrics(board, rows)
    candidates: dict[str, list[Any]] = {
        **{param: [row.params.get(param) for row in rows] for param in board.params},
        **{column: [row.goal(column) for row in rows] for column in (*metrics, *costs) if column not in board.params},
        "epochs run": [row.row["epochs"] for row in rows],
    }
    present = {name: cells for name, cells in candidates.items() if any(cell is not None for cell in cells)}
    by_row = [{name: cells[number] for name, cells in present.items()} for number in range(len(rows))]
    alike = shared(list(present), by_row)
    columns = [
        Column("rank", [str(row.rank or "") for row in rows], True, numbers=[row.rank for row in rows]),
        Column("trial", [str(row.trial) for row in rows], True, numbers=[row.trial for row in rows]),
        *_starred(rows, notes or {}),
        *_named(rows),
        *_noted(rows, notes or {}),
        Column("state", [row.state.lower() for row in rows], False),
        *_confirmed(rows),
        Column(board.objective, column_texts([row.value for row in rows]), True, numbers=[row.value for row in rows]),
        *(_column(name, [row.goal(name) for row in rows]) for name in goals),
        *([Column("front", ["yes" if row.on_front else "" for row in rows], False)] if goals else []),
        *(_column(name, cells, rows, uses) for name, cells in present.items() if name not in alike),
        Column(
            "time",
            [duration(row.row["duration_s"]) for row in rows],
            True,
            numbers=[row.row["duration_s"] for row in rows],
        ),
    ]
    return BoardTable(columns, in_words(alike))


def _named(rows: Sequence[TrialRow]) -> list[Column]:
    names = [
        f"{BASELINE} {row.name}" if row.name else f"repeats trial {row.confirms}" if row.confirms is not None else ""
        for row in rows
    ]
    return [Column("name", names, False)] if any(names) else []


def _starred(rows: Sequence[TrialRow], notes: Mapping[int, Annotation]) -> list[Column]:
    stars = [STAR if row.trial in notes and notes[row.trial].starred else "" for row in rows]
    return [Column("star", stars, False)] if any(stars) else []


def _noted(rows: Sequence[TrialRow], notes: Mapping[int, Annotation]) -> list[Column]:
    texts = [notes[row.trial].note if row.trial in notes else "" for row in rows]
    return [Column("note", texts, False)] if any(texts) else []


def _confirmed(rows: Sequence[TrialRow]) -> list[Column]:
    if not any(row.confirmed_mean is not None for row in rows):
        return []
    means = [f"{row.confirmed_mean:.4f} ± {row.row['confirmed_std']:.4f}" if row.runs else "" for row in rows]
    runs = [None if row.confirms is not None else row.row["confirmed_runs"] or 1 for row in rows]
    texts = ["" if each is None else str(each) for each in runs]
    return [
        Column("mean ± std", means, True, numbers=[row.confirmed_mean for row in rows]),
        Column("runs", texts, True, numbers=runs),
    ]


def _column(name: str, cells: Sequence[Any], rows: Sequence[TrialRow] = (), uses: UsesOfTest | None = None) -> Column:
    texts = column_texts(cells)
    numeric = all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells if cell is not None)
    hints: list[str] = []
    if uses is not None and name.startswith("test_"):
        hints = [uses.of(row) for row in rows]
        earlier = [bool(hint) and row.row["test_use"] < uses.num_own for row, hint in zip(rows, hints, strict=True)]
        texts = [f"{text} (earlier)" if old else text for text, old in zip(texts, earlier, strict=True)]
    numbers = [float(cell) if cell is not None else None for cell in cells] if numeric else []
    return Column(name, texts, numeric, hints, numbers)


def _metrics(board: Leaderboard, rows: Sequence[TrialRow]) -> list[str]:
    """Those worth a column beside the objective."""
    split, _, metric = board.objective.partition("_")
    goals = {column for column, _ in board.goals}
    wanted = (f"test_{metric}", f"{split}_loss", f"{split}_macro_f1", "train_loss")
    present = {name for row in rows for name, value in row.metrics.items() if value is not None}
    return [name for name in wanted if name in present and name != board.objective and name not in goals]
