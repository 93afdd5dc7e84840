"""Single augmentations of a batch of images, drawn for each image on its own.

A change is drawn and then made. What is drawn, a few numbers per example, comes from a generator on the CPU, so the
same seed gives the same images on every device. Making the change is work of the images' device, and the same work
whatever was drawn: nothing is read back, and a CUDA graph may hold it.

Images are `(N, C, H, W)`, uint8 or float in 0…255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from trainables.image.parallel.draws import Source, uniform, whole_numbers

Size = tuple[int, int]
"""Height and width in pixels."""
Draw = Callable[[Source, int, Size], torch.Tensor]
"""For N images of a size → what is drawn for them, (N, k), on the CPU."""
Make = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Images and what was drawn for them, on their device → the images, changed."""

_ASPECTS = (3 / 4, 4 / 3)
"""Of a random crop's sides, in proportion to the image's: torchvision's `RandomResizedCrop`."""
_ERASED_AREAS = (0.02, 0.33)
_ERASED_ASPECTS = (0.3, 3.3)
"""Of what is erased: Zhong et al. 2020, "Random Erasing Data Augmentation"."""


@dataclass(frozen=True)
class Step:
    """One change.

    Attributes:
        width: k, how many numbers are drawn per image.
        draw: draws them, float32: whole numbers and yes or no are exact in it.
        make: makes the change.
        by_value: `make` does different work by what was drawn, and wants it on the CPU: no CUDA graph may hold it.
    """

    width: int
    draw: Draw
    make: Make
    by_value: bool = False

    def __call__(self, images: torch.Tensor, source: Source) -> torch.Tensor:
        """Draws the change, and makes it."""
        drawn = self.draw(source, len(images), (images.shape[2], images.shape[3]))
        return self.make(images, drawn if self.by_value else drawn.to(images.device))


def mirror_and_shift(fraction: float) -> Step:
    """Mirrors half of the images left to right, and shifts all by up to a fraction of their size.

    What a shift uncovers is filled with the nearest pixel.
    """

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        mirrored = uniform(source, num) < 0.5
        reaches = (int(side * fraction) for side in size)
        shifts = [whole_numbers(source, -reach, reach + 1, num) for reach in reaches]
        return torch.stack((mirrored, *shifts), dim=1).float()

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        num, _, height, width = images.shape
        mirrored, down, right = (column[:, None] for column in drawn.long().unbind(1))
        rows, columns = (_shifted(size, by) for size, by in ((height, down), (width, right)))
        columns = torch.where(mirrored > 0, width - 1 - columns, columns)
        # One gather does both; channels last, so that the pixels of all channels move together.
        picture = torch.arange(num, device=images.device)[:, None, None]
        where = (picture, rows[:, :, None], columns[:, None, :])
        return images.permute(0, 2, 3, 1)[where].permute(0, 3, 1, 2)

    return Step(3, draw, make)


def flip(left_right: float, top_bottom: float) -> Step:
    """Mirrors images left to right, and top to bottom, each with its probability."""
    wanted = [(probability, side) for probability, side in ((left_right, 3), (top_bottom, 2)) if probability]

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        return torch.stack([_whether(probability, source, num) for probability, _ in wanted], dim=1)

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        for (_, side), column in zip(wanted, drawn.unbind(1), strict=True):
            images = torch.where(_each(column) > 0, images.flip(side), images)
        return images

    return Step(len(wanted), draw, make)


def crop_and_rotate(smallest: float, degrees: float) -> Step:
    """Takes a random part of each image, turned by a random angle, and resizes it to the whole; returns float.

    What a rotation uncovers is filled with the nearest pixel.

    Args:
        smallest: share of the area that a part has at least; 1: all of it, and no change of proportions.
        degrees: the largest angle, either way.
    """

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        """Where each pixel comes from, with the image's sides from -1 to 1: scaled, turned, and moved within it."""
        area, stretch, right, down, turn = uniform(source, 5, num, axis=1, dtype=torch.float64)
        if smallest < 1.0:
            side = (smallest + (1.0 - smallest) * area).sqrt()
            aspect = torch.exp(math.log(_ASPECTS[0]) + (math.log(_ASPECTS[1]) - math.log(_ASPECTS[0])) * stretch).sqrt()
        else:
            side = aspect = torch.ones(num, dtype=torch.float64)
        across, along = (side * aspect).clamp(max=1.0), (side / aspect).clamp(max=1.0)
        angle = math.radians(degrees) * (2.0 * turn - 1.0)
        cos, sin = angle.cos(), angle.sin()
        proportion = size[0] / size[1]
        first = (across * cos, -along * sin * proportion, (1.0 - across) * (2.0 * right - 1.0))
        second = (across * sin / proportion, along * cos, (1.0 - along) * (2.0 * down - 1.0))
        return torch.stack((*first, *second), dim=1).float()

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        grid = F.affine_grid(drawn.reshape(-1, 2, 3), list(images.shape), align_corners=False)
        turned = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return turned.clamp_(0.0, 255.0)  # weights of neighbours add up to 1 but for rounding

    return Step(6, draw, make)


def jitter_color(amount: float) -> Step:
    """Multiplies brightness, contrast and saturation by factors in 1 ± amount; returns float in 0…255."""

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        return (1.0 + amount * (2.0 * uniform(source, 3, num, axis=1) - 1.0)).T

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        brightness, contrast, saturation = (_each(column) for column in drawn.unbind(1))
        pictures = images.float() * brightness
        mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
        pictures = torch.lerp(mean, pictures, contrast)
        if images.shape[1] > 1:
            pictures = torch.lerp(pictures.mean(dim=1, keepdim=True), pictures, saturation)
        return pictures.clamp_(0.0, 255.0)

    return Step(3, draw, make)


def invert(probability: float) -> Step:
    """Turns dark into bright and each colour into its opposite, with this probability."""

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        return _whether(probability, source, num)[:, None]

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        return torch.where(_each(drawn[:, 0]) > 0, 255 - images, images)

    return Step(1, draw, make)


def erase(probability: float) -> Step:
    """Fills a random rectangle with the image's mean colour, with this probability."""

    def draw(source: Source, num: int, size: Size) -> torch.Tensor:
        area, stretch = uniform(source, 2, num, axis=1)
        area = _ERASED_AREAS[0] + (_ERASED_AREAS[1] - _ERASED_AREAS[0]) * area
        low, high = (math.log(aspect) for aspect in _ERASED_ASPECTS)
        aspect = torch.exp(low + (high - low) * stretch)
        places = draw_rectangles(source, size, (area * aspect).sqrt(), (area / aspect).sqrt())
        return torch.cat((places, _whether(probability, source, num)[:, None]), dim=1)

    def make(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        inside = rectangles(drawn[:, :4], (images.shape[2], images.shape[3])) & (_each(drawn[:, 4]) > 0)
        mean = images.float().mean(dim=(2, 3), keepdim=True).to(images.dtype)
        return torch.where(inside, mean, images)

    return Step(5, draw, make)


def draw_rectangles(source: Source, size: Size, tall: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
    """Rectangles at random places that lie wholly inside: first row, rows, first column, columns; (N, 4).

    Args:
        source: draws the places.
        size: of the images.
        tall: heights as fractions of the image's, (N,).
        wide: likewise widths.
    """
    drawn = []
    for length, fraction in zip(size, (tall, wide), strict=True):
        extent = (fraction * length).round().clamp(0, length)
        first = (uniform(source, len(fraction)) * (length - extent + 1)).floor().clamp(max=length - extent)
        drawn += [first, extent]
    return torch.stack(drawn, dim=1)


def rectangles(places: torch.Tensor, size: Size) -> torch.Tensor:
    """Which pixels lie in the rectangles of `draw_rectangles`, (N, 1, H, W)."""
    masks = []
    for length, (first, extent) in zip(size, (places[:, :2].unbind(1), places[:, 2:].unbind(1)), strict=True):
        position = torch.arange(length, device=places.device)
        masks.append((position >= first[:, None]) & (position < (first + extent)[:, None]))
    return (masks[0][:, :, None] & masks[1][:, None, :])[:, None]


def _whether(probability: float, source: Source, num: int) -> torch.Tensor:
    """Which images are changed, (N,)."""
    return (uniform(source, num) < probability).float()


def _each(drawn: torch.Tensor) -> torch.Tensor:
    """One number per image, (N, 1, 1, 1)."""
    return drawn.view(-1, 1, 1, 1)


def _shifted(size: int, by: torch.Tensor) -> torch.Tensor:
    """Source positions along one side, (N, size), each row shifted by its own amount, (N, 1)."""
    return (torch.arange(size, device=by.device) + by).clamp_(0, size - 1)
