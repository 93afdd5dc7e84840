"""SIGINT, SIGTERM and SIGHUP: one polite request to stop, and at once where that cannot be waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import psutil

from sweep_runner.execution.ray_runtime.leftovers import children, remove_leftovers

_KILL_PATIENCE_S = 3.0


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP into one polite request to stop; a second one ends the process.

    Made before Ray starts, which would otherwise install handlers of its own; `install` again after.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.received: signal.Signals | None = None
        self.on_stop = on_stop
        self._first_s = 0.0
        self._park: Callable[[], None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            previous = signal.signal(number, self._handle)
            self._previous.setdefault(number, previous)

    def restore(self) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    @contextlib.contextmanager
    def ending_at_once(self, leave: Callable[[signal.Signals], None]) -> Iterator[None]:
        """While this is open, a signal ends the process from a thread of its own.

        For the time in which Ray starts: the main thread is in Ray's hands then, for seconds, and an exception that is
        raised there by a handler is taken for one of Ray's own, or meets its native part half made.

        Args:
            leave: records and tells that it was stopped. Called in that thread, while the main thread stands still
                (or is in native code); the process ends after it, with all that it started.
        """
        ours, kernels = socket.socketpair()
        kernels.setblocking(False)
        ending = threading.Lock()
        closed = threading.Event()
        parked = threading.Event()

        def watch() -> None:
            number = ours.recv(1)[0]
            if not number:
                return
            with ending:
                if closed.is_set():
                    return
                self._first_s = time.monotonic()
                self.received = signal.Signals(number)
                # It stands still in our handler, unless native code keeps it: that starts no processes.
                parked.wait(0.3)
                try:
                    leave(self.received)
                finally:
                    self._end_process()

        def park() -> None:
            parked.set()
            threading.Event().wait()

        self._park = park
        previous = signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=watch, name="stop signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._park = None
            with ending:  # for ever, when the watcher is at work
                closed.set()
            signal.set_wakeup_fd(previous)
            with contextlib.suppress(OSError):
                kernels.send(b"\0")
            watcher.join()
            ours.close()
            kernels.close()

    def _end_process(self) -> None:
        """Ends this process at once, with every process and temporary file that it made."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while (processes := children()) and time.monotonic() < deadline:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=1)
        remove_leftovers(own=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A closed terminal can send SIGHUP and SIGINT together: only a second one after a while is meant.
        if self.received is not None and time.monotonic() - self._first_s > 0.5:
            self._end_process()
        if self._park is not None:
            self._park()
        if self.received is None:
            self.received = signal.Signals(number)
            self._first_s = time.monotonic()
            self.on_stop()
