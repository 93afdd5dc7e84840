"""Generalised-mean pooling (Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval", 2018), which timm lacks."""

from __future__ import annotations

import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn

START = 3.0
"""The exponent that training starts from: the paper's. 1 is the mean; without end it is the maximum."""


class GeM(nn.Module):
    """`(N, C, H, W)` → `(N, C, 1, 1)`: the p-th root of the mean of the p-th powers; p is trained."""

    def __init__(self, eps: float = 1e-6) -> None:
        """Args:
        eps: the least that an activation counts as; powers of negative ones would be no numbers.
        """
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), START))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # In half precision the powers would leave the range.
        powers = x.float().clamp(min=self.eps).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1.0 / self.p)


def use_gem(model: nn.Module) -> None:
    """Puts GeM in the place of a model's average pooling.

    Raises:
        ValueError: the model does not pool a feature map `(N, C, H, W)` in one place.
    """
    places = [
        module
        for module in model.modules()
        if isinstance(module, SelectAdaptivePool2d) and isinstance(module.pool, nn.AdaptiveAvgPool2d)
    ]
    if len(places) != 1:
        raise ValueError("gem pools a feature map in place of the average, and this model has no such place")
    places[0].pool = GeM()
    places[0].pool_type = "gem"
