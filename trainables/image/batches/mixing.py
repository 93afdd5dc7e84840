"""Mixup and cutmix: training images mixed in pairs, their targets in the same shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from trainables.image.batches.augment_steps import rectangles
from trainables.image.config import ImageConfig

Mixing = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Images (N, C, H, W) and targets (N,) or (N, classes) → mixed images, and targets as shares (N, classes)."""


def make_mixing(config: ImageConfig, num_classes: int, seed: int, epoch: int) -> Mixing | None:
    """The mixing of one epoch's batches, None when there is none; its draws depend on seed and epoch alone.

    Each image gets a partner from its batch and a share of it of its own, drawn from Beta(alpha, alpha). With both
    kinds, half of the images (by chance) are blended and half get a rectangle of their partner.

    Source: Zhang et al. 2018 (mixup), Yun et al. 2019 (cutmix).
    """
    if not config.mixup and not config.cutmix:
        return None
    random = np.random.default_rng([seed, epoch, 3])
    places = torch.Generator().manual_seed(int(random.integers(2**62)))

    def mix(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        num, _, height, width = images.shape
        device = images.device
        partner = torch.from_numpy(random.permutation(num)).to(device)
        pasted = torch.from_numpy(random.random(num) < (0.5 if config.mixup else 1.0)) & bool(config.cutmix)
        alpha = np.where(pasted.numpy(), config.cutmix, config.mixup)
        share = torch.from_numpy(random.beta(alpha, alpha)).float()  # of the partner
        side = torch.where(pasted, share.sqrt(), 0.0)
        taken = rectangles(num, (height, width), side, side, places)
        # What the partner really contributes: a rectangle has whole pixels.
        share = torch.where(pasted, taken.float().mean(dim=(1, 2, 3)), share).to(device)
        weight = torch.where(pasted.to(device).view(-1, 1, 1, 1), taken.to(device).float(), share.view(-1, 1, 1, 1))
        shares = F.one_hot(targets, num_classes).float() if targets.ndim == 1 else targets.float()
        mixed = torch.lerp(images, images[partner], weight)
        return mixed.contiguous(memory_format=torch.channels_last), torch.lerp(shares, shares[partner], share[:, None])

    return mix
