"""Converts a box as it is written to whole pixels inside its image."""

from __future__ import annotations

import math
from collections import Counter

from trainables.image.datasets.base import Box
from trainables.image.datasets.objects.annotated import AnnotatedObject, FloatBox, Polygons
from trainables.image.datasets.objects.frames import Frame
from trainables.image.datasets.objects.outlines import box_of_rings

CLIPPED = "boxes that reached beyond their image were clipped"
REVERSED = "boxes whose sides are written in reverse were read as if they were not"

_SLACK = 0.01  # pixels: fractions with six digits are off by that much in a picture of 10,000 pixels
_ALMOST_ONE = 1e-4  # by which a fraction may be beyond the picture


def whole_box(item: AnnotatedObject, frame: Frame, counts: Counter[str]) -> Box:
    """The pixels of the upright picture that an object's box touches.

    Args:
        item: with a box.
        frame: of its picture.
        counts: what was changed is counted here.

    Raises:
        ValueError: the box has no area, or lies outside of its picture.
    """
    assert item.box is not None
    written = item.box
    if item.is_fraction:
        written = scaled(written, frame.written)
    left, top, right, bottom = frame.box(written)
    if written[0] > written[2] or written[1] > written[3]:
        counts[REVERSED] += 1
    if right - left < _SLACK or bottom - top < _SLACK:
        raise ValueError(f"the box {shown(item.box)} has no area")
    width, height = frame.size
    if min(right, width) - max(left, 0) < _SLACK or min(bottom, height) - max(top, 0) < _SLACK:
        raise ValueError(f"the box {shown(item.box)} lies outside the image of {width}×{height}")
    edges = (
        math.floor(left + _SLACK),
        math.floor(top + _SLACK),
        math.ceil(right - _SLACK),
        math.ceil(bottom - _SLACK),
    )
    if min(edges[:2]) < 0 or edges[2] > width or edges[3] > height:
        counts[CLIPPED] += 1
    return max(edges[0], 0), max(edges[1], 0), min(edges[2], width), min(edges[3], height)


def widened(box: Box, margin: float, width: int, height: int) -> Box:
    """A box with a margin on each side (a fraction of its width or height), inside of the picture."""
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    return (
        max(math.floor(left - across), 0),
        max(math.floor(top - down), 0),
        min(math.ceil(right + across), width),
        min(math.ceil(bottom + down), height),
    )


def scaled(box: FloatBox, size: tuple[int, int]) -> FloatBox:
    """A box of fractions in pixels."""
    width, height = size
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def in_pixels(outline: Polygons, size: tuple[int, int]) -> Polygons:
    """An outline of fractions in pixels."""
    width, height = size
    return Polygons(
        tuple(
            tuple(number * (height if place % 2 else width) for place, number in enumerate(ring))
            for ring in outline.rings
        )
    )


def is_fraction(box: FloatBox) -> bool:
    """Whether a box lies in a picture of 1×1."""
    return max(box) <= 1 + _ALMOST_ONE and min(box) >= -_ALMOST_ONE


def rotated(left: float, top: float, width: float, height: float, degrees: float, *, about_centre: bool) -> Polygons:
    """The corners of a rectangle that is turned clockwise, about its centre or its first corner."""
    angle = math.radians(degrees)
    x, y = (left + width / 2, top + height / 2) if about_centre else (left, top)
    corners = []
    for across, down in ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)):
        u, v = left + across - x, top + down - y
        corners += [x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)]
    return Polygons((tuple(corners),))


def ellipse(x: float, y: float, across: float, down: float, degrees: float = 0.0) -> Polygons:
    """An ellipse about x, y as a polygon.

    Args:
        x: of the centre.
        y: of the centre.
        across: half its width.
        down: half its height.
        degrees: by which it is turned clockwise.
    """
    angle = math.radians(degrees)
    ring = []
    for place in range(_CORNERS):
        turn = 2 * math.pi * place / _CORNERS
        u, v = across * math.cos(turn), down * math.sin(turn)
        ring += [x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)]
    return Polygons((tuple(ring),))


def outlined(label: str, outline: Polygons, **facts: object) -> AnnotatedObject:
    """An object of an outline alone: its box is the smallest around it."""
    return AnnotatedObject(label, box_of_rings(outline.rings), outline, **facts)  # type: ignore[arg-type]


def shown(box: FloatBox) -> str:
    """A box in a message."""
    return f"({box[0]:g}, {box[1]:g})–({box[2]:g}, {box[3]:g})"


_CORNERS = 64  # of the polygon that stands for an ellipse
