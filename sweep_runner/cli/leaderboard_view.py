"""How `sweep top` and the end of a run show a leaderboard: the params as columns, and on a terminal what fits."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweep_runner.cli.common import Out
from sweep_runner.cli.tables import fits_terminal
from sweep_runner.results.annotations import STAR, Annotation
from sweep_runner.results.answer import answer_of, interval
from sweep_runner.results.display import BASELINE, in_words, shared
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from trainables.facts import ONNX_LATENCY

FRONT = "pareto_front"
_CONFIRMED = ("confirmed_mean", "confirmed_std")
_NO_METRICS = ("test_use", *_CONFIRMED)
"""Columns that are shown among the metrics."""


def print_ranked(
    board: Leaderboard,
    rows: Sequence[TrialRow],
    out: Out,
    by: str | None = None,
    notes: Mapping[int, Annotation] | None = None,
) -> None:
    """Prints these trials of a leaderboard: of the metrics only the objective, and what it is on test; and the latency.

    On a terminal params that are the same in all rows go below the table; and on a narrow one the params in one column.
    Host and device are there where they differ.

    Args:
        board: the leaderboard.
        rows: those of its ranked trials that are shown.
        out: where to.
        by: the column of costs that the rows are ordered by; None: by the objective.
        notes: what people have noted of trials: a column where one of these rows has something.
    """
    costs = _cost_columns(board, rows, by)
    answer = answer_of(board)
    intervals = {} if answer is None else {trial: interval(share) for trial, share in answer.shares.items()}
    metrics = _metrics_to_show(board, rows)
    if len({row.row["test_use"] for row in rows if row.row.get("test_use") is not None}) > 1:
        metrics.append("test_use")
    if any(row.confirmed_mean is not None for row in rows):
        metrics[:0] = _CONFIRMED
    places = [place for place in ("host", "device") if len({row.row[place] for row in rows if row.row[place]}) > 1]
    params = [param for param in board.params if any(param in row.params for row in rows)]
    if not sys.stdout.isatty():
        table = _table(board, rows, intervals, metrics, costs, params, ("host", "device"), with_names=True)
        out.table(*_with_notes(*table, rows, notes or {}))
        _tell_machines(rows, costs, out)
        return
    alike = shared(params, [row.params for row in rows])
    params = [param for param in params if param not in alike]
    named = any(row.name for row in rows)
    table = _table(board, rows, intervals, metrics, costs, params, places, with_names=named)
    columns, cells = _with_notes(*table, rows, notes or {})
    if not fits_terminal(columns, cells):
        columns, cells = _table(board, rows, intervals, metrics, costs, (), places, with_names=False)
        columns = (*columns, "params")
        cells = [(*line, _in_one_cell(row, params)) for line, row in zip(cells, rows, strict=True)]
        columns, cells = _with_notes(columns, cells, rows, notes or {})
    out.table(columns, cells)
    if alike:
        out.say(f"all of them: {in_words(alike)}")
    if any(row.name for row in rows):
        out.say(f"{BASELINE} baseline")
    if "test_use" in metrics:
        out.say("test_use: number of the use of the test split; all but the last are of earlier winners")
    if "confirmed_mean" in metrics:
        out.say(f"confirmed_mean: {board.objective} over runs with different seeds; trials that have one come first")
    _tell_machines(rows, costs, out)


def _table(
    board: Leaderboard,
    rows: Sequence[TrialRow],
    intervals: Mapping[int, str],
    metrics: Sequence[str],
    costs: Sequence[str],
    params: Sequence[str],
    places: Sequence[str],
    *,
    with_names: bool,
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    names = ("name",) if with_names else ()
    sure = ("95 %",) if any(row.trial in intervals for row in rows) else ()
    columns = ("rank", "trial", *names, "state", board.objective, *sure, *metrics, *costs, "epoch", *places, *params)
    cells = [
        (
            row.rank,
            row.trial,
            *([_named(row)] if with_names else []),
            row.state,
            row.value,
            *([intervals.get(row.trial)] if sure else []),
            *(row.row.get(metric) if metric in _NO_METRICS else row.metrics.get(metric) for metric in metrics),
            *(("yes" if row.on_front else None) if column == FRONT else row.goal(column) for column in costs),
            row.row["best_epoch"],
            *(row.row[place] for place in places),
            *(row.params.get(param) for param in params),
        )
        for row in rows
    ]
    return columns, cells


def _with_notes(
    columns: tuple[str, ...], cells: list[tuple[Any, ...]], rows: Sequence[TrialRow], notes: Mapping[int, Annotation]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """With a last column of what is noted of these rows, if anything is."""
    own = [notes.get(row.trial, Annotation()) for row in rows]
    if all(one.is_empty for one in own):
        return columns, cells
    texts = [f"{STAR if one.starred else ''} {one.note}".strip() for one in own]
    return (*columns, "note"), [(*line, text) for line, text in zip(cells, texts, strict=True)]


def _named(row: TrialRow) -> str | None:
    return f"{BASELINE} {row.name}" if row.name else None


def _in_one_cell(row: TrialRow, params: Sequence[str]) -> str:
    """One cell: `◆ adam-max: optimizer adam, lr 0.001`."""
    words = in_words({param: row.params[param] for param in params if param in row.params})
    return f"{_named(row)}: {words}" if row.name else words


def _metrics_to_show(board: Leaderboard, rows: Sequence[TrialRow]) -> list[str]:
    """The objective's spread over folds, and the objective on test.

    A table of all metrics can be read by nobody: `--json` and `sweep query` have them.
    """
    names = dict.fromkeys(name for row in rows for name, value in row.metrics.items() if value is not None)
    metric = board.objective.partition("_")[2]
    wanted = (f"{board.objective}_std", f"test_{metric}")
    return [name for name in wanted if name in names and name != board.objective]


def _tell_machines(rows: Sequence[TrialRow], costs: Sequence[str], out: Out) -> None:
    """Where the latencies of a table were measured: those of two machines do not compare."""
    if FRONT in costs:
        out.say(f"{FRONT}: no trial is better in all objectives")
    machines = sorted({row.row["measured_on"] for row in rows if row.row.get("measured_on")})
    if ONNX_LATENCY in costs:
        out.say(f"{ONNX_LATENCY}: one image, one thread, median; on {'; '.join(machines)}")


def _cost_columns(board: Leaderboard, rows: Sequence[TrialRow], by: str | None) -> list[str]:
    """Further objectives and the front; the latency where it was measured; what the rows are ordered by."""
    goals = [*(column for column, _ in board.goals), FRONT] if board.goals else []
    measured = [name for name in (ONNX_LATENCY, by) if name and any(row.row.get(name) for row in rows)]
    return list(dict.fromkeys((*goals, *measured)))
