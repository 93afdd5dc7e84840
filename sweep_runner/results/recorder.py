"""The recorder: the log first, on disk before `record` returns; then, every few seconds, the tables from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa

from sweep_runner.durable import remove_leftovers
from sweep_runner.errors import SweepError
from sweep_runner.results.candidates import candidates_table
from sweep_runner.results.events import Confirmed, EpochReported, Event, FinalEvaluated, ModelMeasured
from sweep_runner.results.front import front_of
from sweep_runner.results.log import EventLog, read_events
from sweep_runner.results.parts import PART_ROWS, EpochParts, evaluation_path, part_path, set_aside_damaged, write_part
from sweep_runner.results.paths import TABLES, SweepPaths
from sweep_runner.results.schemas import (
    NOT_AMONG_METRICS,
    evaluation_table,
    in_trials,
    sweeps_table,
    trial_row,
    trials_table,
)
from sweep_runner.results.state import Objective, SweepState

FLUSH_INTERVAL_S = 2.0
# A flush writes every trial's row: with very many trials flushing takes at most this share of the time.
_FLUSH_FRACTION = 0.1
_REBUILD_ROWS = 5_000
FROM_LOG = ("sweeps", "trials", "epochs", "candidates")
"""The tables whose rows the log has."""

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


class Recorder:
    """Records what happens in a sweep, and keeps its tables up to date. For one process, under the sweep's lock.

    Opening it reads the log of an earlier run, if there is one, and brings the tables up to it. All
    methods may be called from any thread.

    Attributes:
        state: what all events so far add up to. Read it in the thread that records; others `look`.
    """

    def __init__(
        self,
        paths: SweepPaths,
        objective: Objective,
        param_names: Sequence[str],
        info: Mapping[str, Any],
        *,
        flush_interval_s: float = FLUSH_INTERVAL_S,
        part_rows: int = PART_ROWS,
    ) -> None:
        """Opens the log and rebuilds what the tables lack.

        Args:
            paths: of the sweep's folder, which exists.
            objective: by which the best epoch and the best trial are chosen.
            param_names: every name of the space: a column each.
            info: what the `sweeps` table says of the sweep beside its progress: scalars become columns of
                that name, `versions` (package → version) a column `<package>_version` each.
            flush_interval_s: how old the tables may be, while something happens.
            part_rows: rows of a full part of the `epochs` table.

        Raises:
            SweepError: the log is damaged, or something cannot be written.
        """
        self.state = SweepState(objective)
        self._paths = paths
        self._params = tuple(param_names)
        self._info = dict(info)
        self._interval_s = flush_interval_s
        self._epochs = EpochParts(paths.table("epochs"), paths.name, part_rows)
        self._pending: list[EpochReported] = []
        self._rows: dict[int, dict[str, Any]] = {}
        self._changed: set[int] = set()
        self._metrics: dict[str, None] = {}  # as the `trials` table calls them, in the order in which they came
        self._dirty = True
        self._failure: SweepError | None = None
        self._lock = threading.Lock()  # of everything above
        self._flushing = threading.Lock()  # one flush at a time; taken before `_lock`
        self._closing = threading.Event()
        try:
            remove_leftovers(paths.root)
            for table in TABLES:
                remove_leftovers(paths.table(table))
                for path, aside, reason in set_aside_damaged(paths.table(table)):
                    _LOGGER.warning(_damaged(path, aside, reason))
            self._log = EventLog.open(paths.log)
            self._rebuild()
        except OSError as error:
            raise self._cannot_write(error) from error
        self.flush()
        self._thread = threading.Thread(target=self._flush_now_and_then, name="recorder", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, paths: SweepPaths, objective: Objective, param_names: Sequence[str], info: Mapping[str, Any]) -> Self:
        """Opens a sweep, new or old. As the constructor, with its defaults."""
        return cls(paths, objective, param_names, info)

    def _rebuild(self) -> None:
        for event in read_events(self._paths.log):
            self._take(event)
            if len(self._pending) >= _REBUILD_ROWS:
                self._epochs.add(self._pending)
                self._epochs.write_full()
                self._pending = []
        self._epochs.add(self._pending)
        self._epochs.write_full()
        self._pending = []
        self._epochs.remove_others()

    def record(self, event: Event) -> bool:
        """Records one event. As `record_many`."""
        return self.record_many((event,)) == 1

    def record_many(self, events: Iterable[Event]) -> int:
        """Records events: when this returns they are on disk, in the log, and in `state`.

        An epoch of a trial that is known already is left out: the first report wins.

        Returns:
            How many events were recorded.

        Raises:
            SweepError: the log could not be written and none of the events is recorded; or the tables could
                not be written since the last call, and none of the events is recorded either.
        """
        with self._lock:
            self._raise_failure()
            fresh = self._without_known(events)
            self._log.append_many(fresh)
            for event in fresh:
                self._take(event)
            self._dirty = self._dirty or bool(fresh)
            return len(fresh)

    def look(self, read: Callable[[SweepState], T]) -> T:
        """Calls a function with `state` while nothing is recorded: for other threads than the one that records."""
        with self._lock:
            return read(self.state)

    def _without_known(self, events: Iterable[Event]) -> list[Event]:
        seen: set[tuple[int, int]] = set()
        fresh: list[Event] = []
        for event in events:
            if isinstance(event, EpochReported):
                key = (event.trial, event.epoch)
                if key in seen or self.state.has_epoch(*key):
                    continue
                seen.add(key)
            fresh.append(event)
        return fresh

    def _take(self, event: Event) -> None:
        if not self.state.apply(event):
            return
        if isinstance(event, EpochReported):
            self._pending.append(event)
            self._metrics.update(dict.fromkeys(in_trials(event.metrics)))
        elif isinstance(event, FinalEvaluated):
            self._metrics.update(dict.fromkeys(event.metrics))
        if isinstance(event, ModelMeasured):
            self._metrics.update(dict.fromkeys(name for name in event.facts if name not in NOT_AMONG_METRICS))
        trial: int | None = getattr(event, "trial", None)
        if trial is not None:
            self._changed.add(trial)
            original = self.state.trials[trial].confirms
            if original is not None:
                self._changed.add(original)  # its mean is another one now
        if isinstance(event, ModelMeasured | Confirmed):
            self._changed.update(event.trials)

    def record_evaluation(
        self, trial: int, split: str, predictions: pa.Table, classes: pa.Table, confusions: pa.Table | None = None
    ) -> None:
        """Stores the rows of a final evaluation; call it before `FinalEvaluated` is recorded.

        Done again for the same trial and split (after a crash in between), it replaces the rows.

        Args:
            trial: whose model was evaluated.
            split: `val` or `test`.
            predictions: a row per example, as `trainables.contract.Evaluation` says.
            classes: a row per class, likewise.
            confusions: one row per cell of the confusion matrix, likewise; None: the trainable tells none.

        Raises:
            SweepError: they could not be written.
        """
        tables = {"predictions": predictions, "classes": classes, "confusions": confusions}
        for name, rows in tables.items():
            if rows is None:
                continue
            table = evaluation_table(self._paths.name, trial, split, rows)
            try:
                write_part(evaluation_path(self._paths.table(name), trial, split), table)
            except OSError as error:
                raise self._cannot_write(error) from error

    def flush(self) -> None:
        """Brings the tables up to the log.

        Raises:
            SweepError: they could not be written. The log is complete all the same, and the next flush tries
                again.
        """
        with self._flushing:
            with self._lock:
                self._failure = None  # what failed before is tried again here
                if not self._dirty:
                    return
                self._dirty = False
                pending, self._pending = self._pending, []
                for number in self._changed:
                    self._rows[number] = trial_row(
                        self.state.trials[number], self.state.objective.metric, self.state.runs(number)
                    )
                self._changed.clear()
                if self.state.objective.also:
                    on_front = front_of(self.state)
                    for number, row in self._rows.items():
                        row["tail"]["pareto_front"] = number in on_front
                rows = [self._rows[number] for number in sorted(self._rows)]
                metrics = list(self._metrics)
                sweep = sweeps_table(self._paths.name, self.state, self._info)
                candidates = candidates_table(self._paths.name, self.state) if self.state.candidates else None
            # Outside the lock: reports need not wait while files are written.
            try:
                self._epochs.add(pending)
                pending = []
                self._epochs.write()
                self._write("trials", trials_table(self._paths.name, rows, self._params, metrics))
                if candidates is not None:
                    self._write("candidates", candidates)
                self._write("sweeps", sweep)
            except BaseException as error:
                with self._lock:
                    self._dirty = True
                    self._pending[:0] = pending
                if isinstance(error, OSError):
                    raise self._cannot_write(error) from error
                raise

    def _write(self, name: str, table: pa.Table) -> None:
        write_part(part_path(self._paths.table(name), 0), table)

    def _flush_now_and_then(self) -> None:
        wait_s = self._interval_s
        while not self._closing.wait(wait_s):
            begin = time.monotonic()
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - handed to the next caller of record, flush or close
                with self._lock:
                    self._failure = error if isinstance(error, SweepError) else _unexpected(error)
            wait_s = max(self._interval_s, (time.monotonic() - begin) / _FLUSH_FRACTION)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _cannot_write(self, error: OSError) -> SweepError:
        return SweepError(
            f"{error.filename or self._paths.tables}: the sweep's tables cannot be written "
            f"({error.strerror or error}). Its log is safe: free disk space or repair the folder, then resume the sweep"
        )

    def close(self) -> None:
        """Writes the tables a last time and closes the log. Again: does nothing.

        Raises:
            SweepError: the tables could not be written.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join()
        try:
            self.flush()
        finally:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _damaged(path: Path, aside: Path, reason: str) -> str:
    rows = "its rows are rewritten from the sweep's log"
    if path.parent.name not in FROM_LOG:
        rows = "its rows are of a final evaluation, which is not repeated: they are lost unless you have a backup"
    return f"{path} is damaged ({reason}); it is kept as {aside.name}, and {rows}"


def _unexpected(error: Exception) -> SweepError:
    failure = SweepError(f"the sweep's tables could not be built: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
