"""Random augmentation of training batches on the device, drawn for each image on its own.

Every step takes `(N, C, H, W)`, uint8 or float in 0…255, and returns one of the two. All draws come from one
generator on the CPU, so the same seed gives the same images on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from trainables.image.batches.augment_policies import randaugment, trivialaugment
from trainables.image.batches.augment_steps import (
    Size,
    Step,
    crop_and_rotate,
    erase,
    flip,
    invert,
    jitter_color,
    mirror_and_shift,
)
from trainables.image.batches.feed import Change
from trainables.image.config import ImageConfig
from trainables.image.parallel.draws import Draws, Part, Source

_SHIFT_FRACTION = 0.1
_JITTER = 0.2


class Augmentation:
    """Several changes, one after another.

    Attributes:
        by_value: its work differs by what was drawn: see `Step`.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self.by_value = any(step.by_value for step in steps)

    def __call__(self, images: torch.Tensor, source: Source) -> torch.Tensor:
        """Draws the changes, and makes them."""
        for step in self._steps:
            images = step(images, source)
        return images

    def draw(self, source: Source, num: int, size: Size) -> torch.Tensor:
        """Draws what a call would draw for so many images of this size: (num, k), for `make`."""
        return torch.cat([step.draw(source, num, size) for step in self._steps], dim=1)

    def make(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Makes the changes that were drawn, (N, k), on the device of the images."""
        assert not self.by_value
        widths = [step.width for step in self._steps]
        for step, some in zip(self._steps, torch.split(drawn, widths, dim=1), strict=True):
            images = step.make(images, some)
        return images


def make_augmentation(config: ImageConfig) -> Augmentation | None:
    """The preset, then each switch that is on, in a fixed order; None when there is nothing to do.

    What changes places comes before what changes colours, and erasing is last, so that nothing fills the hole again.
    """
    if not config.augments:
        return None
    steps: list[Step] = []
    match config.augment:
        case "light":
            steps += light()
        case "randaugment":
            steps.append(mirror_and_shift(0.0))
            steps.append(randaugment(config.randaugment_operations, config.randaugment_magnitude / 30.0))
        case "trivialaugment":
            steps += [mirror_and_shift(0.0), trivialaugment()]
    if config.hflip or config.vflip:
        steps.append(flip(config.hflip, config.vflip))
    if config.crop_scale < 1.0 or config.rotation_degrees:
        steps.append(crop_and_rotate(config.crop_scale, config.rotation_degrees))
    if config.color_jitter:
        steps.append(jitter_color(config.color_jitter))
    if config.invert:
        steps.append(invert(config.invert))
    if config.random_erasing:
        steps.append(erase(config.random_erasing))
    return Augmentation(steps)


def with_generator(augmentation: Augmentation | None, generator: torch.Generator) -> Change | None:
    """The augmentation with its source of randomness filled in."""
    return None if augmentation is None else partial(_call, augmentation, generator)


def light() -> tuple[Step, ...]:
    """Mirrors half of the images, shifts all by up to a tenth, varies their brightness, contrast, saturation."""
    return mirror_and_shift(_SHIFT_FRACTION), jitter_color(_JITTER)


def _call(
    augmentation: Augmentation, generator: torch.Generator, images: torch.Tensor, part: Part | None = None
) -> torch.Tensor:
    return augmentation(images, generator if part is None else Draws(generator, part))
