"""Follows a sweep's log in a thread and tells its trackers; nothing that they do reaches the sweep."""

from __future__ import annotations

import contextlib
import json
import pkgutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep_runner.durable import write_atomically
from sweep_runner.results.events import EpochReported, Event, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.log import decode
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState
from sweep_runner.spec.loggers import LOGGERS
from sweep_runner.spec.model import SweepSpec
from sweep_runner.tracking.tracker import TrackedSweep, Tracker
from trainables.extras import install_command
from trainables.own_modules import find_own_modules

_POLL_S = 0.5
_CLOSE_S = 30.0
"""How long the end of a sweep waits for trackers that have not caught up."""


class _Follower:
    """One tracker, the events that it has not had yet, and how far it came.

    Each has a thread of its own, so that a slow or hanging one holds up none of the others.
    """

    def __init__(self, name: str, spec: SweepSpec, paths: SweepPaths, warn: Callable[[str], None]) -> None:
        folder = paths.root / "trackers" / name.replace(":", ".")
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._log = paths.log
        self._position_file = folder / ".position.json"
        self._position = _stored(self._position_file)
        self._sweep = TrackedSweep(paths.name, folder, spec.objective.metric, spec.objective.mode)
        self._state = SweepState(spec.objective)
        self._warn = warn
        self._closing = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"tracker {name}", daemon=True)
        self.thread.start()

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        try:
            tracker = _make(self.name, self._sweep)
            self._follow(tracker)
        except ImportError as error:
            extra = LOGGERS[self.name].extra if self.name in LOGGERS else ""
            hint = f": {install_command(extra)}" if extra else ""
            self._warn(f"logger {self.name} is left out, {error}{hint}")
        except Exception as error:  # noqa: BLE001 - a tracker is somebody's code and must not harm the sweep
            reason = (str(error).splitlines() or [""])[0]
            self._warn(f"logger {self.name} is dropped, the sweep continues: {type(error).__name__}: {reason}")

    def _follow(self, tracker: Tracker) -> None:
        offset = 0
        ended = "INTERRUPTED"
        while True:
            closing = self._closing.is_set()  # before reading: what was recorded until then is told
            for event, offset in _events(self._log, offset):  # noqa: B020 - goes on behind the last event
                self._state.apply(event)
                ended = event.state if isinstance(event, SweepChanged) else ended
                if offset > self._position:
                    _tell(tracker, event, self._state)
                    self._position = offset
            if closing:
                tracker.sweep_ended(ended)
                self._store()
                return
            self._store()
            self._closing.wait(_POLL_S)

    def _store(self) -> None:
        if _stored(self._position_file) != self._position:
            write_atomically(self._position_file, json.dumps({"log_bytes": self._position}).encode())


@contextlib.contextmanager
def trackers(spec: SweepSpec, paths: SweepPaths, warn: Callable[[str], None]) -> Iterator[None]:
    """Tells the sweep's trackers what its log gets, until it is left.

    Args:
        spec: its `loggers` name them.
        paths: of the sweep's folder.
        warn: told, once, why a tracker was dropped.
    """
    followers: Sequence[_Follower] = [_Follower(name, spec, paths, warn) for name in dict.fromkeys(spec.loggers)]
    try:
        yield
    finally:
        for follower in followers:
            follower.close()
        deadline = time.monotonic() + _CLOSE_S
        for follower in followers:
            follower.thread.join(max(0.0, deadline - time.monotonic()))
            if follower.thread.is_alive():
                warn(
                    f"logger {follower.name} has not caught up in {_CLOSE_S:g} s and is left; a resume goes on with it"
                )


def _make(name: str, sweep: TrackedSweep) -> Tracker:
    if name not in LOGGERS:
        find_own_modules()
    target = LOGGERS[name].made_by if name in LOGGERS else name
    tracker: Tracker = pkgutil.resolve_name(target)(sweep)
    return tracker


def _tell(tracker: Tracker, event: Event, state: SweepState) -> None:
    if isinstance(event, TrialStarted):
        tracker.trial_started(event.trial, event.params, event.name)
    elif isinstance(event, EpochReported):
        tracker.epoch_reported(event.trial, event.epoch, event.metrics)
    elif isinstance(event, TrialEnded):
        summary = state.trials[event.trial]
        tracker.trial_ended(event.trial, event.state, summary.params, summary.best_metrics)


def _events(log: Path, offset: int) -> Iterator[tuple[Event, int]]:
    """The complete lines behind `offset`, each with where it ends."""
    with log.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield decode(line), offset


def _stored(file: Path) -> int:
    try:
        stored: Any = json.loads(file.read_bytes())
        return int(stored["log_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # new, or damaged: told from the beginning
