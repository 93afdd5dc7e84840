"""Measures single images: brightness, contrast, sharpness, proportions."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from trainables.contract import Progress
from trainables.errors import DataError
from trainables.image.index import ImageIndex
from trainables.image.pixels.decode import open_image, to_pixels
from trainables.image.pixels.fit import Fit
from trainables.image.pixels.pictures import Picture, pictures_of
from trainables.image.pixels.squares import make_square
from trainables.image.settings.pixel_rule import PixelRule

_BATCH = 64  # examples in memory at once
_LONGER = 256  # pixels; larger pictures are measured at this size, so that sharpness compares

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Traits:
    """Of N examples.

    Attributes:
        rows: of the index, (N,).
        width: in pixels, (N,); height, likewise.
        brightness: mean grey level, 0…255, (N,).
        contrast: standard deviation of the grey levels, (N,).
        sharpness: standard deviation of the Laplacian, as a fraction of the contrast, (N,).
    """

    rows: Rows
    width: Floats
    height: Floats
    brightness: Floats
    contrast: Floats
    sharpness: Floats

    @property
    def proportion(self) -> Floats:
        """The longer side as a multiple of the shorter one, (N,)."""
        return np.asarray(np.maximum(self.width, self.height) / np.minimum(self.width, self.height), np.float32)


@dataclass(frozen=True)
class Batch:
    """Examples that were read together; what cannot be read any more is left out.

    Attributes:
        rows: of the index, (B,).
        squares: as the net sees them, (B, side, side, 3).
        values: width, height, brightness, contrast, sharpness, (B, 5).
    """

    rows: Rows
    squares: npt.NDArray[np.uint8]
    values: Floats


def read_batches(
    index: ImageIndex, rows: Rows, side: int, fit: Fit, rule: PixelRule, num_threads: int, progress: Progress
) -> Iterator[Batch]:
    """Reads examples, some at a time.

    Args:
        index: of the data set.
        rows: of it.
        side: of the squares.
        fit: how examples become squares.
        rule: how files are read.
        num_threads: to decode with.
        progress: told of examples read.
    """
    with ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="look") as pool:
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            pictures = pictures_of(index.table.take(pa.array(some)))
            read = [each for found in pool.map(lambda one: _read(one, side, fit, rule), pictures) for each in found]
            if read:
                places, squares, values = zip(*sorted(read, key=lambda each: each[0]), strict=True)
                yield Batch(some[list(places)], np.stack(squares), np.array(values, dtype=np.float32))
            progress("looking at images", start + len(some), len(rows))


def as_traits(rows: Rows, values: Floats) -> Traits:
    """What the batches' rows and values are together."""
    return Traits(rows, *values.T)


def measure(image: Image.Image) -> tuple[float, ...]:
    """Width, height, brightness, contrast and sharpness of a picture."""
    size = image.size
    grey = image.convert("L")
    if max(size) > _LONGER:
        grey.thumbnail((_LONGER, _LONGER), Image.Resampling.BILINEAR)
    levels = np.asarray(grey, dtype=np.float32)
    contrast = float(levels.std())
    inner = levels[1:-1, 1:-1]
    if not inner.size or contrast == 0:
        return (*size, float(levels.mean()), contrast, 0.0)
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:] - 4 * inner
    return (*size, float(levels.mean()), contrast, float(laplacian.std()) / contrast)


def _read(
    picture: Picture, side: int, fit: Fit, rule: PixelRule
) -> list[tuple[int, npt.NDArray[np.uint8], tuple[float, ...]]]:
    found = []
    try:
        image = open_image(picture.read(), rule=rule, name=picture.name)
        for row, region in zip(picture.rows, picture.regions, strict=True):
            part = Image.fromarray(to_pixels(image, box=region.box, mask=region.mask))
            found.append((row, np.asarray(make_square(part, side, fit)), measure(part)))
    except (DataError, ValueError, OSError):
        return found  # changed since it was checked just now
    return found
