"""RandAugment and TrivialAugment for batches: torchvision's operations, drawn for each image on its own.

Images are uint8 `(N, C, H, W)`. Examples with the same operation at the same strength are done as one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from trainables.image.batches.augment_steps import Size, Step
from trainables.image.parallel.draws import Source, whole_numbers

Operation = Callable[[torch.Tensor], torch.Tensor]

_NUM_STRENGTHS = 31


def randaugment(num_operations: int, magnitude: float) -> Step:
    """Does several of fourteen operations to each image (Cubuk et al. 2020), ranges as torchvision's `RandAugment`.

    Args:
        num_operations: of each image.
        magnitude: of all of them, in 0…1.
    """
    operations = _randaugment_operations(magnitude)

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        drawn = [whole_numbers(source, 0, len(operations), num) for _ in range(num_operations)]
        return torch.stack(drawn, dim=1).float()

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        for column in drawn.unbind(1):
            images = _apply(operations, column, images)
        return images

    return Step(num_operations, draw, make, by_value=True)


def trivialaugment() -> Step:
    """Does one operation of random strength to each image (Müller and Hutter 2021).

    Ranges as in torchvision's `TrivialAugmentWide`.
    """
    # All strengths' operations in a row, equally many for each.
    operations = _trivialaugment_operations()
    per_strength = len(operations) // _NUM_STRENGTHS

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        strength = whole_numbers(source, 0, _NUM_STRENGTHS, num)
        return (strength * per_strength + whole_numbers(source, 0, per_strength, num)).float()[:, None]

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        return _apply(operations, drawn[:, 0], images)

    return Step(1, draw, make, by_value=True)


def _apply(operations: tuple[Operation, ...], drawn: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Does to each image the operation of the number drawn for it, (N,), on the CPU: which are done differs by it."""
    changed = images.contiguous().clone()
    for number in sorted(set(drawn.long().tolist())):
        rows = (drawn == number).nonzero().squeeze(1).to(images.device)
        changed[rows] = operations[number](changed[rows])
    return changed


@lru_cache
def _randaugment_operations(magnitude: float) -> tuple[Operation, ...]:
    return _operations(
        shear=0.3 * magnitude,
        move=150.0 / 331.0 * magnitude,
        degrees=30.0 * magnitude,
        color=0.9 * magnitude,
        bits=round(8 - 4 * magnitude),
        solarize=255.0 * (1.0 - magnitude),
    )


@lru_cache
def _trivialaugment_operations() -> tuple[Operation, ...]:
    found: list[Operation] = []
    for number in range(_NUM_STRENGTHS):
        strength = number / (_NUM_STRENGTHS - 1)
        found += _operations(
            shear=0.99 * strength,
            move=32.0 / 224.0 * strength,  # 32 pixels of the 224 that the method was made for
            degrees=135.0 * strength,
            color=0.99 * strength,
            bits=8 - round(6 * strength),
            solarize=255.0 * (1.0 - strength),
        )
    return tuple(found)


def _operations(
    shear: float, move: float, degrees: float, color: float, bits: int, solarize: float
) -> tuple[Operation, ...]:
    """The fourteen operations of both methods at one strength.

    Operations with a sign are there once for each, those without twice: all are equally likely.
    """
    lean = math.degrees(math.atan(shear))
    operations: list[Operation] = []
    for sign in (-1.0, 1.0):
        factor = 1.0 + sign * color
        operations += [
            _identity,
            partial(_affine, shear=(sign * lean, 0.0)),
            partial(_affine, shear=(0.0, sign * lean)),
            partial(_affine, move=(sign * move, 0.0)),
            partial(_affine, move=(0.0, sign * move)),
            partial(_affine, angle=sign * degrees),
            partial(F.adjust_brightness, brightness_factor=factor),
            partial(F.adjust_saturation, saturation_factor=factor),
            partial(F.adjust_contrast, contrast_factor=factor),
            partial(F.adjust_sharpness, sharpness_factor=factor),
            partial(F.posterize, bits=bits),
            partial(F.solarize, threshold=solarize),
            F.autocontrast,
            F.equalize,
        ]
    return tuple(operations)


def _affine(
    images: torch.Tensor,
    *,
    angle: float = 0.0,
    move: tuple[float, float] = (0.0, 0.0),
    shear: tuple[float, float] = (0.0, 0.0),
) -> torch.Tensor:
    height, width = images.shape[-2:]
    moved: torch.Tensor = F.affine(
        images,
        angle=angle,
        translate=[round(move[0] * width), round(move[1] * height)],
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.BILINEAR,
        center=[0, 0] if any(shear) else None,
    )
    return moved


def _identity(images: torch.Tensor) -> torch.Tensor:
    return images
