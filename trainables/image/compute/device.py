"""The device that a trial computes on."""

from __future__ import annotations

import torch


def compute_device() -> torch.device:
    """The GPU that this process was given; the CPU without one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
