"""labelme's JSON, one beside each picture, and the XML of MIT's LabelMe."""

from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons, Size
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.outlines import rle_of_pixels
from trainables.image.datasets.objects.places import ellipse, outlined
from trainables.image.datasets.objects.reading import (
    beginning,
    has_keys,
    is_yes,
    json_of,
    label_of,
    number_of,
    numbers_of,
    samples,
    size_of,
    split_of_folders,
    stem_of,
    xml_of,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from trainables.image.datasets.tree import Tree


class Labelme(AnnotatedPictures):
    """labelme (wkentaro): rectangles, polygons, circles and masks; `flags` that are set are labels of the picture.

    The XML of MIT's LabelMe, which Datumaro's `label_me` writes, is read, too.
    """

    name = "labelme"
    title = "labelme"
    suffixes = frozenset({".json", ".xml"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        if name.lower().endswith(".json"):
            return text.lstrip().startswith("{") and has_keys(text, ["shapes"]) and has_keys(text, ["imagePath"])
        return "<annotation" in text and ("<sourceAnnotation" in text or "<imagesize>" in text or "<pt>" in text)

    @classmethod
    def files_of(cls, tree: Tree, under: str = "") -> list[str]:
        """All that have the name of a picture, unseen; of the other files those that are labelme's."""
        if under in tree:
            return [under]
        if not any(cls.is_mine(tree, name) for name in samples(tree, cls.suffixes)):
            return []
        pictures = {stem_of(name).rpartition("/")[2] for name in tree.pictures()}
        return [
            name
            for name in tree.files(under, cls.suffixes)
            if stem_of(name).rpartition("/")[2] in pictures or cls.is_mine(tree, name)
        ]

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        for name in names:
            try:
                if name.lower().endswith(".json"):
                    read = _json(json_of(tree, name), name, found)
                else:
                    read = _xml(xml_of(tree.path(name).read_bytes()), name, found)
            except (ValueError, OSError) as error:
                found.defects.append(Defect(name, str(error)))
                self.claim(tree, name, found)
                continue
            file, size, objects, tags = read
            if picture := self._picture_of(tree, name, file, found):
                split = split_of_folders(name)
                found.pictures.append(AnnotatedPicture(picture, name, size, objects, tags, split))
        self.add_unannotated(tree, found)
        if any(picture.objects for picture in found.pictures):
            # Flags may be anything (`checked`, `blurred`): they are classes only where nothing is drawn.
            flagged = sum(bool(picture.tags) for picture in found.pictures)
            found.pictures = [replace(picture, tags=()) for picture in found.pictures]
            found.notes += [f"the flags of {flagged} images are not used: the shapes are"] if flagged else []

    def _picture_of(self, tree: Tree, name: str, file: str, found: Annotations) -> str | None:
        """The picture beside the JSON that has its name; else the one that it names."""
        folder, _, own = name.rpartition("/")
        beside = [
            f"{folder}/{own.rpartition('.')[0]}.{end}".lstrip("/") for end in (file.rpartition(".")[2], "jpg", "png")
        ]
        for each in beside:
            if each in tree:
                return each
        return self.picture(tree, file or own.rpartition(".")[0], name, found)


_Read = tuple[str, Size | None, tuple[AnnotatedObject, ...], tuple[str, ...]]


def _json(content: Any, name: str, found: Annotations) -> _Read:
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError("it is not a labelme JSON: it has no list of shapes")
    size = size_of(content.get("imageWidth"), content.get("imageHeight"))
    flags = content.get("flags")
    tags = tuple(str(flag) for flag, is_set in flags.items() if is_set) if isinstance(flags, dict) else ()
    objects = []
    for number, shape in enumerate(content["shapes"]):
        try:
            label = label_of(shape.get("label") if isinstance(shape, dict) else None)
        except ValueError as error:
            found.defects.append(Defect(f"{name}, object {number + 1}", str(error)))
            continue
        try:
            own_flags = shape.get("flags") or {}
            facts = {"key": str(number), "difficult": is_yes(own_flags.get("difficult"))}
            objects.append(_shape(shape, label, size, facts))
        except (ValueError, TypeError, AttributeError) as error:
            objects.append(AnnotatedObject(label, key=str(number), fault=str(error)))
    file = str(content.get("imagePath") or "").replace("\\", "/")
    return file, size, tuple(objects), tags


def _shape(shape: dict[str, Any], label: str, size: Size | None, facts: dict[str, Any]) -> AnnotatedObject:
    points = [numbers_of(point, "a point", 2) for point in shape.get("points") or []]
    kind = shape.get("shape_type") or "polygon"
    if kind in ("rectangle", "mask", "circle") and len(points) != 2:
        raise ValueError(f"a {kind} has two points, not {len(points)}")
    if kind == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points: three or more are an area")
        return outlined(label, Polygons((tuple(number for point in points for number in point),)), **facts)
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        return AnnotatedObject(label, box, **facts)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return outlined(label, ellipse(points[0][0], points[0][1], radius, radius), **facts)
    if kind == "mask":
        return _mask(shape, label, size, points, facts)
    if kind in ("point", "points", "line", "linestrip"):
        return AnnotatedObject(label, **facts)
    raise ValueError(f"shape_type {kind!r} is not known")


def _mask(
    shape: dict[str, Any], label: str, size: Size | None, points: list[tuple[float, ...]], facts: dict[str, Any]
) -> AnnotatedObject:
    """A PNG of the box's pixels, whose corners are whole and included."""
    import numpy as np
    from PIL import Image

    (left, top), (right, bottom) = points
    box = (left, top, right + 1, bottom + 1)
    if size is None:
        raise ValueError("a mask needs imageWidth and imageHeight")
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"], validate=True)), formats=("PNG",)) as image:
            part = np.asarray(image.convert("L")) > 0
    except (KeyError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask is not a PNG: {error or type(error).__name__}") from error
    pixels = np.zeros((size[1], size[0]), dtype=np.bool_)
    place = pixels[int(top) : int(top) + part.shape[0], int(left) : int(left) + part.shape[1]]
    if place.shape != part.shape:
        raise ValueError("its mask lies outside of the image")
    place |= part
    return AnnotatedObject(label, box, rle_of_pixels(pixels), **facts)


def _xml(root: Element, name: str, found: Annotations) -> _Read:
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, not <annotation>")
    objects = []
    for number, element in enumerate(root.findall("object")):
        if is_yes(element.findtext("deleted")):
            found.counts["objects marked as deleted left out"] += 1
            continue
        try:
            label = label_of(element.findtext("name"))
        except ValueError as error:
            found.defects.append(Defect(f"{name}, object {number + 1}", str(error)))
            continue
        written = re.search(r"difficult\s*=\s*(\w+)", element.findtext("attributes") or "")
        facts: dict[str, Any] = {"key": str(number), "difficult": written is not None and is_yes(written.group(1))}
        try:
            ring = [number_of(point.findtext(axis), axis) for point in element.findall("polygon/pt") for axis in "xy"]
            if len(ring) < 6:
                raise ValueError(f"a polygon of {len(ring) // 2} points: three or more are an area")
            item = outlined(label, Polygons((tuple(ring),)), **facts)
            if element.findtext("type") == "bounding_box":
                item = AnnotatedObject(label, item.box, **facts)
            objects.append(item)
        except ValueError as error:
            objects.append(AnnotatedObject(label, fault=str(error), **facts))
    size = size_of(root.findtext("imagesize/ncols"), root.findtext("imagesize/nrows"))
    folder, file = (root.findtext("folder") or "").strip(), (root.findtext("filename") or "").strip()
    return (f"{folder}/{file}" if folder and file else file), size, tuple(objects), ()
