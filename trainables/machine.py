"""What this machine is, in words: measured times mean nothing without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from trainables.cpus import num_cpus

_BUSY = 0.5
"""Of the CPUs: with more than this at work already, what is measured is too slow."""


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
    """That other work slows down what is measured, in words; empty when the machine is idle, or does not tell."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return ""
    count = os.cpu_count() or 1
    if load <= _BUSY * count:
        return ""
    return f"the machine is busy (load {load:.1f} on {count} CPUs): times may be too long"
