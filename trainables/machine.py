"""This machine in words: a measured time means nothing without it."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import psutil

from trainables.cpus import num_cpus

_BUSY = 0.25
"""Of the CPUs: with more than this at work for others, what is measured is too slow."""
_LOOK_S = 0.3
LOADED = ", under other load"
"""Behind the name of a machine."""


def cpu_name(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # no Linux
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown processor"


def machine_name(*, loaded: bool = False) -> str:
    """The processor, and how many CPUs of it this process may use.

    Args:
        loaded: whether other work had them at the same time, which whoever reads a time should know.
    """
    count = num_cpus()
    return f"{cpu_name()}, {count} CPU{'s' if count > 1 else ''}{LOADED if loaded else ''}"


class OtherWork:
    """How much of the CPUs others have had since it was made."""

    def __init__(self) -> None:
        self._began = self._now()

    @property
    def is_much(self) -> bool:
        """Whether what was measured meanwhile is too slow."""
        (busy, own, at), (busy_now, own_now, now) = self._began, self._now()
        available = (now - at) * (psutil.cpu_count() or 1)
        return available > 0 and (busy_now - busy) - (own_now - own) > _BUSY * available

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds of all CPUs at work, of this process's, and of the clock."""
        times = psutil.cpu_times()
        return sum(times) - times.idle - getattr(times, "iowait", 0.0), time.process_time(), time.monotonic()


def busy() -> str:
    """That other work slows down what is measured, in words; empty when the machine is idle. Looks for a moment."""
    # Not the load average, in which the training that has just ended still counts.
    share = psutil.cpu_percent(interval=_LOOK_S) / 100
    if share <= _BUSY:
        return ""
    return f"other work has {share:.0%} of this machine's CPUs: times may be too long"
