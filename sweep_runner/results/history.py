"""One trial in detail: its learning curve from the tables, its attempts from the log, its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep_runner.results.events import AttemptFailed, Event, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.log import decode
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn, damaged_message, read_part
from sweep_runner.results.values import rows_of

_EPOCH_LINE = b'{"kind":"epoch"'


@dataclass(frozen=True)
class Attempt:
    """One time that a trial was handed to a worker.

    Attributes:
        number: from 1.
        started: seconds since the epoch (UTC).
        outcome: the trial's state if it ended or paused in this attempt, else FAILED or INTERRUPTED; RUNNING for the
            last one of a trial that has not ended.
        reason: why it ended.
        duration_s: None when it was cut off.
    """

    number: int
    started: float
    outcome: str
    reason: str
    duration_s: float | None


def attempts_of(paths: SweepPaths, trial: int, runs: bool = True) -> list[Attempt]:
    """The attempts of a trial, oldest first.

    Args:
        paths: of the sweep.
        trial: its number.
        runs: whether the sweep runs; else what has no end was cut off.
    """
    attempts: list[Attempt] = []
    for event in _events_of(paths.log, trial):
        if isinstance(event, TrialStarted):
            if attempts and attempts[-1].outcome == "RUNNING":
                attempts[-1] = _ended(attempts[-1], "INTERRUPTED", "", None)
            attempts.append(Attempt(event.attempt, event.time, "RUNNING", "", None))
        elif attempts and isinstance(event, AttemptFailed):
            attempts[-1] = _ended(attempts[-1], "FAILED", event.reason, event.duration_s)
        elif attempts and isinstance(event, TrialPaused):
            attempts[-1] = _ended(attempts[-1], "PAUSED", event.reason, event.duration_s)
        elif attempts and isinstance(event, TrialEnded):
            attempts[-1] = _ended(attempts[-1], event.state, event.reason, event.duration_s)
    if attempts and attempts[-1].outcome == "RUNNING" and not runs:
        attempts[-1] = _ended(attempts[-1], "INTERRUPTED", "", None)
    return attempts


def _ended(attempt: Attempt, outcome: str, reason: str, duration_s: float | None) -> Attempt:
    return Attempt(attempt.number, attempt.started, outcome, reason, duration_s)


def _events_of(log: Path, trial: int) -> list[Event]:
    """A trial's events but for its epochs. Damaged lines are left to who writes: this is only for show."""
    mark = f'"trial":{trial},'.encode()
    events = []
    if not log.exists():
        return []
    with log.open("rb") as file:
        for line in file:
            # Most lines are epochs, and most others of other trials: no need to parse them.
            if line.startswith(_EPOCH_LINE) or mark not in line or not line.endswith(b"\n"):
                continue
            try:
                event = decode(line)
            except ValueError:
                continue
            if getattr(event, "trial", None) == trial:
                events.append(event)
    return events


def learning_curve(paths: SweepPaths, trial: int, warn: Warn) -> list[Mapping[str, Any]]:
    """A trial's rows of the `epochs` table, by epoch; empty columns left out."""
    import pyarrow.compute as pc

    found = []
    for path in sorted(paths.table("epochs").glob("part-*.parquet")):
        try:
            numbers = read_part(path, ("trial",))["trial"]
            mask = pc.equal(numbers, trial)
            if pc.any(mask).as_py():
                found.append(read_part(path).filter(mask))
        except (OSError, pa.ArrowInvalid) as error:
            warn(damaged_message(path, error))
    if not found:
        return []
    table = pa.concat_tables(found, promote_options="default")
    rows = rows_of(table.select([name for name in table.column_names if table[name].null_count < len(table)]))
    return sorted(rows, key=lambda row: int(row["epoch"]))


def files_of(paths: SweepPaths, trial: int) -> list[Path]:
    """The folders of a trial's attempts and the files beside them."""
    folder = paths.trial(trial)
    return sorted(folder.iterdir()) if folder.is_dir() else []
