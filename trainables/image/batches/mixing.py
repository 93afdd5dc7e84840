"""Mixup and cutmix: training images mixed in pairs, their targets in the same shares.

As with augmentation, what is mixed with what is drawn on the CPU, and mixing is the same work of the device whatever
was drawn.
"""

from __future__ import annotations

import numpy as np
import torch

from trainables.image.batches.augment_steps import Size, draw_rectangles, rectangles
from trainables.image.config import ImageConfig


class Mixing:
    """The mixing of one epoch's batches; its draws depend on seed and epoch alone.

    Each image gets a partner from its batch and a share of it of its own, drawn from Beta(alpha, alpha). With both
    kinds, half of the images (by chance) are blended and half get a rectangle of their partner.

    Source: Zhang et al. 2018 (mixup), Yun et al. 2019 (cutmix).
    """

    def __init__(self, config: ImageConfig, num_classes: int, seed: int, epoch: int) -> None:
        self._mixup, self._cutmix = config.mixup, config.cutmix
        self._num_classes = num_classes
        self._random = np.random.default_rng([seed, epoch, 3])
        self._places = torch.Generator().manual_seed(int(self._random.integers(2**62)))

    def __call__(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws for the next batch, and mixes it: see `make`."""
        drawn = self.draw(len(images), (images.shape[2], images.shape[3]))
        return self.make(images, targets, drawn.to(images.device))

    def draw(self, num: int, size: Size) -> torch.Tensor:
        """What the images of the next batch are mixed with: partner, its share, whether a rectangle, and which; (N, 7).

        On the CPU, float32: whole numbers and yes or no are exact in it.
        """
        partner = torch.from_numpy(self._random.permutation(num))
        pasted = torch.from_numpy(self._random.random(num) < (0.5 if self._mixup else 1.0)) & bool(self._cutmix)
        alpha = np.where(pasted.numpy(), self._cutmix, self._mixup)
        share = torch.from_numpy(self._random.beta(alpha, alpha)).float()
        side = torch.where(pasted, share.sqrt(), 0.0)
        places = draw_rectangles(self._places, size, side, side)
        # What the partner really contributes: a rectangle has whole pixels.
        share = torch.where(pasted, places[:, 1] * places[:, 3] / (size[0] * size[1]), share)
        return torch.cat((torch.stack((partner, share, pasted), dim=1).float(), places), dim=1)

    def make(
        self, images: torch.Tensor, targets: torch.Tensor, drawn: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes images (N, C, H, W) and targets (N,) or (N, classes) as was drawn, (N, 7), all on one device.

        Returns:
            Mixed images, and targets as shares (N, classes).
        """
        partner, share, pasted = drawn[:, 0].long(), drawn[:, 1], drawn[:, 2].view(-1, 1, 1, 1) > 0
        taken = rectangles(drawn[:, 3:], (images.shape[2], images.shape[3]))
        weight = torch.where(pasted, taken.float(), share.view(-1, 1, 1, 1))
        shares = one_hot(targets, self._num_classes) if targets.ndim == 1 else targets.float()
        mixed = torch.lerp(images, images[partner], weight)
        return mixed.contiguous(memory_format=torch.channels_last), torch.lerp(shares, shares[partner], share[:, None])


def make_mixing(config: ImageConfig, num_classes: int, seed: int, epoch: int) -> Mixing | None:
    """The mixing of one epoch's batches, None when there is none."""
    return Mixing(config, num_classes, seed, epoch) if config.mixup or config.cutmix else None


def one_hot(targets: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Class numbers (N,) as shares (N, classes). Unlike PyTorch's, reads nothing to check it."""
    return (targets[:, None] == torch.arange(num_classes, device=targets.device)).float()
