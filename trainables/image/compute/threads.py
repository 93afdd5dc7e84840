"""How many CPU threads PyTorch computes with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Lets PyTorch use this many CPU threads, and puts back what it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
