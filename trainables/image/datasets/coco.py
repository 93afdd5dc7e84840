"""COCO's JSON: pictures, categories, and boxes with polygons or run-length masks."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import (
    AnnotatedObject,
    AnnotatedPicture,
    Annotations,
    FloatBox,
    Outline,
    Polygons,
)
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.outlines import box_of_rings, box_of_rle, rle_of_counts
from trainables.image.datasets.objects.reading import (
    beginning,
    box_of_extent,
    folders_of_split,
    has_keys,
    is_yes,
    json_of,
    label_of,
    numbers_of,
    size_of,
    split_of,
)

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_SECONDARY = ("stuff", "panoptic", "person_keypoints", "captions", "image_info")
"""Beside `instances_*.json` these say nothing new of what objects there are."""


class Coco(AnnotatedPictures):
    """Files like `annotations/instances_train2017.json`, one per split, with the pictures in `train2017/`.

    Also one file alone, or `_annotations.coco.json` in each split's folder (Roboflow, supervision). Annotations
    without a box and an outline are labels of the whole picture.
    """

    name = "coco"
    title = "COCO JSON"
    suffixes = frozenset({".json"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        if not text.lstrip().startswith("{") or has_keys(text, ["dm_format_version"]):
            return False
        return has_keys(text, ["images", "file_name"]) or (
            has_keys(text, ["image_id"]) and bool(re.search(r'"(annotations|bbox|category_id)"\s*:', text))
        )

    @classmethod
    def files_of(cls, tree: Tree, under: str = "") -> list[str]:
        names = super().files_of(tree, under)
        main = [name for name in names if not PurePosixPath(name).name.startswith(_SECONDARY)]
        return main or names

    def passed_over(self, tree: Tree) -> list[str]:
        return super().files_of(tree)

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        if beside := [name for name in super().files_of(tree) if name not in names]:
            found.notes.append(f"passed over beside {names[0]}: {', '.join(beside)} (data.annotations chooses)")
        named: dict[str, None] = {}
        pictures: dict[str, AnnotatedPicture] = {}
        for name in names:
            try:
                content = json_of(tree, name)
                categories = _categories(content)
                images = _table(content, "images")
                annotations = _table(content, "annotations")
            except ValueError as error:
                found.defects.append(Defect(name, str(error)))
                continue
            named |= dict.fromkeys(categories.values())
            for picture in self._pictures(tree, name, images, annotations, categories, found):
                # Labels of pictures and boxes of objects may stand in two files.
                pictures[picture.picture] = _united(pictures.get(picture.picture), picture)
        found.pictures = list(pictures.values())
        found.named = tuple(named)

    def _pictures(
        self,
        tree: Tree,
        name: str,
        images: list[dict[str, Any]],
        annotations: list[dict[str, Any]],
        categories: dict[Any, str],
        found: Annotations,
    ) -> list[AnnotatedPicture]:
        hints = folders_of_split(tree, name)
        of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            of_image[_key(annotation.get("image_id"))].append(annotation)
        pictures = []
        for image in images:
            mine = of_image.pop(_key(image.get("id")), [])
            file = image.get("file_name")
            if not isinstance(file, str) or not file.strip():
                found.defects.append(Defect(name, f"the image of id {image.get('id')!r} has no file_name"))
                continue
            picture = self.picture(tree, file, name, found, *hints)
            if picture is None:
                continue
            objects, tags = self._objects(f"{name}, {file}", mine, categories, found)
            size = size_of(image.get("width"), image.get("height"))
            pictures.append(AnnotatedPicture(picture, f"{name}, {file}", size, objects, tags, split_of(name)))
        for key, strays in of_image.items():
            found.defects.append(
                Defect(name, f"{len(strays)} annotations are of image_id {key!r}, which it does not list")
            )
        return pictures

    def _objects(
        self, place: str, annotations: list[dict[str, Any]], categories: dict[Any, str], found: Annotations
    ) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
        objects, tags = [], []
        for number, annotation in enumerate(annotations):
            key = _key(annotation.get("category_id"))
            if key not in categories:
                reason = f"category_id {annotation.get('category_id')!r} is not among the categories"
                found.defects.append(Defect(f"{place}, object {number + 1}", reason))
                continue
            if not annotation.get("bbox") and not annotation.get("segmentation"):
                tags.append(categories[key])
                continue
            attributes = annotation.get("attributes")
            difficult = attributes.get("difficult") if isinstance(attributes, dict) else annotation.get("difficult")
            box, outline, fault = _placed(annotation)
            objects.append(
                AnnotatedObject(
                    categories[key],
                    box,
                    outline,
                    key=str(number),
                    difficult=is_yes(difficult),
                    crowd=is_yes(annotation.get("iscrowd")),
                    fault=fault,
                )
            )
        return tuple(objects), tuple(tags)


def _placed(annotation: dict[str, Any]) -> tuple[FloatBox | None, Outline | None, str]:
    """Box and outline, or what is wrong with them."""
    outline: Outline | None = None
    try:
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict):
            outline = rle_of_counts(segmentation.get("counts"), segmentation.get("size"))
        elif segmentation:
            rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
            outline = Polygons(tuple(_ring(ring) for ring in rings))
        if annotation.get("bbox"):
            return box_of_extent(annotation["bbox"]), outline, ""
        assert outline is not None, "it has a box or an outline"
        return (box_of_rings(outline.rings) if isinstance(outline, Polygons) else box_of_rle(outline)), outline, ""  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError) as error:
        return None, None, str(error) or type(error).__name__


def _ring(ring: object) -> tuple[float, ...]:
    numbers = numbers_of(ring, "a polygon")
    if len(numbers) % 2 or len(numbers) < 6:
        raise ValueError(f"a polygon of {len(numbers)} numbers: three points or more, x and y of each")
    return numbers


def _united(first: AnnotatedPicture | None, second: AnnotatedPicture) -> AnnotatedPicture:
    if first is None:
        return second
    objects = first.objects + tuple(item for item in second.objects if item not in first.objects)
    tags = tuple(dict.fromkeys(first.tags + second.tags))
    numbered = tuple(_numbered(item, number) for number, item in enumerate(objects))
    return AnnotatedPicture(
        first.picture, first.place, first.size or second.size, numbered, tags, first.split or second.split
    )


def _numbered(item: AnnotatedObject, number: int) -> AnnotatedObject:
    return replace(item, key=str(number))


def _key(value: object) -> object:
    """An id as a key: numbers that are written as text are the same."""
    return value if isinstance(value, int) else str(value)


def _categories(content: object) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for category in _table(content, "categories"):
        try:
            found[_key(category.get("id"))] = label_of(category.get("name"))
        except ValueError as error:
            raise ValueError(f"the category of id {category.get('id')!r}: {error}") from error
    return found


def _table(content: object, key: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict):
        raise ValueError("it is not a COCO JSON: an object with images, annotations and categories is expected")
    rows = content.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{key} is not a list of objects")
    return rows
