"""Single augmentations of a batch of images, drawn for each image on its own.

Images are `(N, C, H, W)`, uint8 or float in 0…255. Draws come from a generator on the CPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from trainables.image.parallel.draws import Source, uniform, whole_numbers

_ASPECTS = (3 / 4, 4 / 3)
"""Of a random crop's sides, in proportion to the image's: torchvision's `RandomResizedCrop`."""
_ERASED_AREAS = (0.02, 0.33)
_ERASED_ASPECTS = (0.3, 3.3)
"""Of what is erased: Zhong et al. 2020, "Random Erasing Data Augmentation"."""


def mirror_and_shift(fraction: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Mirrors half of the images left to right, and shifts all by up to a fraction of their size.

    What a shift uncovers is filled with the nearest pixel.
    """
    num, _, height, width = images.shape
    mirrored = uniform(generator, num) < 0.5
    rows = _shifted(num, height, fraction, generator)
    columns = _shifted(num, width, fraction, generator)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    # One gather does both; channels last, so that the pixels of all channels move together.
    picture = torch.arange(num)[:, None, None]
    where = (part.to(images.device) for part in (picture, rows[:, :, None], columns[:, None, :]))
    return images.permute(0, 2, 3, 1)[tuple(where)].permute(0, 3, 1, 2)


def flip(left_right: float, top_bottom: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Mirrors images left to right, and top to bottom, each with its probability."""
    for probability, side in ((left_right, 3), (top_bottom, 2)):
        if probability:
            drawn = _drawn(probability, images, generator)
            images = torch.where(drawn, images.flip(side), images)
    return images


def crop_and_rotate(smallest: float, degrees: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Takes a random part of each image, turned by a random angle, and resizes it to the whole; returns float.

    What a rotation uncovers is filled with the nearest pixel.

    Args:
        smallest: share of the area that a part has at least; 1: all of it, and no change of proportions.
        degrees: the largest angle, either way.
    """
    num, _, height, width = images.shape
    area, stretch, right, down, turn = uniform(generator, 5, num, axis=1, dtype=torch.float64)
    if smallest < 1.0:
        side = (smallest + (1.0 - smallest) * area).sqrt()
        aspect = torch.exp(math.log(_ASPECTS[0]) + (math.log(_ASPECTS[1]) - math.log(_ASPECTS[0])) * stretch).sqrt()
    else:
        side = aspect = torch.ones(num, dtype=torch.float64)
    across, along = (side * aspect).clamp(max=1.0), (side / aspect).clamp(max=1.0)
    angle = math.radians(degrees) * (2.0 * turn - 1.0)
    cos, sin = angle.cos(), angle.sin()
    # Where each pixel comes from, with the image's sides from -1 to 1: scaled, turned, and moved within the image.
    proportion = height / width
    theta = torch.stack(
        (
            torch.stack((across * cos, -along * sin * proportion, (1.0 - across) * (2.0 * right - 1.0)), dim=1),
            torch.stack((across * sin / proportion, along * cos, (1.0 - along) * (2.0 * down - 1.0)), dim=1),
        ),
        dim=1,
    )
    grid = F.affine_grid(theta.float().to(images.device), list(images.shape), align_corners=False)
    turned = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.clamp_(0.0, 255.0)  # weights of neighbours add up to 1 but for rounding


def jitter_color(amount: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Multiplies brightness, contrast and saturation by factors in 1 ± amount; returns float in 0…255."""
    factors = 1.0 + amount * (2.0 * uniform(generator, 3, len(images), 1, 1, 1, axis=1) - 1.0)
    brightness, contrast, saturation = factors.to(images.device)
    pictures = images.float() * brightness
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    pictures = torch.lerp(mean, pictures, contrast)
    if images.shape[1] > 1:
        pictures = torch.lerp(pictures.mean(dim=1, keepdim=True), pictures, saturation)
    return pictures.clamp_(0.0, 255.0)


def invert(probability: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Turns dark into bright and each colour into its opposite, with this probability."""
    return torch.where(_drawn(probability, images, generator), 255 - images, images)


def erase(probability: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Fills a random rectangle with the image's mean colour, with this probability."""
    num, _, height, width = images.shape
    area, stretch = uniform(generator, 2, num, axis=1)
    area = _ERASED_AREAS[0] + (_ERASED_AREAS[1] - _ERASED_AREAS[0]) * area
    low, high = (math.log(aspect) for aspect in _ERASED_ASPECTS)
    aspect = torch.exp(low + (high - low) * stretch)
    inside = rectangles(num, (height, width), (area * aspect).sqrt(), (area / aspect).sqrt(), generator)
    inside = inside.to(images.device) & _drawn(probability, images, generator)
    mean = images.float().mean(dim=(2, 3), keepdim=True).to(images.dtype)
    return torch.where(inside, mean, images)


def rectangles(
    num: int, size: tuple[int, int], tall: torch.Tensor, wide: torch.Tensor, generator: Source
) -> torch.Tensor:
    """Rectangles at random places that lie wholly inside, as masks (N, 1, H, W).

    Args:
        num: N.
        size: height and width in pixels.
        tall: heights as fractions of the image's, (N,).
        wide: likewise widths.
        generator: draws the places.
    """
    masks = []
    for length, fraction in zip(size, (tall, wide), strict=True):
        extent = (fraction * length).round().clamp(0, length)
        first = (uniform(generator, num) * (length - extent + 1)).floor().clamp(max=length - extent)
        position = torch.arange(length)
        masks.append((position >= first[:, None]) & (position < (first + extent)[:, None]))
    return (masks[0][:, :, None] & masks[1][:, None, :])[:, None]


def _drawn(probability: float, images: torch.Tensor, generator: Source) -> torch.Tensor:
    """Which images are changed, (N, 1, 1, 1), on the images' device."""
    return (uniform(generator, len(images)) < probability).view(-1, 1, 1, 1).to(images.device)


def _shifted(num: int, size: int, fraction: float, generator: Source) -> torch.Tensor:
    """Source positions along one side, (num, size), each row shifted by its own amount."""
    reach = int(size * fraction)
    shift = whole_numbers(generator, -reach, reach + 1, num)[:, None]
    return (torch.arange(size) + shift).clamp_(0, size - 1)
