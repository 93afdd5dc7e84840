"""Random augmentation of training batches on the device, drawn for each image on its own.

Every step takes `(N, C, H, W)`, uint8 or float in 0…255, and returns one of the two. All draws come from one
generator on the CPU, so the same seed gives the same images on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from trainables.image.batches.augment_policies import randaugment, trivialaugment
from trainables.image.batches.augment_steps import crop_and_rotate, erase, flip, invert, jitter_color, mirror_and_shift
from trainables.image.batches.feed import Change
from trainables.image.config import ImageConfig
from trainables.image.parallel.draws import Draws, Part, Source

Augmentation = Callable[[torch.Tensor, Source], torch.Tensor]

_SHIFT_FRACTION = 0.1
_JITTER = 0.2


def make_augmentation(config: ImageConfig) -> Augmentation | None:
    """The preset, then each switch that is on, in a fixed order; None when there is nothing to do.

    What changes places comes before what changes colours, and erasing is last, so that nothing fills the hole again.
    """
    steps: list[Augmentation] = []
    match config.augment:
        case "light":
            steps.append(light)
        case "randaugment":
            steps += [
                partial(mirror_and_shift, 0.0),
                partial(randaugment, config.randaugment_operations, config.randaugment_magnitude / 30.0),
            ]
        case "trivialaugment":
            steps += [partial(mirror_and_shift, 0.0), trivialaugment]
    if config.hflip or config.vflip:
        steps.append(partial(flip, config.hflip, config.vflip))
    if config.crop_scale < 1.0 or config.rotation_degrees:
        steps.append(partial(crop_and_rotate, config.crop_scale, config.rotation_degrees))
    if config.color_jitter:
        steps.append(partial(jitter_color, config.color_jitter))
    if config.invert:
        steps.append(partial(invert, config.invert))
    if config.random_erasing:
        steps.append(partial(erase, config.random_erasing))
    return partial(_in_turn, steps) if steps else None


def with_generator(augmentation: Augmentation | None, generator: torch.Generator) -> Change | None:
    """The augmentation with its source of randomness filled in."""
    return None if augmentation is None else partial(_call, augmentation, generator)


def light(images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Mirrors half of the images, shifts all by up to a tenth, varies their brightness, contrast, saturation."""
    return jitter_color(_JITTER, mirror_and_shift(_SHIFT_FRACTION, images, generator), generator)


def _in_turn(steps: list[Augmentation], images: torch.Tensor, generator: Source) -> torch.Tensor:
    for step in steps:
        images = step(images, generator)
    return images


def _call(
    augmentation: Augmentation, generator: torch.Generator, images: torch.Tensor, part: Part | None = None
) -> torch.Tensor:
    return augmentation(images, generator if part is None else Draws(generator, part))
