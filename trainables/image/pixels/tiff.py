"""TIFF files that Pillow does not read as they are: several bands, more than 8 bits a colour."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from trainables.extras import install_command
from trainables.image.pixels.values import Values

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COLOURS, _SAMPLES, _SMALLEST, _LARGEST, _EXTRA = 258, 262, 277, 280, 281, 338
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ALPHA = (1, 2)

# Both say on stderr, without a file's name, what becomes an error with its name here.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class NoCodec(ValueError):
    """The file's compression needs another package."""


def is_tiff(content: bytes) -> bool:
    """By its first bytes."""
    return content.startswith(_STARTS)


def has_undeclared_alpha(image: Image.Image) -> bool:
    """Whether Pillow takes a fourth band (infrared, mostly) for transparency, though the file does not call it so."""
    return _tag(image, _COLOURS) == _RGB and image.mode == "RGBA" and not set(_extra(image)) & set(_ALPHA)


def needs_bands(image: Image.Image, bands: Sequence[int] | None) -> bool:
    """Whether a TIFF has more than Pillow gives: bands that were asked for, or bits of colours."""
    samples, bits = int(_tag(image, _SAMPLES) or 1), _tag(image, _BITS) or 8
    deep = bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    kind = _tag(image, _COLOURS)
    if kind in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and samples > 1:
        return not (samples == 2 and not deep and set(_extra(image)) & set(_ALPHA))
    if kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return False
    return (samples > 1 and deep) or bool(bands)


def declared_range(image: Image.Image) -> tuple[float, float] | None:
    """Black and white of a grey TIFF, where it says them."""
    smallest, largest = _tag(image, _SMALLEST), _tag(image, _LARGEST)
    if isinstance(smallest, int) and isinstance(largest, int) and smallest < largest and largest > 255:
        return float(smallest), float(largest)
    bits = _tag(image, _BITS)
    depth = max(bits) if isinstance(bits, tuple) else bits
    return (0.0, 2.0**depth - 1) if isinstance(depth, int) and 8 < depth < 16 else None


def is_inverted(image: Image.Image) -> bool:
    """Whether 0 is white."""
    return bool(_tag(image, _COLOURS) == _WHITE_IS_ZERO)


def read_bands(content: bytes, max_pixels: int) -> Values:
    """The first page of a TIFF with all its bands.

    Raises:
        NoCodec: its compression needs imagecodecs.
        ValueError: too large, or damaged.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        if page.imagewidth * page.imagelength > max_pixels:
            raise ValueError(
                f"{page.imagewidth}×{page.imagelength} pixels are more than data.max_pixels: {max_pixels:,}"
            )
        try:
            numbers = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise NoCodec(
                f"its compression ({getattr(page.compression, 'name', page.compression)}) needs imagecodecs: "
                f"{install_command('tiff')}"
            ) from error
        if numbers.ndim == 3 and page.planarconfig == 2:
            numbers = np.moveaxis(numbers, 0, 2)
        if numbers.ndim not in (2, 3):
            raise ValueError(f"its first page has {numbers.ndim} dimensions: an image has height, width and bands")
        remark = SEVERAL_PAGES if len(file.pages) > 1 else ""
        declared = (0.0, 255.0) if numbers.dtype == np.uint8 else None
        return Values(numbers, declared, page.photometric == _WHITE_IS_ZERO, page.photometric == _RGB, remark=remark)


SEVERAL_PAGES = "of several pages the first is used"


def _extra(image: Image.Image) -> tuple[int, ...]:
    extra = _tag(image, _EXTRA)
    return extra if isinstance(extra, tuple) else () if extra is None else (extra,)


def _tag(image: Image.Image, number: int) -> Any:
    return getattr(image, "tag_v2", {}).get(number)
