"""Outlines to masks, by pycocotools: polygons are filled as COCO's own tools fill them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.image.datasets.base import Mask, Rle
from trainables.image.datasets.objects.annotated import FloatBox, MaskFile, Outline, Polygons
from trainables.image.datasets.objects.frames import Frame
from trainables.image.pixels.masks import runs_of


def mask_of(outlines: Sequence[Outline], frame: Frame, background: str) -> Mask:
    """The mask of one object, or of several together.

    Raises:
        ValueError: an outline does not belong to the picture, or nothing is inside of it.
    """
    first = outlines[0]
    if isinstance(first, MaskFile):
        assert all(each == first for each in outlines), "a mask file has one value per class or object"
        return Mask(first.path, first.value, background, first.digest)
    coco = _coco()

    codes = [_code(outline, frame) for outline in outlines]
    code = coco.merge(codes)
    if not coco.area(code):
        raise ValueError("nothing is inside of its outline")
    height, width = code["size"]
    digest = hashlib.blake2b(f"{width}×{height} ".encode() + code["counts"], digest_size=16).hexdigest()
    return Mask(None, 0, background, digest, Rle(width, height, code["counts"]))


def box_of_rings(rings: Sequence[Sequence[float]]) -> FloatBox:
    """The smallest box around polygons."""
    across = [x for ring in rings for x in ring[::2]]
    down = [y for ring in rings for y in ring[1::2]]
    return min(across), min(down), max(across), max(down)


def box_of_rle(rle: Rle) -> FloatBox:
    """The smallest box around the pixels of a mask.

    Raises:
        ValueError: the code is damaged.
    """
    coco = _coco()

    left, top, width, height = coco.toBbox(_checked(rle)).tolist()
    return left, top, left + width, top + height


def rle_of_counts(counts: Any, size: Any) -> Rle:
    """COCO's run-length code, as `{"counts": ..., "size": [height, width]}` writes it, compressed or as a list.

    Raises:
        ValueError: it is none.
    """
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the size of its mask is {size!r}, not [height, width]") from error
    if not (0 < height < 1 << 16 and 0 < width < 1 << 16):
        raise ValueError(f"the size of its mask is {size!r}, not [height, width]")
    if isinstance(counts, str | bytes):
        return Rle(width, height, counts.encode() if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(isinstance(each, int) and each >= 0 for each in counts):
        raise ValueError("the counts of its mask are neither a text nor a list of whole numbers")
    if sum(counts) != height * width:
        raise ValueError(f"the counts of its mask add up to {sum(counts)}, not to {width}×{height} pixels")
    coco = _coco()

    code = coco.frPyObjects({"counts": counts, "size": [height, width]}, height, width)
    return Rle(width, height, code["counts"])


def rle_of_pixels(pixels: npt.NDArray[np.bool_]) -> Rle:
    """The code of a mask, (H, W)."""
    coco = _coco()

    code = coco.encode(np.asfortranarray(pixels, dtype=np.uint8))
    return Rle(pixels.shape[1], pixels.shape[0], code["counts"])


def _coco() -> Any:
    """pycocotools, imported where it is needed."""
    from pycocotools import mask

    return mask


def _code(outline: Outline, frame: Frame) -> dict[str, Any]:
    coco = _coco()

    width, height = frame.size
    if isinstance(outline, Polygons):
        rings = [frame.ring(ring) for ring in outline.rings if len(ring) >= 6]
        if not rings:
            raise ValueError("its outline has fewer than three points")
        merged: dict[str, Any] = coco.merge(coco.frPyObjects([list(ring) for ring in rings], height, width))
        return merged
    assert isinstance(outline, Rle)
    if (outline.width, outline.height) != frame.size:
        raise ValueError(f"its mask is {outline.width}×{outline.height}, but its image {width}×{height}")
    return _checked(outline)


def _checked(rle: Rle) -> dict[str, Any]:
    """The code as pycocotools takes it: only if its runs cover the picture exactly, because pycocotools trusts them.

    Raises:
        ValueError: they do not.
    """
    if sum(runs_of(rle.counts)) != rle.width * rle.height:
        raise ValueError(f"the run-length code of its mask is damaged: it is not of {rle.width}×{rle.height} pixels")
    return {"size": [rle.height, rle.width], "counts": rle.counts}
