"""Random changes to training images: whole batches on the device, each example drawn for itself.

Every augmentation takes uint8 `(N, C, H, W)` and returns uint8, or float with the same range 0…255. All
draws come from one generator on the CPU, so the same seed gives the same images on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from trainables.image.config import Augment

Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Operation = Callable[[torch.Tensor], torch.Tensor]

_SHIFT_FRACTION = 0.1
_JITTER = 0.2
_NUM_OPERATIONS = 2
_MAGNITUDE = 9 / 30  # RandAugment's magnitude 9 of 30 (Cubuk et al. 2020, their choice for ImageNet)


def make_augmentation(kind: Augment) -> Augmentation | None:
    """The augmentation of that name, None for none."""
    return {"none": None, "light": light, "randaugment": randaugment}[kind]


def with_generator(augmentation: Augmentation | None, generator: torch.Generator) -> Operation | None:
    """The augmentation with its source of randomness filled in."""
    return None if augmentation is None else partial(_call, augmentation, generator)


def light(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors half of the images, shifts all by up to a tenth, varies their brightness, contrast, saturation."""
    return jitter_color(mirror_and_shift(images, _SHIFT_FRACTION, generator), _JITTER, generator)


def randaugment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors half of the images, then does to each two operations of RandAugment's fourteen."""
    images = mirror_and_shift(images, 0.0, generator).contiguous()
    for _ in range(_NUM_OPERATIONS):
        drawn = torch.randint(len(_OPERATIONS), (len(images),), generator=generator)
        # Magnitudes are all alike, so examples with the same draw are done as one batch.
        for number in sorted(set(drawn.tolist())):
            rows = (drawn == number).nonzero().squeeze(1).to(images.device)
            images[rows] = _OPERATIONS[number](images[rows])
    return images


def mirror_and_shift(images: torch.Tensor, fraction: float, generator: torch.Generator) -> torch.Tensor:
    """Mirrors half of the images left to right, and shifts all by up to a fraction of their size.

    What a shift uncovers is filled with the nearest pixel.
    """
    num, _, height, width = images.shape
    mirrored = torch.rand(num, generator=generator) < 0.5
    rows = _shifted(num, height, fraction, generator)
    columns = _shifted(num, width, fraction, generator)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    # One gather does both; channels last, so that the pixels of all channels move together.
    picture = torch.arange(num)[:, None, None]
    where = (part.to(images.device) for part in (picture, rows[:, :, None], columns[:, None, :]))
    return images.permute(0, 2, 3, 1)[tuple(where)].permute(0, 3, 1, 2)


def jitter_color(images: torch.Tensor, amount: float, generator: torch.Generator) -> torch.Tensor:
    """Multiplies brightness, contrast and saturation by factors in 1 ± amount; returns float in 0…255."""
    factors = 1.0 + amount * (2.0 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1.0)
    brightness, contrast, saturation = factors.to(images.device)
    pictures = images.float() * brightness
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    pictures = torch.lerp(mean, pictures, contrast)
    if images.shape[1] > 1:
        pictures = torch.lerp(pictures.mean(dim=1, keepdim=True), pictures, saturation)
    return pictures.clamp_(0.0, 255.0)


def _shifted(num: int, size: int, fraction: float, generator: torch.Generator) -> torch.Tensor:
    """Source positions along one side, (num, size), each row shifted by its own amount."""
    reach = int(size * fraction)
    shift = torch.randint(-reach, reach + 1, (num, 1), generator=generator)
    return (torch.arange(size) + shift).clamp_(0, size - 1)


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


def _call(augmentation: Augmentation, generator: torch.Generator, images: torch.Tensor) -> torch.Tensor:
    return augmentation(images, generator)


def _identity(images: torch.Tensor) -> torch.Tensor:
    return images


def _operations(magnitude: float) -> list[Operation]:
    """RandAugment's operations at one magnitude in 0…1, ranges as in torchvision's `RandAugment`.

    Operations with a sign are there once for each, those without twice: all are equally likely.
    """
    degrees = 30.0 * magnitude
    lean = 57.2958 * 0.3 * magnitude  # degrees of a shear of 0.3 (small angles)
    move = 150.0 / 331.0 * magnitude
    operations: list[Operation] = []
    for sign in (-1.0, 1.0):
        factor = 1.0 + sign * 0.9 * magnitude
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
            partial(F.posterize, bits=round(8 - 4 * magnitude)),
            partial(F.solarize, threshold=255.0 * (1.0 - magnitude)),
            F.autocontrast,
            F.equalize,
        ]
    return operations


_OPERATIONS = _operations(_MAGNITUDE)
