"""Whether VOC boxes count pixels from 1, as VOC does, or from 0, as many tools do.

PASCAL VOC's first pixel is 1 and `xmax` is the last pixel of the object. Datumaro, CVAT, labelme2voc, Label Studio and
FiftyOne write what they have: edges from 0, where `xmax` is just outside. Read as VOC's, each of their crops would be
one pixel too far left and up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from trainables.image.datasets.objects.annotated import FloatBox, Polygons
from trainables.image.datasets.objects.places import is_fraction
from trainables.image.datasets.voc.annotation import VocAnnotation


def find_origin(annotations: Sequence[VocAnnotation], setting: Literal["auto", 0, 1]) -> tuple[int, str]:
    """0 or 1, and how that was found.

    A coordinate 0 anywhere says 0, as there is no such pixel when counting from 1. Else a box that ends at the
    picture's width says 1: of tools that count from 0, some box would begin at 0, too. Else the tool that is named.
    """
    if setting != "auto":
        return setting, f"boxes count from {setting} (data.box_origin)"
    at_width = ""
    for annotation in annotations:
        for item in annotation.objects:
            if item.sides is None or has_no_area(item.sides) or is_fraction(item.sides):
                continue
            if 0 in item.sides:
                return 0, f"boxes count from 0: there is a 0 in {annotation.place} (data.box_origin)"
            if annotation.size is not None and item.sides[2] == annotation.size[0]:
                at_width = at_width or annotation.place
    if at_width:
        return 1, f"boxes count from 1: no coordinate is 0, and one is the width in {at_width} (data.box_origin)"
    writers = Counter(each.writer for each in annotations if each.writer is not None)
    if writers:
        ((origin, _),) = writers.most_common(1)
        return origin, f"boxes count from {origin}, as the tool does that wrote them (data.box_origin)"
    return 1, "boxes count from 1, as in PASCAL VOC: nothing in them says otherwise (data.box_origin)"


def from_zero(sides: FloatBox, origin: int) -> FloatBox:
    """Edges from 0; sides in reverse are put right, for which `is_reversed` asks."""
    xmin, ymin, xmax, ymax = sides
    xmin, xmax = min(xmin, xmax), max(xmin, xmax)
    ymin, ymax = min(ymin, ymax), max(ymin, ymax)
    return xmin - origin, ymin - origin, xmax, ymax


def outline_from_zero(outline: Polygons, origin: int) -> Polygons:
    """An outline whose first pixel is `origin`."""
    return Polygons(tuple(tuple(number - origin for number in ring) for ring in outline.rings))


def is_reversed(sides: FloatBox) -> bool:
    """Whether a box was drawn from the right or from below."""
    return sides[0] > sides[2] or sides[1] > sides[3]


def has_no_area(sides: FloatBox) -> bool:
    """Whether a box is a line or a point."""
    return sides[0] == sides[2] or sides[1] == sides[3]
