"""The most memory that a trial has used; and which errors say that none is left."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

_OUT_OF_MEMORY = (
    "out of memory",  # CUDA error: out of memory; CUDA out of memory; HIP and MPS likewise; NCCL wraps it
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cublas_status_not_initialized",  # what cuBLAS says when there is no room for its handle
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "cudnn_status_internal_error_host_allocation_failed",
    "unable to find a valid cudnn algorithm",  # none whose workspace fits
    "unable to find an engine to execute this computation",
    "can't allocate memory",  # DefaultCPUAllocator
    "not enough memory",  # DefaultCPUAllocator on Windows
)


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, in any of the ways in which PyTorch and CUDA say it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch.AcceleratorError is a RuntimeError, too.
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)
