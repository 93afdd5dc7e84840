"""Segmentation masks: reading them, and painting over what does not belong to an example."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from trainables.image.example import Box, Mask, Rle

MEAN_COLOR = (124, 116, 104)
"""The mean colour of ImageNet's pictures (0.485, 0.456, 0.406 of 255), which most models subtract: they see nothing."""
BLUR_FRACTION = 1 / 16
"""The standard deviation of the blur, as a fraction of the example's longer side: shapes go, colours stay."""

_CACHED = 64  # masks; those of one photo are asked for one after the other
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)


@dataclass(frozen=True)
class MaskPicture:
    """A mask file.

    Attributes:
        values: palette index or grey level of each pixel, (H, W) uint8.
        digest: of the file's content.
    """

    values: npt.NDArray[np.uint8]
    digest: str


def read_mask(path: Path) -> MaskPicture:
    """Reads a mask.

    Raises:
        ValueError: it cannot be read, or is not a palette or grey picture.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the mask {path} cannot be read: {error.strerror or error}") from error
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "BMP", "GIF", "TIFF")) as image:
            if image.mode not in ("P", "L", "1"):
                raise ValueError(f"it is of mode {image.mode}; a mask has a palette, or levels of grey")
            values = np.array(image.convert("L") if image.mode == "1" else image, dtype=np.uint8)
    except _DAMAGED as error:
        raise ValueError(f"the mask {path} cannot be used: {error or type(error).__name__}") from error
    values.setflags(write=False)
    return MaskPicture(values, hashlib.blake2b(content, digest_size=16).hexdigest())


def selected(mask: Mask, size: tuple[int, int], box: Box | None = None) -> npt.NDArray[np.bool_]:
    """Which pixels (of the part in `box`) belong to the example, (H, W).

    Args:
        mask: of the picture.
        size: width and height of the whole picture.
        box: inside of the picture; None: all of it.

    Raises:
        ValueError: the mask cannot be read, is of another size than the picture, or another one than was listed.
    """
    if mask.rle is not None:
        if (mask.rle.width, mask.rle.height) != size:
            raise ValueError(
                f"the outline was drawn for {mask.rle.width}×{mask.rle.height}, but the image is {size[0]}×{size[1]}"
            )
        pixels = _decoded(mask.rle)
        left, top, right, bottom = box or (0, 0, *size)
        return pixels[top:bottom, left:right]
    assert mask.path is not None, "a mask is a file, or drawn in an annotation"
    picture = _read_once(mask.path, mask.digest)
    if picture.digest != mask.digest:
        _read_once.cache_clear()
        raise ValueError(f"the mask {mask.path} is not the one that was there when the sweep was prepared")
    height, width = picture.values.shape
    if (width, height) != size:
        raise ValueError(f"the mask {mask.path} is {width}×{height}, but its image {size[0]}×{size[1]}")
    left, top, right, bottom = box or (0, 0, width, height)
    return np.asarray(picture.values[top:bottom, left:right] == mask.value)


def on_background(image: Image.Image, keep: npt.NDArray[np.bool_], background: str) -> Image.Image:
    """The kept pixels of a picture, with something else around them.

    Args:
        image: of mode `L` or `RGB`.
        keep: which pixels stay, (H, W).
        background: `mean` (ImageNet's mean colour), `black`, or `blurred` (the picture itself, out of focus).
    """
    if background == "blurred":
        behind = image.filter(ImageFilter.GaussianBlur(BLUR_FRACTION * max(image.size)))
    elif background == "mean":
        behind = Image.new("RGB", image.size, MEAN_COLOR).convert(image.mode)
    else:
        assert background == "black", background
        behind = Image.new(image.mode, image.size)
    return Image.composite(image, behind, Image.fromarray(keep.astype(np.uint8) * 255))


def runs_of(counts: bytes) -> list[int]:
    """The lengths of a mask's runs, of background first.

    They are written in base 32 with a sign, from the fourth on as differences to the last but one (`rleFrString` in
    COCO's API).

    Raises:
        ValueError: it is no such code.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for byte in counts:
        digit = byte - 48
        if not 0 <= digit < 64:
            raise ValueError("the run-length code of its mask is damaged: it has letters that it cannot have")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift or any(run < 0 for run in runs):
        raise ValueError("the run-length code of its mask is damaged")
    return runs


@functools.lru_cache(maxsize=_CACHED)
def _decoded(rle: Rle) -> npt.NDArray[np.bool_]:
    runs = runs_of(rle.counts)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(rle.width, rle.height).T  # column by column


@functools.lru_cache(maxsize=_CACHED)
def _read_once(path: Path, digest: str) -> MaskPicture:
    """`digest` only keeps apart what was there at different times."""
    return read_mask(path)
