"""Starts a fork server, and asks it for processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

import psutil

_PATIENCE_S = 2.0


class Forked:
    """A process that a fork server has made, as far as `subprocess.Popen` has the same.

    Attributes:
        pid: of it.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Reads the answer.

        Raises:
            ConnectionError: there is no such process.
        """
        self._connection = connection
        self._said = b""
        self._code: int | None = None
        while not self._said.endswith(b"\n"):
            if not (some := connection.recv(1)):
                raise ConnectionError("the fork server has ended")
            self._said += some
        self.pid = int(self._said)
        self._said = b""

    def poll(self) -> int | None:
        """Its exit code, negative when a signal has ended it; None while it runs."""
        with contextlib.suppress(BlockingIOError):
            self._connection.setblocking(False)
            self._read()
        return self._code

    def wait(self) -> int:
        """Waits for its end; its exit code."""
        self._connection.setblocking(True)
        self._read()
        assert self._code is not None
        return self._code

    def kill(self) -> None:
        """Ends it."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        while self._code is None:
            try:
                some = self._connection.recv(64)
            except ConnectionError:
                some = b""
            self._said += some
            if not some:  # without a word: the server is gone, and with it all that it has forked
                self._code = int(self._said) if self._said else -signal.SIGKILL


class ForkServer:
    """A fork server of this process, which ends with it.

    Args:
        folder: for its socket; private to this user.
        modules: that it imports, as far as they can be imported.
    """

    def __init__(self, folder: Path, modules: Sequence[str]) -> None:
        self.address = folder / "forks"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.address))
            listener.listen(128)
            command = [sys.executable, "-P", "-m", "sweep_runner.execution.fork_server.server", str(listener.fileno())]
            # A terminal sends these to all its processes: the driver decides what becomes of them.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
            try:
                self._process = subprocess.Popen(
                    [*command, *modules], pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=2
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def pid(self) -> int:
        """Of the server, the parent of all that it forks."""
        return self._process.pid

    def fork(self, module: str, descriptor: int, path: Sequence[str]) -> Forked:
        """Runs `python -m module DESCRIPTOR` in a forked process.

        Args:
            module: which.
            descriptor: a file descriptor for it, which gets another number there.
            path: `sys.path` of this process: what is not in the server's is put behind it.

        Raises:
            OSError: the server is gone.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.address))
        request = {"module": module, "argv": [], "path": list(path), "env": dict(os.environ), "cwd": str(Path.cwd())}
        send(connection, request, [0, 2, 2, descriptor])
        return Forked(connection)

    def close(self) -> None:
        """Ends all that it has forked, and then the server, which has taken note of their ends."""
        with contextlib.suppress(psutil.NoSuchProcess):
            forked = psutil.Process(self._process.pid).children()
            for process in forked:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(forked, timeout=_PATIENCE_S)
        self._process.kill()
        self._process.wait()


def send(connection: socket.socket, request: object, descriptors: Sequence[int]) -> None:
    """Sends a request as JSON, its length before it, and file descriptors."""
    text = json.dumps(request).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
    connection.sendmsg([len(text).to_bytes(4, "big")], rights)
    connection.sendall(text)
