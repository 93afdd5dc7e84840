"""How much memory a command takes with all its processes: proportional set size, in which shared pages count once."""

from __future__ import annotations

import contextlib
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
        cpu_s: CPU time of them all, as far as it was seen: what a process took in its last half second is not.
    """

    seconds: float
    peak_bytes: int
    mean_bytes: float
    cpu_s: float


def watched(command: Sequence[str], cwd: str) -> Run:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = threading.Event()
    seen: list[int] = []
    cpu_s: dict[tuple[int, float], float] = {}

    def look() -> None:
        while not done.wait(_EVERY_S):
            processes = _tree(process.pid)
            seen.append(sum(map(_bytes_of, processes)))
            for each in processes:
                with contextlib.suppress(psutil.Error):
                    used = each.cpu_times()
                    cpu_s[each.pid, each.create_time()] = used.user + used.system

    watcher = threading.Thread(target=look)
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return Run(seconds, max(seen), sum(seen) / len(seen), sum(cpu_s.values()))


def tree_bytes(pid: int) -> int:
    """Proportional set size of a process and all its descendants, in bytes; 0 when it is gone."""
    return sum(map(_bytes_of, _tree(pid)))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


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
