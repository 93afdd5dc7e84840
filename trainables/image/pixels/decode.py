"""Encoded images to pixels: upright, 8 bits a channel, grey or RGB, whatever the file was.

How each kind of picture is read:

- The first frame of an animation, the first page of a TIFF; that there were more is said.
- Turned upright by its EXIF orientation; boxes count in the upright picture.
- Transparent pictures are laid over white.
- More than 8 bits are scaled to 8: by `data.value_range`; by the range that the file says (DICOM's window, PGM's
  largest value, TIFF's bits); or by one range for all pictures of the data set that say none (`common_range`).
- Of more than three bands those are used that the file calls red, green and blue, or `data.bands` names; a band that
  the file does not call transparency is never taken for it.
- A picture becomes the square that a model wants as `trainables.image.pixels.fit` says. The exported model does the
  same, so that training and use see the same pixels.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
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
from trainables.image.example import Box, Mask
from trainables.image.pixels.dicom import SUFFIXES as DICOM_SUFFIXES
from trainables.image.pixels.dicom import is_dicom, read_dicom
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.masks import on_background, selected
from trainables.image.pixels.squares import make_square
from trainables.image.pixels.tiff import (
    SEVERAL_PAGES,
    NoCodec,
    declared_range,
    has_undeclared_alpha,
    is_inverted,
    is_tiff,
    needs_bands,
    read_bands,
)
from trainables.image.pixels.values import UPPER_BITS, Values, chosen_bands, eight_bits
from trainables.image.settings.pixel_rule import DEFAULT_RULE, SIXTEEN_BITS, PixelRule

# No EPS, PDF or the like: opening those runs other programs.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
_PLUGINS = ("Avif", "Tiff", "WebP")
"""Of Pillow, for those of the formats that its `preinit` leaves out."""
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
_READS_HEIF = importlib.util.find_spec("pillow_heif") is not None
SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif mpo", "png apng", "gif bmp dib webp tif tiff", "ppm pgm pbm pnm", "avif avifs")
    for name in names.split()
) | frozenset(DICOM_SUFFIXES)
"""Of the files that are taken for pictures; HEIC's are, where its plug-in is installed."""
if _READS_HEIF:
    SUFFIXES |= HEIF_SUFFIXES

ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow raises on damaged files, besides OSError: it checks little, and its parsers stumble in many ways.
DAMAGED = (
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


@dataclass(frozen=True)
class Opened:
    """A picture that was read.

    Attributes:
        image: upright, of mode `L` or `RGB`.
        limits: of a picture with more than 8 bits that does not say its range: its smallest and largest value, and
            whether they are whole numbers; else None.
        remark: what of the file was left out; empty: nothing.
    """

    image: Image.Image
    limits: tuple[float, float, bool] | None = None
    remark: str = ""


def open_image(source: Path | bytes, *, name: str = "", rule: PixelRule = DEFAULT_RULE) -> Image.Image:
    """`read_image`'s picture: upright, of mode `L` or `RGB`."""
    return read_image(source, name=name, rule=rule).image


def read_image(source: Path | bytes, *, name: str = "", rule: PixelRule = DEFAULT_RULE) -> Opened:
    """Decodes a picture completely.

    Args:
        source: a file, or the encoded picture itself.
        name: what errors call it; by default the path.
        rule: limits, bands, and what is black and white.

    Raises:
        UnreadableImage: missing, empty, truncated, damaged, too large, no picture, or one of which nobody says how it
            is to be read.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise UnreadableImage(name, error.strerror or str(error)) from error
    if not content:
        raise UnreadableImage(name, "the file is empty")
    try:
        if is_dicom(content):
            return _of_values(read_dicom(content, rule), rule)
        try:
            opened = Image.open(io.BytesIO(content), formats=formats())
        except UnidentifiedImageError:
            if is_tiff(content):
                return _of_values(read_bands(content, rule.max_pixels), rule)
            raise
        with opened as image:
            if image.width * image.height > rule.max_pixels:
                raise UnreadableImage(
                    name,
                    f"{image.width}×{image.height} pixels are more than data.max_pixels: {rule.max_pixels:,}",
                )
            return _read(image, content, rule)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, "not an image of a known format") from error
    except DAMAGED as error:
        raise UnreadableImage(name, str(error) or type(error).__name__) from error


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
        raise ValueError(f"the box {list(box)} lies outside the image of {width}×{height}")
    return clipped


def decode(
    source: Path | bytes,
    *,
    box: Box | None = None,
    mask: Mask | None = None,
    resolution: int | None = None,
    channels: int = 3,
    fit: Fit = SQUASH,
    rule: PixelRule = DEFAULT_RULE,
    name: str = "",
) -> npt.NDArray[np.uint8]:
    """`open_image`, then `to_pixels`: (H, W, C) uint8.

    Raises:
        UnreadableImage: it cannot be decoded, the box lies outside, or the mask does not belong to it.
    """
    image = open_image(source, name=name, rule=rule)
    try:
        return to_pixels(image, box=box, mask=mask, resolution=resolution, channels=channels, fit=fit)
    except ValueError as error:
        raise UnreadableImage(name or str(source if isinstance(source, Path) else "image"), str(error)) from error


def keep_memory(num_threads: int) -> None:
    """Lets Pillow use the memory of a picture for the next one, instead of asking the system for each anew.

    Args:
        num_threads: that decode at a time. Each needs a picture's pixels, those of the resized one and what is between.
    """
    memory = Image.core  # type: ignore[attr-defined]  # Pillow documents it, and its types leave it out
    # Not less than PILLOW_BLOCKS_MAX says.
    memory.set_blocks_max(max(3 * num_threads, memory.get_blocks_max()))


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that this build of Pillow can read, and its plug-in for HEIC."""
    Image.preinit()
    for plugin in _PLUGINS:  # not `Image.init`, which imports those of thirty further formats
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    if _READS_HEIF and "HEIF" not in Image.OPEN:
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    # The pixels are good; where only the EXIF block is damaged, the picture is as upright as one can know.
    with contextlib.suppress(*DAMAGED):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _read(image: Image.Image, content: bytes, rule: PixelRule) -> Opened:
    """What Pillow has opened and not decoded yet."""
    remark = ""
    if image.format == "TIFF":
        if needs_bands(image, rule.bands):
            try:
                return _of_values(read_bands(content, rule.max_pixels), rule, image)
            except NoCodec:
                if rule.bands or image.mode != "RGB":
                    raise
        remark = SEVERAL_PAGES if getattr(image, "n_frames", 1) > 1 else ""
    elif image.format != "MPO" and getattr(image, "is_animated", False):
        image.seek(0)
        remark = "of an animation the first frame is used"
    values = _values(image, remark)
    if values is not None:
        return _of_values(values, rule, image)
    if rule.bands:
        # 8 bits, and colours as any file has them: the bands are what it says they are.
        image.load()
        numbers = np.asarray(image if image.mode in ("L", "RGB", "RGBA", "LA", "CMYK") else image.convert("RGB"))
        return _of_values(Values(numbers, (0.0, 255.0), remark=remark), rule, image)
    if image.format == "TIFF" and has_undeclared_alpha(image):
        image.load()
        return Opened(_upright(image.convert("RGB")), remark="bands behind red, green and blue are not used")
    image.load()
    return Opened(_eight_bits(_upright(image)), remark=remark)


def _values(image: Image.Image, remark: str) -> Values | None:
    """The numbers of a picture with more than 8 bits; None: it has 8, or fewer."""
    deep_colours = image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA") and _bits(image) == 16
    if deep_colours:
        image.load()
        numbers = np.asarray(image.convert("RGB")).astype(np.uint16) * 257
        return Values(numbers, is_rgb=True, upper_bits=True, remark=UPPER_BITS)
    if not image.mode.startswith(("I", "F")):
        return None
    image.load()
    is_tiff_file = image.format == "TIFF"
    declared = declared_range(image) if is_tiff_file else SIXTEEN_BITS if image.format == "PPM" else None
    return Values(np.asarray(image), declared, is_tiff_file and is_inverted(image), remark=remark)


def _bits(image: Image.Image) -> int:
    """Of a colour, as the file has it."""
    if image.format == "PNG":
        # Pillow tells the raw mode of its decoder only before it has read: RGB;16B, RGBA;16B.
        return 16 if any("16" in str(tile.args) for tile in getattr(image, "tile", ())) else 8
    bits = getattr(image, "tag_v2", {}).get(258, (8,))
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _of_values(values: Values, rule: PixelRule, image: Image.Image | None = None) -> Opened:
    """Grey levels, or colours, of numbers; turned as `image` says."""
    numbers, left = chosen_bands(values, rule.bands)
    picture = Image.fromarray(eight_bits(numbers, values, rule))
    if image is not None:
        with contextlib.suppress(*DAMAGED):
            turn = _TURNS.get(image.getexif().get(ORIENTATION, 1))
            picture = picture if turn is None else picture.transpose(turn)
    return Opened(picture, values.limits, "; ".join(filter(None, (values.remark, left))))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)  # which would copy it
