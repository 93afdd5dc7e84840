"""The exponential moving average of a net's weights, which is judged, kept and exported in their place."""

from __future__ import annotations

from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn


class MovingAverage:
    """A model whose weights follow another's; its decay grows to `decay` as in timm.

    Attributes:
        module: the model.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """Args:
        net: that is trained; not yet wrapped by Accelerate: a copy of the wrapped one would compute with the
            original's weights.
        decay: at most.
        """
        self._ema = ModelEmaV3(net, decay=decay, use_warmup=True)
        self.module: nn.Module = self._ema.module
        self._step = 0
        self._weight: torch.Tensor | None = None

    def keep_on_device(self, device: torch.device) -> None:
        """Keeps how much a step counts on a device, as a graph wants."""
        self._weight = torch.zeros((), device=device)

    def at(self, step: int) -> None:
        """Says which step is next, from 1: how much it counts follows from that."""
        self._step = step
        if self._weight is not None:
            self._weight.fill_(1.0 - self._ema.get_decay(step))

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Follows the net by one step."""
        if self._weight is None:
            self._ema.update(net, self._step)
            return
        own, others = [], []
        for here, there in zip(self.module.state_dict().values(), net.state_dict().values(), strict=True):
            if here.is_floating_point():
                own.append(here)
                others.append(there)
            else:
                here.copy_(there)
        foreach: Any = torch  # its functions on lists of tensors have no types
        apart = foreach._foreach_sub(others, own)
        foreach._foreach_mul_(apart, self._weight)
        foreach._foreach_add_(own, apart)
