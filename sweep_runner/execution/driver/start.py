"""When Ray starts: while the data is being prepared, if trials will surely run; else when the first one wants it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil

from sweep_runner.execution.driver.signals import StopSignals
from sweep_runner.execution.ray_runtime.leftovers import children
from sweep_runner.execution.ray_runtime.session import RaySession

_WORKERS_S = 15.0
_POLL_S = 0.1

Leave = Callable[[signal.Signals], None]


class RayStart:
    """Starts Ray at most once, and ends it.

    Args:
        open_session: starts it, or finds one.
        signals: a signal that comes meanwhile ends the process at once.
    """

    def __init__(self, open_session: Callable[[], AbstractContextManager[RaySession]], signals: StopSignals) -> None:
        self._open = open_session
        self._signals = signals
        self._stack = contextlib.ExitStack()
        self._session: RaySession | None = None

    def __enter__(self) -> RayStart:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def session(self, leave: Leave) -> RaySession:
        """The running session, started now if it is not there yet.

        Args:
            leave: records and tells, in a thread of its own, that a signal has come while Ray was starting.
        """
        if self._session is None:
            with self._signals.ending_at_once(leave):
                self._session = self._stack.enter_context(self._open())
                # Ray's native part has put its own SIGTERM handler, which aborts, in place of ours.
                self._signals.install()
                from sweep_runner.execution.driver import tune_adapter  # noqa: F401 - a second of imports, while others work
        return self._session

    def close(self) -> None:
        """Ends it, with every process that it made."""
        self._stack.close()
        self._session = None


def wait_for_workers(num: int) -> None:
    """Waits until this many of the workers that Ray starts by itself are there, or a while at most.

    They come to Ray's notice when they listen, before they have imported what trials need. Asked for a worker sooner
    than that, it would start another one, which imports it all once more, and end the first as one too many.
    """
    until = time.monotonic() + _WORKERS_S
    while time.monotonic() < until and sum(map(_listens, children())) < num:
        time.sleep(_POLL_S)
    time.sleep(_POLL_S)  # it tells Ray where it listens


def _listens(process: psutil.Process) -> bool:
    """Whether it is a worker that waits for work."""
    try:
        if process.cmdline()[:1] != ["ray::IDLE"]:
            return False
        return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))
    except psutil.Error:
        return False  # it has just ended
