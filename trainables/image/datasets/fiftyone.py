"""FiftyOne's own JSON: `labels.json` of its image datasets, `samples.json` of a whole dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.errors import DataError
from trainables.image.datasets.base import Defect, Recognised
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.places import outlined
from trainables.image.datasets.objects.reading import (
    SPLIT_WORDS,
    beginning,
    box_of_extent,
    has_keys,
    is_yes,
    json_of,
    label_of,
    numbers_of,
    records_of,
    samples,
    split_of_folders,
)

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree


class FiftyOne(AnnotatedPictures):
    """`labels.json` and `data/`, or `samples.json` and `data/`. Boxes are fractions of the picture.

    Of a whole dataset, its fields of labels are read; where it has several of one kind, `data.label_column` names the
    one. Tags such as `train` are splits.
    """

    name = "fiftyone"
    title = "FiftyOne JSON"
    suffixes = frozenset({".json"})
    unused_settings = tuple(key for key in AnnotatedPictures.unused_settings if key != "label_column")

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        if not text.lstrip().startswith("{"):
            return False
        return has_keys(text, ["classes", "labels"]) or has_keys(text, ["samples", "filepath"])

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Objects, or a whole dataset; a file of labels alone is a table of labels."""
        claim = super().recognise(tree)
        names = [name for name in samples(tree, cls.suffixes) if cls.is_mine(tree, name)]
        return claim if any(has_keys(beginning(tree, name), ["bounding_box"]) for name in names) else None

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        for name in names:
            try:
                content = json_of(tree, name)
                if not isinstance(content, dict):
                    raise ValueError("it is no FiftyOne JSON")
                if isinstance(content.get("samples"), list):
                    self._samples(tree, name, content["samples"], found)
                elif isinstance(content.get("labels"), dict):
                    self._labels(tree, name, content["labels"], content.get("classes"), found)
                else:
                    raise ValueError("it has neither labels nor samples")
            except ValueError as error:
                found.defects.append(Defect(name, str(error)))

    def _labels(
        self, tree: Tree, name: str, labels: dict[str, Any], classes: list[str] | None, found: Annotations
    ) -> None:
        """A picture's name (without its suffix) to its label, labels or objects."""
        found.named = tuple(str(each) for each in classes or ())
        hints = [folder for folder in (f"{name.rpartition('/')[0]}/data".lstrip("/"),) if folder in tree.folders]
        for stem, value in labels.items():
            picture = self.picture(tree, stem, name, found, *hints)
            if picture is None:
                continue
            place = f"{name}, {stem}"
            values = [] if value is None else value if isinstance(value, list) else [value]
            objects, tags = [], []
            for number, each in enumerate(values):
                try:
                    if isinstance(each, dict) and "bounding_box" in each:
                        objects.append(_object(each, number, classes))
                    else:
                        tags.append(_name(each.get("label") if isinstance(each, dict) else each, classes))
                except ValueError as error:
                    found.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            split = split_of_folders(name)
            found.pictures.append(AnnotatedPicture(picture, place, None, tuple(objects), tuple(tags), split))

    def _samples(self, tree: Tree, name: str, samples: list[dict[str, Any]], found: Annotations) -> None:
        samples = records_of(samples, name, found)
        objects_field, tags_field = self._fields(samples)
        for sample in samples:
            file = sample.get("filepath")
            if not isinstance(file, str):
                found.defects.append(Defect(name, f"the sample {str(sample)[:60]} has no filepath"))
                continue
            picture = self.picture(tree, file, name, found)
            if picture is None:
                continue
            place = f"{name}, {file}"
            objects, tags = [], []
            for number, each in enumerate(_members(sample.get(objects_field or ""), place, found)):
                try:
                    objects.append(_object(each, number, None))
                except ValueError as error:
                    found.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            for each in _members(sample.get(tags_field or ""), place, found):
                try:
                    tags.append(label_of(each.get("label")))
                except ValueError as error:
                    found.defects.append(Defect(place, f"{tags_field}: {error}"))
            splits = {SPLIT_WORDS[tag] for tag in _texts(sample.get("tags")) if tag in SPLIT_WORDS}
            split = splits.pop() if len(splits) == 1 else None
            found.pictures.append(AnnotatedPicture(picture, place, None, tuple(objects), tuple(tags), split))

    def _fields(self, samples: list[dict[str, Any]]) -> tuple[str | None, str | None]:
        """The field of objects and that of labels of pictures."""
        kinds: dict[str, str] = {}
        for sample in samples:
            for key, value in sample.items():
                if isinstance(value, dict) and (kind := _KINDS.get(str(value.get("_cls")))):
                    kinds[key] = kind
        if (wanted := self.data.label_column) is not None:
            if wanted not in kinds:
                raise DataError(
                    f"data.label_column: no field {wanted!r} of labels: there are {', '.join(sorted(kinds)) or 'none'}"
                )
            return (wanted, None) if kinds[wanted] == "objects" else (None, wanted)
        fields: list[str | None] = []
        for kind in ("objects", "labels"):
            names = sorted(key for key, each in kinds.items() if each == kind)
            if len(names) > 1:
                raise DataError(
                    f"data.root: several fields could be meant: {', '.join(names)}; choose one with data.label_column"
                )
            fields.append(names[0] if names else None)
        return fields[0], fields[1]


_KINDS = {
    "Detections": "objects",
    "Detection": "objects",
    "Polylines": "objects",
    "Polyline": "objects",
    "Classification": "labels",
    "Classifications": "labels",
}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _members(value: object, place: str, found: Annotations) -> list[dict[str, Any]]:
    """The labels of a field that holds one or several."""
    if not isinstance(value, dict):
        return []
    for key in ("detections", "polylines", "classifications"):
        if key in value:
            return records_of(value[key], place, found)
    return [value]


def _object(each: dict[str, Any], number: int, classes: list[str] | None) -> AnnotatedObject:
    label = _name(each.get("label"), classes)
    attributes = each.get("attributes") or {}
    value = each.get("difficult", attributes.get("difficult") if isinstance(attributes, dict) else None)
    facts: dict[str, Any] = {
        "key": str(number),
        "difficult": is_yes(value.get("value") if isinstance(value, dict) else value),
    }
    try:
        if isinstance(each.get("points"), list):
            rings = tuple(
                tuple(number for point in ring for number in numbers_of(point, "a point", 2)) for ring in each["points"]
            )
            return outlined(label, Polygons(rings), is_fraction=True, **facts)
        box = box_of_extent(each.get("bounding_box"), "bounding_box")
        return AnnotatedObject(label, box, is_fraction=True, **facts)
    except (ValueError, TypeError) as error:
        return AnnotatedObject(label, fault=str(error), **facts)


def _name(value: object, classes: list[str] | None) -> str:
    """A class by its name, or by its number where the classes are listed."""
    if isinstance(value, int) and not isinstance(value, bool) and classes:
        if not 0 <= value < len(classes):
            raise ValueError(f"the label {value} has no name: {len(classes)} classes are listed")
        return str(classes[value])
    return label_of(value)
