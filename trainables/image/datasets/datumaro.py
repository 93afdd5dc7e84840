"""Datumaro's own JSON: labels, boxes, polygons and masks of each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.outlines import box_of_rle, rle_of_counts
from trainables.image.datasets.objects.places import outlined, rotated
from trainables.image.datasets.objects.reading import (
    beginning,
    box_of_extent,
    folders_of_split,
    has_keys,
    is_yes,
    json_of,
    label_of,
    numbers_of,
    records_of,
    size_of,
    split_of,
)

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree


class Datumaro(AnnotatedPictures):
    """`annotations/<subset>.json` beside `images/<subset>/`."""

    name = "datumaro"
    title = "Datumaro JSON"
    suffixes = frozenset({".json"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        return text.lstrip().startswith("{") and (
            has_keys(text, ["dm_format_version"]) or has_keys(text, ["categories", "items", "annotations"])
        )

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        named: dict[str, None] = {}
        for name in names:
            try:
                content = json_of(tree, name)
                labels = [label_of(each["name"]) for each in content["categories"]["label"]["labels"]]
                items = content["items"]
            except ValueError as error:
                found.defects.append(Defect(name, str(error)))
                continue
            except (KeyError, TypeError) as error:
                found.defects.append(Defect(name, f"it is not Datumaro JSON: {error} is missing"))
                continue
            named |= dict.fromkeys(labels)
            hints = folders_of_split(tree, name)
            for item in records_of(items, name, found):
                image = item.get("image")
                file = (image.get("path") or item.get("id")) if isinstance(image, dict) else None
                if not isinstance(image, dict) or not isinstance(file, str):
                    found.defects.append(Defect(name, f"{str(item)[:60]} has no image"))
                    continue
                if picture := self.picture(tree, file, name, found, *hints):
                    place = f"{name}, {file}"
                    sides = image.get("size")
                    size = size_of(*reversed(sides)) if isinstance(sides, list) and len(sides) == 2 else None
                    objects, tags = _objects(place, records_of(item.get("annotations"), place, found), labels, found)
                    found.pictures.append(AnnotatedPicture(picture, place, size, objects, tags, split_of(name)))
        found.named = tuple(named)


def _objects(
    place: str, marked: list[dict[str, Any]], labels: list[str], found: Annotations
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    objects: list[AnnotatedObject] = []
    tags: list[str] = []
    for number, each in enumerate(marked):
        label_id = each.get("label_id")
        if not isinstance(label_id, int) or not 0 <= label_id < len(labels):
            if each.get("type") != "caption":
                found.defects.append(Defect(f"{place}, object {number + 1}", f"label_id {label_id!r} has no name"))
            continue
        if each.get("type") == "label":
            tags.append(labels[label_id])
            continue
        attributes = each.get("attributes")
        difficult = isinstance(attributes, dict) and is_yes(attributes.get("difficult"))
        facts: dict[str, Any] = {"key": str(number), "difficult": difficult}
        try:
            objects.append(_object(each, labels[label_id], facts))
        except (ValueError, TypeError, AttributeError) as error:
            objects.append(AnnotatedObject(labels[label_id], fault=str(error), **facts))
    return tuple(objects), tuple(tags)


def _object(each: dict[str, Any], label: str, facts: dict[str, Any]) -> AnnotatedObject:
    kind = each.get("type")
    if kind == "bbox":
        return AnnotatedObject(label, box_of_extent(each.get("bbox")), **facts)
    if kind == "polygon":
        return outlined(label, Polygons((numbers_of(each.get("points"), "points"),)), **facts)
    if kind == "rotated_bbox":
        x, y, width, height, degrees = numbers_of(each.get("rotated_bbox") or each.get("points"), "rotated_bbox", 5)
        turned = rotated(x - width / 2, y - height / 2, width, height, degrees, about_centre=True)
        return outlined(label, turned, **facts)
    if kind == "mask":
        code = each.get("rle") or {}
        rle = rle_of_counts(code.get("counts"), code.get("size"))
        return AnnotatedObject(label, box_of_rle(rle), rle, **facts)
    return AnnotatedObject(label, **facts)  # points, lines
