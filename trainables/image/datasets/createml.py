"""Create ML's JSON: a list of pictures, boxes by their centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, FloatBox
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.reading import (
    beginning,
    folders_of_split,
    has_keys,
    json_of,
    label_of,
    number_of,
    records_of,
    split_of,
)

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree


class CreateMl(AnnotatedPictures):
    """`_annotations.createml.json` beside the pictures: `[{"image": ..., "annotations": [{"label", "coordinates"}]}]`.

    Annotations without coordinates are labels of the whole picture.
    """

    name = "createml"
    title = "Create ML JSON"
    suffixes = frozenset({".json"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        return (
            text.lstrip().startswith("[")
            and (has_keys(text, ["image"]) or has_keys(text, ["imagefilename"]))
            and (has_keys(text, ["annotations"]) or has_keys(text, ["annotation"]))
            and not has_keys(text, ["result"])
        )

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        for name in names:
            try:
                rows = json_of(tree, name)
                if not isinstance(rows, list):
                    raise ValueError("it is not a list of images")
            except ValueError as error:
                found.defects.append(Defect(name, str(error)))
                continue
            hints = folders_of_split(tree, name)
            for row in rows:
                file = (row.get("image") or row.get("imagefilename")) if isinstance(row, dict) else None
                if not isinstance(file, str):
                    found.defects.append(Defect(name, f"{str(row)[:60]} names no image"))
                    continue
                if picture := self.picture(tree, file, name, found, *hints):
                    place = f"{name}, {file}"
                    marked = records_of(row.get("annotations", row.get("annotation")), place, found)
                    objects, tags = _objects(place, marked, found)
                    found.pictures.append(AnnotatedPicture(picture, place, None, objects, tags, split_of(name)))


def _objects(
    place: str, marked: list[dict[str, Any]], found: Annotations
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    objects, tags = [], []
    for number, each in enumerate(marked):
        try:
            label = label_of(each.get("label"))
        except ValueError as error:
            found.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            continue
        if each.get("coordinates") is None:
            tags.append(label)
            continue
        box: FloatBox | None = None
        fault = ""
        try:
            x, y, width, height = (
                number_of(each["coordinates"].get(key), key) for key in ("x", "y", "width", "height")
            )
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        except (ValueError, AttributeError) as error:
            fault = str(error)
        objects.append(AnnotatedObject(label, box, key=str(number), fault=fault))
    return tuple(objects), tuple(tags)
