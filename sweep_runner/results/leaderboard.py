"""Who did best in a sweep, from its tables. No pandas, no DuckDB: `sweep top` answers at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import pyarrow as pa

from sweep_runner.errors import SweepError
from sweep_runner.results.display import few_digits, in_words
from sweep_runner.results.lookup import find_sweep
from sweep_runner.results.parts import part_path
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.ranking import place
from sweep_runner.results.schemas import BEST_SO_FAR, PARAMS_KEY
from sweep_runner.results.tables import live_state, read_part
from sweep_runner.results.values import rows_of, values_of

STATES = ("COMPLETED", "PRUNED", "PAUSED", "RUNNING", "WAITING", "FAILED", "INFEASIBLE")
SWEEP_COLUMNS = (
    "sweep", "state", "reason", "started", "finished", "duration_s", "objective", "mode", "goals", "best_trial",
    "best_value", "num_trials", "stopped_by", "stop_reason", "confirm_reason",
    *(f"num_{state.lower()}" for state in STATES), "data_fingerprint",
    "test_uses", "answer",
)  # fmt: skip


@dataclass(frozen=True)
class SweepRow:
    """One sweep as `sweep ls` shows it.

    Attributes:
        sweep: its name.
        state: RUNNING, COMPLETED, FAILED, or INTERRUPTED: stopped, or its driver is gone.
        values: its row of the `sweeps` table; empty when that is not written yet.
        problem: why the row could not be read.
    """

    sweep: str
    state: str
    values: Mapping[str, Any]
    problem: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in each state that occurs."""
        counts = {state: self.values.get(f"num_{state.lower()}") or 0 for state in STATES}
        if self.state != "RUNNING":  # nobody runs them: they go on when the sweep is resumed
            counts["WAITING"] += counts.pop("RUNNING")
        return {state: count for state, count in counts.items() if count}


@dataclass(frozen=True)
class TrialRow:
    """One trial of a leaderboard.

    Attributes:
        rank: from 1; None for a trial that is not ranked (failed, no value yet, or a copy of another).
        value: the objective at its best epoch.
        metrics: the other metrics at that epoch, without their `best_`; with those of the final evaluation.
        params: what the search chose; only those that the trial has.
        row: its whole row of the `trials` table.
    """

    rank: int | None
    trial: int
    name: str | None
    state: str
    reason: str | None
    value: float | None
    metrics: Mapping[str, float]
    params: Mapping[str, Any]
    row: Mapping[str, Any]

    def __repr__(self) -> str:
        """One line: all metrics and the table's row would be a wall of figures."""
        name = f" ({self.name})" if self.name else ""
        value = "no value" if self.value is None else few_digits(self.value)
        return f"TrialRow(trial {self.trial}{name}: {value}, {self.state}, {in_words(self.params)})"

    @property
    def confirms(self) -> int | None:
        """The trial that this one runs again with another seed."""
        number: int | None = self.row.get("confirms")
        return number

    @property
    def confirmed_mean(self) -> float | None:
        """By which it counts, where it was run again."""
        mean: float | None = self.row.get("confirmed_mean")
        return mean

    @property
    def counts(self) -> float | None:
        """The value by which it is ranked."""
        return self.value if self.confirmed_mean is None else self.confirmed_mean

    @property
    def runs(self) -> str:
        """`0.8400 ± 0.0200 (mean of 3 runs)` where it was run again, else empty."""
        if self.confirmed_mean is None:
            return ""
        return (
            f"{self.confirmed_mean:.4f} ± {self.row['confirmed_std']:.4f} (mean of {self.row['confirmed_runs']} runs)"
        )

    @property
    def on_front(self) -> bool:
        """Whether it is on the Pareto front of a sweep with several objectives."""
        return bool(self.row.get("pareto_front"))

    def goal(self, column: str) -> float | None:
        """What it has of a further objective."""
        value = self.metrics.get(column, self.row.get(column))
        return value if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Leaderboard:
    """The trials of a sweep, best first.

    Attributes:
        sweep: the sweep as a whole.
        objective: the metric, and its mode; of several the first.
        goals: the columns of the further objectives, and which way is better.
        params: the names of the space, in the order of the sweep file.
        ranked: best first.
        unranked: failed, infeasible, over a limit, without a value yet, or copies; by number.
    """

    sweep: SweepRow
    objective: str
    mode: str
    params: tuple[str, ...]
    ranked: Sequence[TrialRow]
    unranked: Sequence[TrialRow]
    goals: tuple[tuple[str, str], ...] = ()

    @property
    def front(self) -> tuple[TrialRow, ...]:
        """The Pareto front: the ranked trials that none beats in all objectives, best first. Empty without goals."""
        return tuple(row for row in self.ranked if row.on_front)

    @property
    def rows(self) -> tuple[TrialRow, ...]:
        """All of them."""
        return (*self.ranked, *self.unranked)

    @property
    def over_limit(self) -> tuple[TrialRow, ...]:
        """The trials that a limit keeps from being ranked, by number; copies are left out."""
        return tuple(row for row in self.unranked if row.row.get("over_limit") and not _stands_for(row))

    @property
    def names(self) -> dict[int, str | None]:
        """The baseline's name of each trial that is one; None of the others."""
        found: dict[int, str | None] = {}
        for rows in (self.ranked, self.unranked):
            if isinstance(rows, TrialRows):
                found |= zip(rows.column("trial"), rows.column("name"), strict=True) if len(rows) else ()
            else:
                found |= {row.trial: row.name for row in rows}
        return found

    @property
    def best_epochs(self) -> dict[int, int | None]:
        """The best epoch of each ranked trial, best first, in whatever order they are shown."""
        if isinstance(self.ranked, TrialRows):
            return dict(zip(self.ranked.column("trial"), self.ranked.column("best_epoch"), strict=True))
        return {row.trial: row.row.get("best_epoch") for row in sorted(self.ranked, key=lambda row: row.rank or 0)}

    def trial(self, number: int) -> TrialRow:
        """One trial, which is there; `trial_names` finds it by what a user calls it."""
        for rows in (self.ranked, self.unranked):
            if isinstance(rows, TrialRows) and (found := rows.find(number)) is not None:
                return found
        return next(row for row in (*self.ranked, *self.unranked) if row.trial == number)


_FEW = 2_000
"""So many trials are told apart in Python sooner than Arrow's functions for that are imported."""
_AT_A_TIME = 512
"""Rows that are made together: a column costs as much to begin with as some hundred of its values."""


class _Source:
    """Rows of a `trials` table; few of them all at once, of many only those that are asked for."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def rows(self, order: Sequence[int]) -> list[Mapping[str, Any]]:
        if len(self.table) > _FEW:
            return rows_of(self.table.take(pa.array(order, pa.int64())))
        return [self._all[row] for row in order]

    @cached_property
    def _all(self) -> list[Mapping[str, Any]]:
        return rows_of(self.table)


class TrialRows(Sequence[TrialRow]):
    """Trials of one table, each made when it is asked for: of a million trials `sweep top` shows ten.

    Args:
        source: the `trials` table of a sweep.
        order: the rows of it that are meant, in their order.
        sweep: the sweep as a whole.
        ranked: whether the order is that of the leaderboard.
    """

    def __init__(self, source: _Source, order: Sequence[int], sweep: SweepRow, *, ranked: bool) -> None:
        table = source.table
        self._source, self._order, self._ranked = source, order, ranked
        self._objective, self._runs = str(sweep.values.get("objective") or ""), sweep.state == "RUNNING"
        self._params = _params_of(table)
        own = set(self._params.values())
        metrics = [name for name in table.column_names if name not in own and name != "best_epoch"]
        # A metric that a trial reported goes before that of the final evaluation.
        self._metrics = {name: name for name in metrics if name.startswith(("val_", "test_"))}
        self._metrics |= {name.removeprefix("best_"): name for name in metrics if name.startswith("best_")}
        self._made: dict[int, list[TrialRow]] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> TrialRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TrialRow, ...]: ...
    def __getitem__(self, index: int | slice) -> TrialRow | tuple[TrialRow, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._some(number // _AT_A_TIME)[number % _AT_A_TIME]

    def __iter__(self) -> Iterator[TrialRow]:
        for some in range((len(self) + _AT_A_TIME - 1) // _AT_A_TIME):
            yield from self._some(some)

    def column(self, name: str) -> list[Any]:
        """One column of the table, in the order of the rows."""
        values = values_of(self._source.table[name])
        return [values[row] for row in self._order]

    def find(self, trial: int) -> TrialRow | None:
        """The row of a trial, if it is one of these."""
        index = self._index.get(trial)
        return None if index is None else self[index]

    @cached_property
    def _index(self) -> dict[int, int]:
        return {trial: index for index, trial in enumerate(self.column("trial"))}

    def _some(self, number: int) -> list[TrialRow]:
        if number not in self._made:
            start = number * _AT_A_TIME
            order = self._order[start : start + _AT_A_TIME]
            rows = self._source.rows(order)
            self._made[number] = [self._row(row, start + position + 1) for position, row in enumerate(rows)]
        return self._made[number]

    def _row(self, row: Mapping[str, Any], rank: int) -> TrialRow:
        value = row.get(f"best_{self._objective}")
        metrics = {name: row[column] for name, column in self._metrics.items() if name != self._objective}
        state = row["state"]
        if state == "RUNNING" and not self._runs:
            state = "WAITING"  # nobody runs it: it goes on when the sweep is resumed
        return TrialRow(
            rank=rank if self._ranked else None,
            trial=row["trial"],
            name=row["name"],
            state=state,
            reason=row["reason"],
            value=None if value is None or math.isnan(value) else value,
            metrics={name: number for name, number in metrics.items() if isinstance(number, int | float)},
            params={param: row[column] for param, column in self._params.items() if row[column] is not None},
            row=row,
        )


def sweep_rows(results: ResultsPaths) -> list[SweepRow]:
    """Every sweep of a results folder, by name."""
    return [sweep_row(paths) for paths in results.sweeps()]


def sweep_row(paths: SweepPaths) -> SweepRow:
    """One sweep, as its tables and its lock say."""
    path = part_path(paths.table("sweeps"), 0)
    if not path.exists():
        return SweepRow(paths.name, live_state(paths, None), {})
    try:
        values = rows_of(read_part(path, SWEEP_COLUMNS))[0]
    except (OSError, pa.ArrowInvalid, IndexError) as error:
        return SweepRow(paths.name, "UNKNOWN", {}, problem=f"{path} cannot be read ({error}); resuming rewrites it")
    return SweepRow(paths.name, live_state(paths, values.get("state")), values)


def leaderboard(results: ResultsPaths, name: str) -> Leaderboard:
    """The trials of a sweep, best first.

    Ranked are trials with a value that stands or may still get better; FAILED and INFEASIBLE ones are not,
    nor are copies and repetitions, which would hold the same place twice. What a trial counts by: see `ranking`.

    Raises:
        RequestError: there is no such sweep.
        SweepError: its tables cannot be read.
    """
    paths = find_sweep(results, name)
    sweep = sweep_row(paths)
    if sweep.problem:
        raise SweepError(sweep.problem)
    path = part_path(paths.table("trials"), 0)
    try:
        table = read_part(path) if path.exists() else pa.table({})
    except (OSError, pa.ArrowInvalid) as error:
        raise SweepError(f"{path} cannot be read ({error}); resuming sweep {name!r} writes it again") from error
    objective, mode = str(sweep.values.get("objective") or ""), str(sweep.values.get("mode") or "max")
    ranked, unranked = _in_order(table, f"best_{objective}", mode)
    source = _Source(table)
    return Leaderboard(
        sweep=sweep,
        objective=objective,
        mode=mode,
        params=tuple(_params_of(table)),
        ranked=TrialRows(source, ranked, sweep, ranked=True),
        unranked=TrialRows(source, unranked, sweep, ranked=False),
        goals=tuple((str(column), str(way)) for column, way in json.loads(sweep.values.get("goals") or "[]")),
    )


def _params_of(table: pa.Table) -> dict[str, str]:
    """The names of the space and the columns of their values, in the order of the sweep file."""
    params: dict[str, str] = json.loads((table.schema.metadata or {}).get(PARAMS_KEY, b"{}"))
    return params


def _in_order(table: pa.Table, value: str, mode: str) -> tuple[Sequence[int], Sequence[int]]:
    """Which rows are ranked, best first as `ranking.place` says, and which are not, as they stand in the table."""
    if value not in table.column_names:
        return (), range(len(table))
    if len(table) > _FEW:
        return _many_in_order(table, value, mode)

    def column(name: str) -> list[Any]:
        return values_of(table[name]) if name in table.column_names else [None] * len(table)

    values, means, trials = column(value), column("confirmed_mean"), column("trial")
    marks = zip(values, column("state"), column("copy_of"), column("confirms"), column("over_limit"), strict=True)
    counts = [
        number is not None
        and not math.isnan(number)
        and state in BEST_SO_FAR
        and copy_of is None
        and confirms is None
        and not over_limit
        for number, state, copy_of, confirms, over_limit in marks
    ]
    ranked = [row for row, is_ranked in enumerate(counts) if is_ranked]
    ranked.sort(key=lambda row: place(values[row], trials[row], mode, means[row]))
    return ranked, [row for row, is_ranked in enumerate(counts) if not is_ranked]


def _many_in_order(table: pa.Table, value: str, mode: str) -> tuple[Sequence[int], Sequence[int]]:
    """As `_in_order`, in Arrow: 1 s instead of 10 for a million trials."""
    import pyarrow.compute as pc  # as long to import as some thousand rows take in Python

    values = table[value].cast(pa.float64())
    counts = pc.and_(pc.is_valid(values), pc.invert(pc.is_nan(values)))
    counts = pc.and_(counts, pc.is_in(table["state"], pa.array(BEST_SO_FAR)))
    for column in ("copy_of", "confirms"):  # of what only stands for another trial
        if column in table.column_names:
            counts = pc.and_(counts, pc.is_null(table[column]))
    if "over_limit" in table.column_names:
        counts = pc.and_(counts, pc.equal(pc.fill_null(table["over_limit"], ""), ""))
    counts = pc.fill_null(counts, False)
    has_means = "confirmed_mean" in table.column_names
    means = table["confirmed_mean"].cast(pa.float64()) if has_means else pa.nulls(len(table), pa.float64())
    keys = {"alone": pc.is_null(means).cast(pa.int8()), "counts": pc.coalesce(means, values), "trial": table["trial"]}
    everything = pa.array(range(len(table)), pa.int64())
    way = "descending" if mode == "max" else "ascending"
    sort_keys = [("alone", "ascending"), ("counts", way), ("trial", "ascending")]
    order = pc.sort_indices(pa.table(keys).filter(counts), sort_keys=sort_keys)
    ranked: list[int] = everything.filter(counts).take(order).to_pylist()
    unranked: list[int] = everything.filter(pc.invert(counts)).to_pylist()
    return ranked, unranked


def _stands_for(row: TrialRow) -> bool:
    """Whether a trial only stands for another: a copy of it, or one of its repetitions."""
    return row.row["copy_of"] is not None or row.confirms is not None
