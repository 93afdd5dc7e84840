"""A process beside the driver that holds the trainable's libraries: it prepares data, and later evaluates and exports.

So the driver stays small, Ray and its workers start while data is being read, and neither can take the driver down
with it. Between the two the process ends: PyTorch would hold some 500 MB all that time.
`python -m sweep_runner.execution.evaluation.assistant FD` is its inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sweep_runner.errors import SweepError
from sweep_runner.execution.build import build_trainable
from sweep_runner.execution.evaluation.finalize import FinalResult, FinalTask, finalize
from sweep_runner.execution.fork_server.client import Forked, ForkServer
from trainables.contract import Preparation, Progress, no_progress

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class PrepareTask:
    """What `Trainable.prepare` is called with.

    Attributes:
        trainable: built-in name or `package.module:attribute`.
        data: the sweep file's data section.
        folder: where the trainable leaves what its trials need.
        candidates: what each config key can be in this sweep.
    """

    trainable: str
    data: Mapping[str, Any]
    folder: str
    candidates: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class _Progress:
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class _Raised:
    error: Exception
    trace: str


class _Elsewhere(Exception):
    """Carries the traceback of the other process, as the cause of what is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class AssistantDied(SweepError):
    """The process ended without an answer."""


class Assistant:
    """Does one thing at a time, in a process that starts with the first and ends with `close`.

    Attributes:
        forks: what the process is forked from, where there is one: it has imported most of what is needed.
    """

    def __init__(self) -> None:
        self.forks: ForkServer | None = None
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._connection: Connection | None = None
        self._answer: Any = None
        self._to_skip = 0

    def __enter__(self) -> Assistant:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def begin(self, function: Callable[..., Any], task: object) -> None:
        """Has `function(task, progress)` called there; `wait` and `answer` say what comes of it."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._connection is not None
        self._connection.send((function, task))

    def import_ahead(self, modules: Sequence[str]) -> None:
        """Has the process started, and modules imported there, before there is something to do. Returns at once."""
        self.begin(_import, modules)
        self._to_skip += 1

    def wait(self, timeout_s: float, progress: Progress = no_progress) -> bool:
        """Waits for at most so long, and hands on what progress there is meanwhile, in this thread.

        Returns:
            Whether `answer` is there.
        """
        assert self._connection is not None
        until = time.monotonic() + timeout_s
        while self._connection.poll(max(0.0, until - time.monotonic())):
            news = self._receive()
            if isinstance(news, _Progress):
                progress(news.what, news.done, news.total)
            elif self._to_skip and not isinstance(news, AssistantDied):
                self._to_skip -= 1
            else:
                self._answer = news
                return True
        return False

    def answer(self) -> Any:
        """What the function returned.

        Raises:
            Exception: what it raised.
            AssistantDied: the process is gone.
        """
        news = self._answer
        if isinstance(news, _Raised):
            raise news.error from _Elsewhere(news.trace)
        if isinstance(news, AssistantDied):
            raise news
        return news

    def close(self) -> None:
        """Ends the process, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None
        self._to_skip = 0

    def _start(self) -> None:
        self.close()
        ours, theirs = socket.socketpair()
        module, descriptor = "sweep_runner.execution.evaluation.assistant", theirs.fileno()
        # A user's own module is found where this process finds it.
        paths = list(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))
        with theirs:
            if self.forks is not None:
                with contextlib.suppress(OSError):
                    self._process = self.forks.fork(module, descriptor, paths)
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, str(descriptor)],
                    pass_fds=[descriptor],
                    stdout=2,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                )
        self._connection = Connection(ours.detach())

    def _receive(self) -> Any:
        assert self._connection is not None
        assert self._process is not None
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            hint = ": the machine may be out of memory" if code == -signal.SIGKILL else ""
            return AssistantDied(f"the driver's helper process ended ({how}){hint}")


def prepare(task: PrepareTask, progress: Progress) -> Preparation:
    """Calls `Trainable.prepare`."""
    return build_trainable(task.trainable, task.data, task.folder).prepare(task.candidates, progress)


def finalize_with(assistant: Assistant, tasks: Sequence[FinalTask], stopped: Callable[[], bool]) -> list[FinalResult]:
    """Runs tasks one after another; those not done when it is stopped end with an error."""
    return [_finalize(assistant, task, stopped) for task in tasks]


def _finalize(assistant: Assistant, task: FinalTask, stopped: Callable[[], bool]) -> FinalResult:
    def failed(error: object) -> FinalResult:
        return FinalResult(metrics={}, num_examples={}, verified=None, error=f"the final evaluation failed: {error}")

    if stopped():
        return failed("stopped")
    assistant.begin(_finalize_there, task)
    while not assistant.wait(_POLL_S):
        if stopped():
            assistant.close()
            return failed("stopped")
    try:
        result: FinalResult = assistant.answer()
    except Exception as error:  # noqa: BLE001 - the search has ended well: its sweep tells what its end lacks
        return failed((str(error).strip() or type(error).__name__).splitlines()[-1])
    return result


def _import(modules: Sequence[str], progress: Progress) -> None:
    for module in modules:
        importlib.import_module(module)


def _finalize_there(task: FinalTask, progress: Progress) -> FinalResult:
    return finalize(task)


def main(descriptor: int) -> None:
    """Does what it is asked, until the driver is gone."""
    # Should the driver be killed, nothing may be left that still writes.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A terminal sends these to all its processes: the driver decides what becomes of this one.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, task = connection.recv()
            answer: Any
            try:
                answer = function(task, lambda what, done, total: connection.send(_Progress(what, done, total)))
            except Exception as error:  # noqa: BLE001 - raised again in the driver
                answer = _Raised(_travelling(error), traceback.format_exc())
            connection.send(answer)


def _travelling(error: Exception) -> Exception:
    """The error, if it can be pickled there and back; else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever a user's class does there
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    # Under its real name: what is pickled here must be found there.
    from sweep_runner.execution.evaluation import assistant

    assistant.main(int(sys.argv[1]))
