"""Masks as run lengths, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from trainables.image.datasets.base import Mask, Rle
from trainables.image.datasets.objects.annotated import Polygons
from trainables.image.datasets.objects.frames import Frame
from trainables.image.datasets.objects.outlines import box_of_rle, mask_of, rle_of_counts, rle_of_pixels
from trainables.image.pixels.masks import runs_of, selected

FRAME = Frame((40, 30), (40, 30))


def pixels_of(mask: Mask) -> np.ndarray:
    assert mask.rle is not None
    return selected(mask, (mask.rle.width, mask.rle.height))


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 1.0])
def test_pixels_come_back(fraction: float) -> None:
    pixels = np.random.default_rng(3).random((30, 40)) < fraction
    rle = rle_of_pixels(pixels)
    back = selected(Mask(None, 0, "mean", "", rle), (40, 30))
    assert (back == pixels).all()
    assert (selected(Mask(None, 0, "mean", "", rle), (40, 30), (5, 6, 20, 16)) == pixels[6:16, 5:20]).all()
    assert sum(runs_of(rle.counts)) == 1200


def test_polygons_are_filled_as_coco_does() -> None:
    rings = ((2.5, 3.0, 30.2, 4.0, 20.0, 25.5), (1.0, 20.0, 8.0, 20.0, 8.0, 28.0, 1.0, 28.0))
    theirs = coco.decode(coco.merge(coco.frPyObjects([list(ring) for ring in rings], 30, 40)))
    assert (pixels_of(mask_of([Polygons(rings)], FRAME, "mean")) == theirs.astype(bool)).all()


def test_several_outlines_are_one_mask() -> None:
    parts = [
        Polygons(((0.0, 0.0, 5.0, 0.0, 5.0, 5.0, 0.0, 5.0),)),
        Polygons(((9.0, 9.0, 12.0, 9.0, 12.0, 12.0, 9.0, 12.0),)),
    ]
    assert pixels_of(mask_of(parts, FRAME, "mean")).sum() == 25 + 9


def test_outlines_are_scaled_and_turned_with_their_frame() -> None:
    square = Polygons(((0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0),))
    half = pixels_of(mask_of([square], Frame((40, 30), (80, 60)), "mean"))
    assert half[:5, :5].all()
    assert half.sum() == 25
    turned = pixels_of(mask_of([square], Frame((30, 40), (40, 30), 6), "mean"))  # its top left is now its top right
    assert turned.shape == (40, 30)
    assert turned[:10, 20:].all()
    assert turned.sum() == 100


def test_codes_of_both_kinds_and_their_boxes() -> None:
    rle = rle_of_counts([30 * 5 + 2, 8, 1200 - 30 * 5 - 10], [30, 40])
    assert box_of_rle(rle) == (5, 2, 6, 10)
    assert rle_of_counts(rle.counts.decode(), [30, 40]) == rle


@pytest.mark.parametrize("counts", [b"", b"0", b"\x00", b"`", b"Z9999999", b"00000000001"])
def test_damaged_codes_never_reach_the_library(counts: bytes) -> None:
    with pytest.raises(ValueError, match="is damaged"):
        box_of_rle(Rle(40, 30, counts))


@pytest.mark.parametrize("size", [None, [30], ["a", 4], [0, 4], [1 << 20, 4]])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(ValueError, match="the size of its mask"):
        rle_of_counts([4], size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_are_turned_as_pillow_turns_pictures(orientation: int) -> None:
    from PIL import Image, ImageOps

    stored = np.zeros((30, 40), dtype=np.uint8)
    stored[4:10, 7:20] = 255
    image = Image.fromarray(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(image)) > 0
    frame = Frame((upright.shape[1], upright.shape[0]), (40, 30), orientation)
    left, top, right, bottom = (int(edge) for edge in frame.box((7, 4, 20, 10)))
    assert upright[top:bottom, left:right].all()
    assert upright.sum() == (bottom - top) * (right - left)
