"""How much memory a command takes with all its processes: proportional set size, in which shared pages count once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

_EVERY_S = 0.5


@dataclass(frozen=True)
class Run:
    """What a command took.

    Attributes:
        seconds: of the wall clock, as a whole process.
        peak_bytes: the most that it and its descendants had at a time, proportional set size.
        mean_bytes: over its time.
    """

    seconds: float
    peak_bytes: int
    mean_bytes: float


def watched(command: Sequence[str], cwd: str) -> Run:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not done.wait(_EVERY_S):
            seen.append(tree_bytes(process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return Run(seconds, max(seen), sum(seen) / len(seen))


def tree_bytes(pid: int) -> int:
    """Proportional set size of a process and all its descendants, in bytes; 0 when it is gone."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(_bytes_of, processes))


def _bytes_of(process: psutil.Process) -> int:
    try:
        descriptor = os.open(f"/proc/{process.pid}/smaps_rollup", os.O_RDONLY)
        try:
            text = os.read(descriptor, 1 << 16).decode()
        finally:
            os.close(descriptor)
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)
