"""Encoded images to pixels: upright, 8 bits a channel, grey or RGB, whatever the file was.

How each kind of picture is read:

- The first frame of an animation, the first page of a TIFF.
- Turned upright by its EXIF orientation; boxes count in the upright picture.
- Transparent pictures are laid over white.
- 16-bit grey is scaled to 8 bits (0..65535 to 0..255). Pictures of 32-bit whole numbers or floats have no agreed white:
  their own smallest and largest values become 0 and 255.
- A picture becomes the square that a model wants as `trainables.image.pixels.fit` says. The exported model does the
  same, so that training and use see the same pixels.
"""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from trainables.errors import DataError
from trainables.image.datasets.base import Box, Mask
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.masks import on_background, selected
from trainables.image.pixels.squares import make_square

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb

# No EPS, PDF or the like: opening those runs other programs.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif mpo", "png apng", "gif bmp dib webp tif tiff", "ppm pgm pbm pnm", "avif avifs")
    for name in names.split()
)

_ORIENTATION = 0x0112  # of EXIF
_QUARTER_TURNS = range(5, 9)  # its values that exchange width and height

# What Pillow raises on damaged files, besides OSError: it checks little, and its parsers stumble in many ways.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# Pillow's warnings name no file; what cannot be used is told with its name instead.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImage(DataError):
    """A picture cannot be decoded.

    Attributes:
        name: the file, or the example.
        reason: what is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


def open_image(source: Path | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decodes a picture completely.

    Args:
        source: a file, or the encoded picture itself.
        name: what errors call it; by default the path.
        max_pixels: a picture with more is refused before it is decoded.

    Returns:
        An upright picture of mode `L` or `RGB`.

    Raises:
        UnreadableImage: missing, empty, truncated, damaged, too large, or no picture.
    """
    name = name or (str(source) if isinstance(source, Path) else "picture")
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise UnreadableImage(name, error.strerror or str(error)) from error
    if not content:
        raise UnreadableImage(name, "the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                raise UnreadableImage(
                    name,
                    f"{image.width}×{image.height} pixels are more than data.max_pixels: {max_pixels:,}",
                )
            image.load()
            return _eight_bits(_upright(image))
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, "not a picture of a known format") from error
    except _DAMAGED as error:
        raise UnreadableImage(name, str(error) or type(error).__name__) from error


@dataclass(frozen=True)
class Header:
    """What a picture's header says of its size.

    Attributes:
        stored: width and height as the pixels are stored.
        orientation: EXIF's, 1 (upright) to 8.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def is_turned(self) -> bool:
        """Whether width and height change places when it is turned upright."""
        return self.orientation in _QUARTER_TURNS

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the picture as it is seen."""
        width, height = self.stored
        return (height, width) if self.is_turned else (width, height)


def header_of(path: Path) -> Header | None:
    """The header of a picture; None when it has no readable one."""
    try:
        with Image.open(path, formats=_formats()) as image:
            orientation = image.getexif().get(_ORIENTATION)
            return Header(image.size, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1)
    except _DAMAGED:
        return None


def upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, turned upright, by its header; None when it has no readable one."""
    header = header_of(path)
    return None if header is None else header.upright


def to_pixels(
    image: Image.Image,
    *,
    box: Box | None = None,
    mask: Mask | None = None,
    resolution: int | None = None,
    channels: int = 3,
    fit: Fit = SQUASH,
) -> npt.NDArray[np.uint8]:
    """A picture (or the part of it in `box`), made a square.

    Args:
        image: as `open_image` returns it.
        box: left, top, right, bottom; clipped to the picture.
        mask: what of that belongs to the example; the rest is painted over, before anything is resized.
        resolution: the side of the square; None: the size stays.
        channels: 3 for RGB, 1 for grey.
        fit: how it becomes a square.

    Returns:
        (H, W, C) uint8.

    Raises:
        ValueError: the box lies outside the picture, or the mask does not belong to it.
    """
    assert channels in (1, 3), channels
    size = image.size
    clipped = None if box is None else inside(box, *size)
    if clipped is not None:
        image = image.crop(clipped)
    mode = "RGB" if channels == 3 else "L"
    if image.mode != mode:
        image = image.convert(mode)
    if mask is not None:
        image = on_background(image, selected(mask, size, clipped), mask.background)
    if resolution is not None:
        image = make_square(image, resolution, fit)
    pixels = np.asarray(image)
    return pixels if channels == 3 else pixels[:, :, np.newaxis]


def inside(box: Box, width: int, height: int) -> Box:
    """The part of a box that is inside the picture.

    Raises:
        ValueError: nothing of it is.
    """
    left, top, right, bottom = box
    clipped = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise ValueError(f"the box {list(box)} lies outside the picture of {width}×{height}")
    return clipped


def decode(
    source: Path | bytes,
    *,
    box: Box | None = None,
    mask: Mask | None = None,
    resolution: int | None = None,
    channels: int = 3,
    fit: Fit = SQUASH,
    max_pixels: int = MAX_PIXELS,
    name: str = "",
) -> npt.NDArray[np.uint8]:
    """`open_image`, then `to_pixels`: (H, W, C) uint8.

    Raises:
        UnreadableImage: it cannot be decoded, the box lies outside, or the mask does not belong to it.
    """
    image = open_image(source, name=name, max_pixels=max_pixels)
    try:
        return to_pixels(image, box=box, mask=mask, resolution=resolution, channels=channels, fit=fit)
    except ValueError as error:
        raise UnreadableImage(name or str(source if isinstance(source, Path) else "picture"), str(error)) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow can read."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    # The pixels are good; where only the EXIF block is damaged, the picture is as upright as one can know.
    with contextlib.suppress(*_DAMAGED):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_scaled(np.asarray(image), sixteen_bits=image.mode.startswith("I;16")))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _scaled(values: npt.NDArray[np.generic], *, sixteen_bits: bool) -> npt.NDArray[np.uint8]:
    numbers = values.astype(np.float64)
    if sixteen_bits:
        return np.rint(numbers * (255 / 65535)).astype(np.uint8)
    finite = np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 65535 and high > 255 and np.issubdtype(values.dtype, np.integer):
        low, high = 0.0, 65535.0  # 16-bit grey that the file keeps in 32 bits
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((finite - low) * scale).astype(np.uint8)
