"""Trains several models in turn: one is on the GPU, the others wait in the memory of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def off_the_gpu(net: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, a net and what its optimizer keeps are in the memory of the CPU; on a CPU this is nothing.

    Args:
        net: whose parameters the optimizer has.
        average: the same with averaged weights, if there is one.
        optimizer: its state follows; what it keeps on the CPU anyway (step counts) stays there.
    """
    device = next(net.parameters()).device
    if device.type == "cpu":
        yield
        return
    held = [
        (state, key)
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and value.device == device
    ]
    _move(net, average, held, torch.device("cpu"))
    yield
    _move(net, average, held, device)


def _move(
    net: nn.Module, average: nn.Module | None, held: list[tuple[dict[str, torch.Tensor], str]], device: torch.device
) -> None:
    net.to(device)
    if average is not None:
        average.to(device)
    for state, key in held:
        state[key] = state[key].to(device)
