"""Who did best in a sweep, from its tables. No pandas, no DuckDB: `sweep top` answers at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sweep_runner.errors import SweepError
from sweep_runner.results.display import few_digits, in_words
from sweep_runner.results.lookup import find_sweep
from sweep_runner.results.parts import part_path
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.ranking import place
from sweep_runner.results.schemas import BEST_SO_FAR, PARAMS_KEY
from sweep_runner.results.tables import live_state, read_part
from sweep_runner.results.values import rows_of

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
    ranked: tuple[TrialRow, ...]
    unranked: tuple[TrialRow, ...]
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

    def trial(self, number: int) -> TrialRow:
        """One trial, which is there; `trial_names` finds it by what a user calls it."""
        return next(row for row in (*self.ranked, *self.unranked) if row.trial == number)


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
        raise SweepError(f"{path} cannot be read ({error}); resuming sweep {name!r} writes it anew") from error
    columns: dict[str, str] = json.loads((table.schema.metadata or {}).get(PARAMS_KEY, b"{}"))
    objective, mode = str(sweep.values.get("objective") or ""), str(sweep.values.get("mode") or "max")
    rows = [_trial_row(row, columns, objective, sweep.state) for row in rows_of(table)]
    ranked = [row for row in rows if row.value is not None and row.state in BEST_SO_FAR and _may_be_ranked(row)]
    ranked.sort(key=lambda row: place(row.value or 0.0, row.trial, mode, row.confirmed_mean))
    places = {row.trial: place for place, row in enumerate(ranked, start=1)}
    return Leaderboard(
        sweep=sweep,
        objective=objective,
        mode=mode,
        params=tuple(columns),
        ranked=tuple(replace(row, rank=places[row.trial]) for row in ranked),
        unranked=tuple(row for row in rows if row.trial not in places),
        goals=tuple((str(column), str(way)) for column, way in json.loads(sweep.values.get("goals") or "[]")),
    )


def _stands_for(row: TrialRow) -> bool:
    """Whether a trial only stands for another: a copy of it, or one of its repetitions."""
    return row.row["copy_of"] is not None or row.confirms is not None


def _may_be_ranked(row: TrialRow) -> bool:
    """Neither one that only stands for another, nor over a limit."""
    return not _stands_for(row) and not row.row.get("over_limit")


def _trial_row(row: Mapping[str, Any], columns: Mapping[str, str], objective: str, sweep_state: str) -> TrialRow:
    params = {param: row[column] for param, column in columns.items() if row[column] is not None}
    best = {name.removeprefix("best_"): value for name, value in row.items() if _is_metric(name, "best_", columns)}
    final = {name: value for name, value in row.items() if _is_metric(name, ("val_", "test_"), columns)}
    value = best.get(objective)
    others = {name: number for name, number in {**final, **best}.items() if name != objective}
    state = row["state"]
    if state == "RUNNING" and sweep_state != "RUNNING":
        state = "WAITING"  # nobody runs it: it goes on when the sweep is resumed
    return TrialRow(
        rank=None,
        trial=row["trial"],
        name=row["name"],
        state=state,
        reason=row["reason"],
        value=None if value is None or math.isnan(value) else value,
        metrics={name: number for name, number in others.items() if isinstance(number, int | float)},
        params=params,
        row=row,
    )


def _is_metric(column: str, prefix: str | tuple[str, ...], params: Mapping[str, str]) -> bool:
    return column.startswith(prefix) and column != "best_epoch" and column not in params.values()
