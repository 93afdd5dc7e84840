"""This machine in words: a measured time means nothing without it."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

from trainables.cpus import num_cpus

_BUSY = 0.25
"""Of the CPUs: with more than this at work for others, what is measured is too slow."""
_LOOK_S = 0.3


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


def machine_name() -> str:
    """The processor, and how many CPUs of it this process may use."""
    count = num_cpus()
    return f"{cpu_name()}, {count} CPU{'s' if count > 1 else ''}"


def busy() -> str:
    """That other work slows down what is measured, in words; empty when the machine is idle. Looks for a moment."""
    # Not the load average, in which the training that has just ended still counts.
    share = psutil.cpu_percent(interval=_LOOK_S) / 100
    if share <= _BUSY:
        return ""
    return f"other work has {share:.0%} of this machine's CPUs: times may be too long"
