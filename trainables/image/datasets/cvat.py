"""CVAT's own XML, "CVAT for images 1.1": one file for many pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.image.datasets.base import Defect, Rle
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.outlines import rle_of_pixels
from trainables.image.datasets.objects.places import ellipse, outlined, rotated
from trainables.image.datasets.objects.reading import (
    SPLIT_WORDS,
    beginning,
    folders_of_split,
    is_yes,
    label_of,
    number_of,
    size_of,
    split_of,
    xml_of,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from trainables.image.datasets.tree import Tree


class Cvat(AnnotatedPictures):
    """`annotations.xml` (or one a subset: `train.xml`) and `images/`: boxes, polygons, masks, ellipses, tags."""

    name = "cvat"
    title = "CVAT XML"
    suffixes = frozenset({".xml"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        return "<annotations" in text and ("<image " in text or "<track " in text or "<meta>" in text)

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        named: dict[str, None] = {}
        for name in names:
            try:
                root = xml_of(tree.path(name).read_bytes())
                if root.tag != "annotations":
                    raise ValueError(f"its root is <{root.tag}>, not <annotations>")
                if root.find("track") is not None:
                    raise ValueError(
                        "it is CVAT for video (<track>), which is not read: export the task as CVAT for images 1.1"
                    )
            except (ValueError, OSError) as error:
                found.defects.append(Defect(name, str(error)))
                continue
            named |= {text: None for each in root.iterfind("meta//label/name") if (text := (each.text or "").strip())}
            hints = folders_of_split(tree, name)
            for image in root.findall("image"):
                file = (image.get("name") or "").strip()
                if not file:
                    found.defects.append(Defect(name, f"the image of id {image.get('id')} has no name"))
                    continue
                if picture := self.picture(tree, file, name, found, *hints):
                    place = f"{name}, {file}"
                    size = size_of(image.get("width"), image.get("height"))
                    objects, tags = _objects(place, image, size, found)
                    split = SPLIT_WORDS.get((image.get("subset") or "").lower()) or split_of(name)
                    found.pictures.append(AnnotatedPicture(picture, place, size, objects, tags, split))
        found.named = tuple(named)


def _objects(
    place: str, image: Element, size: tuple[int, int] | None, found: Annotations
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    objects, tags = [], []
    for number, element in enumerate(image):
        try:
            label = label_of(element.get("label"))
        except ValueError as error:
            found.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            continue
        if element.tag == "tag":
            tags.append(label)
            continue
        attributes = {each.get("name"): each.text for each in element.findall("attribute")}
        facts: dict[str, Any] = {"key": str(number), "difficult": is_yes(attributes.get("difficult") or "")}
        try:
            objects.append(_object(element, label, size, facts))
        except ValueError as error:
            objects.append(AnnotatedObject(label, fault=str(error), **facts))
    return tuple(objects), tuple(tags)


def _object(element: Element, label: str, size: tuple[int, int] | None, facts: dict[str, Any]) -> AnnotatedObject:
    turned = number_of(element.get("rotation") or 0, "rotation")
    if element.tag == "box":
        left, top, right, bottom = (number_of(element.get(side), side) for side in ("xtl", "ytl", "xbr", "ybr"))
        if turned:
            corners = rotated(left, top, right - left, bottom - top, turned, about_centre=True)
            return outlined(label, corners, **facts)
        return AnnotatedObject(label, (left, top, right, bottom), **facts)
    if element.tag == "polygon":
        return outlined(label, Polygons((_points(element),)), **facts)
    if element.tag == "ellipse":
        x, y, across, down = (number_of(element.get(key), key) for key in ("cx", "cy", "rx", "ry"))
        return outlined(label, ellipse(x, y, across, down, turned), **facts)
    if element.tag == "mask":
        return _mask(element, label, size, facts)
    return AnnotatedObject(label, **facts)  # points, polyline, cuboid, skeleton: no outline


def _points(element: Element) -> tuple[float, ...]:
    pairs = [pair.split(",") for pair in (element.get("points") or "").split(";") if pair.strip()]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"a polygon of {len(pairs)} points: three or more, as x,y;x,y")
    return tuple(number_of(number, "a point") for pair in pairs for number in pair)


def _mask(element: Element, label: str, size: tuple[int, int] | None, facts: dict[str, Any]) -> AnnotatedObject:
    """Runs of background and object in turn, row by row, within the mask's box."""
    left, top, width, height = (int(number_of(element.get(key), key)) for key in ("left", "top", "width", "height"))
    runs = [int(number_of(run, "a run")) for run in (element.get("rle") or "").split(",") if run.strip()]
    if width <= 0 or height <= 0 or any(run < 0 for run in runs) or sum(runs) != width * height:
        raise ValueError(f"the runs of its mask add up to {sum(runs)}, not to {width}×{height} pixels")
    outline: Rle | None = None
    if size is not None:
        if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
            raise ValueError("its mask lies outside of the image")
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        pixels = np.zeros((size[1], size[0]), dtype=np.bool_)
        pixels[top : top + height, left : left + width] = values
        outline = rle_of_pixels(pixels)
    return AnnotatedObject(label, (left, top, left + width, top + height), outline, **facts)
