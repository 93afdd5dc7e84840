"""One annotation file of PASCAL VOC, and of the many tools that write the like."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import FloatBox, Polygons, Size
from trainables.image.datasets.objects.places import rotated
from trainables.image.datasets.objects.reading import declares_encoding, is_yes, label_of, number_of, size_of, xml_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class VocObject:
    """One object as it is written.

    Attributes:
        number: its position in the annotation, from 0.
        label: its class.
        sides: xmin, ymin, xmax, ymax as written; None: see `fault`.
        outline: in the same numbers, where the tool writes one.
        is_difficult: whether it is marked as such.
        fault: what is wrong with its place.
    """

    number: int
    label: str
    sides: FloatBox | None
    outline: Polygons | None = None
    is_difficult: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """One annotation file.

    Attributes:
        place: its path below the dataset's folder.
        file: the name of the picture that it gives; "" where it gives none.
        size: of the picture, as written; None where nothing is, or 0.
        writer: the tool, as far as it can be told from `source` and `owner`: see `origin_of_writer`.
        objects: in order, without those that are deleted.
        is_guessed: it has letters beyond ASCII, and does not declare their encoding: they were read as UTF-8.
    """

    place: str
    file: str
    size: Size | None
    writer: int | None
    objects: tuple[VocObject, ...]
    is_guessed: bool = False


def read_annotation(content: bytes, place: str, defects: list[Defect], counts: Counter[str]) -> VocAnnotation:
    """Reads an annotation file.

    Args:
        content: of the file.
        place: its path, for messages.
        defects: objects without a name are added.
        counts: deleted objects are counted.

    Raises:
        ValueError: it is not XML, or no annotation.
    """
    root = xml_of(content)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, not <annotation>")
    objects = []
    for number, element in enumerate(root.findall("object")):
        fields: dict[str, Element] = {}
        for child in element:
            fields.setdefault(child.tag, child)
        if is_yes(_text(fields, "deleted")):
            counts["objects marked as deleted left out"] += 1
            continue
        try:
            label = sys.intern(label_of(_text(fields, "name")))
        except ValueError as error:
            defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            continue
        objects.append(_object(fields, number, label))
    file = (root.findtext("filename") or "").strip().replace("\\", "/")
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    is_guessed = not content.isascii() and not declares_encoding(content)
    return VocAnnotation(place, file, size, origin_of_writer(root), tuple(objects), is_guessed)


def _text(fields: dict[str, Element], key: str) -> str:
    return (fields[key].text or "") if key in fields else ""


def _object(fields: dict[str, Element], number: int, label: str) -> VocObject:
    difficult = is_yes(_text(fields, "difficult"))
    try:
        if "bndbox" not in fields and "robndbox" in fields:
            outline = _turned(fields["robndbox"])
            across, down = outline.rings[0][::2], outline.rings[0][1::2]
            return VocObject(number, label, (min(across), min(down), max(across), max(down)), outline, difficult)
        left, top, right, bottom = _sides(fields)
        return VocObject(number, label, (left, top, right, bottom), _polygon(fields.get("polygon")), difficult)
    except ValueError as error:
        return VocObject(number, label, None, is_difficult=difficult, fault=str(error))


def _sides(fields: dict[str, Element]) -> list[float]:
    """The sides of an object's box.

    Raises:
        ValueError: one is missing, or no number.
    """
    written = {side.tag: side.text or "" for side in fields.get("bndbox", ())}
    sides = []
    for side in _SIDES:
        if side not in written:
            raise ValueError(f"the box has no {side}")
        sides.append(number_of(written[side], side))
    return sides


def _polygon(polygon: Element | None) -> Polygons | None:
    """Roboflow's outline: x1, y1, x2, y2, ..."""
    if polygon is None or polygon.find("x3") is None:
        return None
    ring: list[float] = []
    while (x := polygon.findtext(f"x{len(ring) // 2 + 1}")) is not None:
        ring += [number_of(x, "x"), number_of(polygon.findtext(f"y{len(ring) // 2 + 1}"), "y")]
    return Polygons((tuple(ring),))


def _turned(element: Element) -> Polygons:
    """roLabelImg's box: centre, size, angle in radians."""
    x, y, width, height, angle = (number_of(element.findtext(key), key) for key in ("cx", "cy", "w", "h", "angle"))
    return rotated(x - width / 2, y - height / 2, width, height, math.degrees(angle), about_centre=True)


def origin_of_writer(root: Element) -> int | None:
    """From what the tool counts pixels that wrote an annotation; None where it cannot be told.

    From 0: Datumaro and CVAT (`Unknown` as database, annotation and image), Label Studio (owner), labelme and
    FiftyOne (an empty database). From 1: PASCAL VOC itself, supervision (`roboflow.ai`).
    """
    if "label studio" in (root.findtext("owner/name") or "").lower():
        return 0
    source = root.find("source")
    if source is None:
        return None
    database, annotation, image = (
        None if (text := source.find(key)) is None else (text.text or "").strip()
        for key in ("database", "annotation", "image")
    )
    if (database, annotation, image) == ("Unknown", "Unknown", "Unknown"):
        return 0
    if database == "" and annotation in (None, "") and image in (None, ""):
        return 0
    if "PASCAL" in (annotation or "") or "VOC20" in (database or "") or database == "roboflow.ai":
        return 1
    return None
