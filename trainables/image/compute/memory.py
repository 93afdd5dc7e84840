"""The most memory that a trial has used: on the GPU, or of the process on a CPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Starts measuring anew: a worker process runs one trial after another."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins at what is resident now
    except OSError:
        return  # elsewhere the peak is the process's since its start


def peak_memory_bytes(device: torch.device) -> int:
    """Bytes allocated on the GPU at most, or resident in the process at most."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        # macOS counts in bytes, everybody else in KiB.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
