"""The ranked trials of a leaderboard as the columns and cells of a table: for `sweep top` and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweep_runner.results.annotations import STAR, Annotation
from sweep_runner.results.answer import answer_of, interval
from sweep_runner.results.display import BASELINE, in_brief, in_words, names_in_brief, shared
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from trainables.facts import ONNX_LATENCY

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""Column names, and one tuple of cells per row."""

FRONT = "pareto_front"
_CONFIRMED = ("confirmed_mean", "confirmed_std")
_NO_METRICS = ("test_use", *_CONFIRMED)
"""Columns that are shown among the metrics."""
_PLACES = ("host", "device")


class RankedTable:
    """Some ranked trials as a table: of the metrics only the objective, and what it is on test; and the latency.

    Args:
        board: the leaderboard.
        rows: those of its ranked trials that are shown.
        by: the column of costs that the rows are ordered by; None: by the objective.
        annotations: stars and notes of trials, which get a last column if any of these rows has one.

    Attributes:
        alike: params that are the same in all rows, which `folded` and `narrow` leave out.
    """

    def __init__(
        self,
        board: Leaderboard,
        rows: Sequence[TrialRow],
        by: str | None = None,
        annotations: Mapping[int, Annotation] | None = None,
    ) -> None:
        self._board, self._rows = board, rows
        own = [(annotations or {}).get(row.trial, Annotation()) for row in rows]
        self._own_notes = [f"{STAR if one.starred else ''} {one.note}".strip() for one in own]
        self._costs = _cost_columns(board, rows, by)
        answer = answer_of(board)
        self._intervals = {} if answer is None else {trial: interval(share) for trial, share in answer.shares.items()}
        self._metrics = _metrics_to_show(board, rows)
        self._params = [param for param in board.params if any(param in row.params for row in rows)]
        self.alike = shared(self._params, [row.params for row in rows])

    @property
    def plain(self) -> Table:
        """Every param, name, host and device as a column, whether or not they differ: for scripts."""
        return self._table(self._params, _PLACES, with_names=True)

    @property
    def folded(self) -> Table:
        """Without the params that are the same in all rows; host and device if they differ, names if there are any."""
        return self._table(self._varying, self._differing_places, with_names=any(row.name for row in self._rows))

    @property
    def narrow(self) -> Table:
        """As `folded`, with name and the values of params in one column."""
        columns, cells = self._table((), self._differing_places, with_names=False, with_notes=False)
        told = [_told(row, self._varying) for row in self._rows]
        columns = (*columns, names_in_brief(self._varying) or "params")
        return self._noted(columns, [(*line, params) for line, params in zip(cells, told, strict=True)])

    @property
    def notes(self) -> list[str]:
        """What the columns need to be understood, one line each."""
        told = []
        if self.alike:
            which = "in all trials" if len(self._rows) == len(self._board.ranked) else "in all of these"
            told.append(f"{which}: {in_words(self.alike)}")
        if any(row.name for row in self._rows):
            told.append(f"{BASELINE} baseline")
        if "test_use" in self._metrics:
            told.append("test_use: number of the use of the test split; all but the last are of earlier winners")
        if "confirmed_mean" in self._metrics:
            told.append(
                f"confirmed_mean: {self._board.objective} over runs with different seeds; such trials come first"
            )
        return told + self.cost_notes

    @property
    def cost_notes(self) -> list[str]:
        """Where latencies were measured: those of two machines do not compare; and what the front is."""
        told = []
        if FRONT in self._costs:
            told.append(f"{FRONT}: no trial is better in all objectives")
        if ONNX_LATENCY in self._costs:
            machines = sorted({row.row["measured_on"] for row in self._rows if row.row.get("measured_on")})
            told.append(f"{ONNX_LATENCY}: one image, one thread, median; on {'; '.join(machines)}")
        return told

    @property
    def _varying(self) -> list[str]:
        return [param for param in self._params if param not in self.alike]

    @property
    def _differing_places(self) -> list[str]:
        return [place for place in _PLACES if len({row.row[place] for row in self._rows if row.row[place]}) > 1]

    def _noted(self, columns: tuple[str, ...], cells: list[tuple[Any, ...]]) -> Table:
        if not any(self._own_notes):
            return columns, cells
        return (*columns, "note"), [(*line, note) for line, note in zip(cells, self._own_notes, strict=True)]

    def _table(
        self, params: Sequence[str], places: Sequence[str], *, with_names: bool, with_notes: bool = True
    ) -> Table:
        names = ("name",) if with_names else ()
        sure = ("95 %",) if any(row.trial in self._intervals for row in self._rows) else ()
        columns = (
            *("rank", "trial", *names, "state", self._board.objective, *sure, *self._metrics, *self._costs, "epoch"),
            *(*places, *params),
        )
        cells = [
            (
                row.rank,
                row.trial,
                *([_named(row)] if with_names else []),
                row.state,
                row.value,
                *([self._intervals.get(row.trial)] if sure else []),
                *(row.row.get(name) if name in _NO_METRICS else row.metrics.get(name) for name in self._metrics),
                *(("yes" if row.on_front else None) if name == FRONT else row.goal(name) for name in self._costs),
                row.row["best_epoch"],
                *(row.row[place] for place in places),
                *(row.params.get(param) for param in params),
            )
            for row in self._rows
        ]
        return self._noted(columns, cells) if with_notes else (columns, cells)


def _named(row: TrialRow) -> str | None:
    return f"{BASELINE} {row.name}" if row.name else None


def _told(row: TrialRow, params: Sequence[str]) -> str:
    """One cell: `◆ adam-max: adam · 0.001`."""
    values = in_brief(row.params, params)
    return f"{_named(row)}: {values}" if row.name else values


def _metrics_to_show(board: Leaderboard, rows: Sequence[TrialRow]) -> list[str]:
    """Means over runs of confirmed trials, the objective's spread over folds, the objective on test and its use.

    Nobody can read a table of all metrics: `--json` and `sweep query` have them.
    """
    names = dict.fromkeys(name for row in rows for name, value in row.metrics.items() if value is not None)
    metric = board.objective.partition("_")[2]
    wanted = (f"{board.objective}_std", f"test_{metric}")
    confirmed = _CONFIRMED if any(row.confirmed_mean is not None for row in rows) else ()
    uses = {row.row["test_use"] for row in rows if row.row.get("test_use") is not None}
    shown = [name for name in wanted if name in names and name != board.objective]
    return [*confirmed, *shown, *(["test_use"] if len(uses) > 1 else [])]


def _cost_columns(board: Leaderboard, rows: Sequence[TrialRow], by: str | None) -> list[str]:
    """Further objectives and the front; the latency where it was measured; what the rows are ordered by."""
    goals = [*(column for column, _ in board.goals), FRONT] if board.goals else []
    measured = [name for name in (ONNX_LATENCY, by) if name and any(row.row.get(name) for row in rows)]
    return list(dict.fromkeys((*goals, *measured)))
