"""The inside of a fork server: `python -m sweep_runner.execution.fork_server.server LISTENER MODULE ...`.

It stays in one thread, and imports nothing of Ray, whose native part reads a worker's environment when it is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_REQUEST_S = 10.0
_MOST_DESCRIPTORS = 8


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Imports, and forks until the driver is gone."""
    _end_with_parent()
    listener = socket.socket(fileno=descriptor)
    for module in modules:
        with contextlib.suppress(Exception):  # who needs it will say what is wrong with it
            importlib.import_module(module)
    if threading.active_count() > 1:
        return  # a module has started threads, which a fork would not have: each worker imports for itself
    # What is there now is never looked at by the garbage collection: it would write into the pages that forks share.
    gc.collect()
    gc.freeze()
    _Server(listener).serve()


class _Server:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[int, socket.socket] = {}
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                if self._listener in ready:
                    connection, _ = self._listener.accept()
                    try:
                        self._answer(connection, selector)
                    except (OSError, ValueError):
                        connection.close()  # who asked is gone, or is told so by this

    def _reap(self) -> None:
        """Tells those who asked how their process has ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._running.pop(ended[0])
                with contextlib.suppress(OSError):
                    connection.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
                connection.close()

    def _answer(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        connection.settimeout(_REQUEST_S)
        request, descriptors = _received(connection)
        pid = os.fork()
        if pid:
            self._running[pid] = connection
            for descriptor in descriptors:
                os.close(descriptor)
            connection.sendall(f"{pid}\n".encode())
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asker = _peer(connection)
        selector.close()
        for each in (self._listener, self._woken, self._wakes, connection, *self._running.values()):
            each.close()
        try:
            _become(request, descriptors, asker)
        except Exception:  # noqa: BLE001 - whatever ends a program; the loop that this was forked in must not go on here
            traceback.print_exc()
            sys.exit(1)


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, rights, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(_MOST_DESCRIPTORS * array("i").itemsize))
    descriptors = array("i")
    for _, _, data in rights:
        descriptors.frombytes(data)
    length, text = int.from_bytes(head, "big"), b""
    while len(text) < length:
        if not (some := connection.recv(length - len(text))):
            raise ConnectionError
        text += some
    return json.loads(text), list(descriptors)


def _peer(connection: socket.socket) -> int:
    """The process that has asked."""
    form = "3i"
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    return int(struct.unpack(form, data)[0])


def _become(request: dict[str, Any], descriptors: list[int], asker: int) -> None:
    """Runs what was asked for, in the forked process, and ends it.

    Raises:
        SystemExit: always.
    """
    _end_with_parent()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if "script" in request:
        _treat_alike(asker)  # Ray has put it behind the driver, and first in line where memory runs out
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path += [path for path in request["path"] if path not in sys.path]
    sys.argv = ["", *request["argv"], *map(str, descriptors[3:])]
    if "script" in request:
        sys.argv[0] = request["script"]
        runpy.run_path(request["script"], run_name="__main__")
    else:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)


def _treat_alike(asker: int) -> None:
    """Gives this process the priority of the one that asked, and its place among those that the kernel would end."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, asker))
        Path("/proc/self/oom_score_adj").write_text(Path(f"/proc/{asker}/oom_score_adj").read_text())


def _end_with_parent() -> None:
    """Should the parent be killed, nothing may be left that still writes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    # Under its real name, once.
    from sweep_runner.execution.fork_server import server

    server.main(int(sys.argv[1]), sys.argv[2:])
