"""Ray's own servers beside the driver: that one of them is gone is noticed, said, and ends the run, resumable.

Without its raylet Ray starts and ends no worker and says nothing; without its control store (gcs_server) it waits for a
minute and then ends the driver without a word. Memory that runs out is the usual reason for either.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from sweep_runner.errors import SweepError
from sweep_runner.execution.ray_runtime.leftovers import children

NAMES = ("gcs_server", "raylet")
_LOOK_EVERY_S = 0.5
_LEAVE_PATIENCE_S = 5.0
"""How long the main thread has to end in order, before it is taken to be stuck in a question that nobody answers."""


class ServerDied(SweepError):
    """One of Ray's servers is gone, and with it all that it ran."""


def servers() -> dict[str, psutil.Process]:
    """Those of this process's Ray, by name, when all is well: of a dead process the system no longer tells its name."""
    found = {}
    for process in children():
        with contextlib.suppress(psutil.Error):
            name = Path(next(iter(process.cmdline()), "")).name
            if name in NAMES:
                found[name] = process
    return found


class ServerWatch:
    """Looks after Ray's servers in a thread of its own: the main thread may be waiting for one that is gone.

    Args:
        servers: from `servers()`.
        resume: the command that goes on with the sweep.
        leave: records and tells what it is given; called in that thread, when the main thread does not end in order.
    """

    def __init__(self, servers: Mapping[str, psutil.Process], resume: str, leave: Callable[[str], None]) -> None:
        self._servers = dict(servers)
        self._resume = resume
        self._leave = leave
        self._died = ""
        self._closed = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """While it is open, the servers are looked after."""
        thread = threading.Thread(target=self._follow, name="ray's servers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closed.set()
            thread.join()

    def look(self) -> None:
        """To be called in the main thread, many times a second.

        Raises:
            ServerDied: one is gone.
        """
        if self._died:
            raise ServerDied(self._died)

    def _follow(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            for name, process in self._servers.items():
                if not _lives(process):
                    self._died = self._words(name, _how(process))
                    if not self._closed.wait(_LEAVE_PATIENCE_S):
                        self._end_without_main_thread()
                    return

    def _words(self, name: str, how: str) -> str:
        return (
            f"Ray's {name} has ended ({how}), and with it all workers. Nothing recorded is lost. Continue with: "
            f"{self._resume}"
        )

    def _end_without_main_thread(self) -> None:
        try:
            self._leave(self._died)
        finally:
            for process in children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os._exit(ServerDied.exit_code)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _how(process: psutil.Process) -> str:
    try:
        code = process.wait(timeout=0)
    except psutil.Error:
        code = None
    if code is None or code >= 0:
        return "for an unknown reason" if code is None else f"exit code {code}"
    hint = ": the machine may be out of memory" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{hint}"
