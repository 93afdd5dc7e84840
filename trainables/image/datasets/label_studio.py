"""Label Studio's exports: JSON, JSON_MIN, and CSV or TSV with boxes in a cell."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainables.image.datasets.base import Defect, Recognised
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.dataset import AnnotatedPictures
from trainables.image.datasets.objects.places import ellipse, outlined, rotated
from trainables.image.datasets.objects.reading import (
    SPLIT_WORDS,
    beginning,
    has_keys,
    json_of,
    label_of,
    number_of,
    numbers_of,
    records_of,
    samples,
    size_of,
)

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_BOOKKEEPING = frozenset(
    [
        "id",
        "annotation_id",
        "annotator",
        "annotators",
        "created_at",
        "updated_at",
        "lead_time",
        "split",
        "agreement",
        "comment",
        "comments",
    ]
)
_SHAPES = re.compile(r"(rectangle|polygon|ellipse|brush|keypoint|video\w*)labels")


class LabelStudio(AnnotatedPictures):
    """Places are percent of the picture; pictures are found by the end of their address, with or without the prefix.

    Choices are labels of the whole picture.
    """

    name = "label_studio"
    title = "Label Studio"
    suffixes = frozenset({".json", ".csv", ".tsv"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        text = beginning(tree, name)
        if not name.lower().endswith(".json"):
            header = text.partition("\n")[0]
            return "annotation_id" in header and "lead_time" in header and _SHAPES.search(text) is not None
        if not text.lstrip().startswith("["):
            return False
        full = has_keys(text, ["data"]) and (has_keys(text, ["result"]) or has_keys(text, ["annotations"]))
        return full or has_keys(text, ["annotation_id"]) or has_keys(text, ["lead_time"])

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Tasks as they are exported in full, or short ones with boxes; choices alone are a table of labels."""
        claim = super().recognise(tree)
        texts = [beginning(tree, name) for name in samples(tree, cls.suffixes) if cls.is_mine(tree, name)]
        return claim if any(_SHAPES.search(text) or has_keys(text, ["result"]) for text in texts) else None

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        for name in names:
            try:
                rows = _rows(tree, name)
            except (ValueError, OSError) as error:
                found.defects.append(Defect(name, str(error)))
                continue
            seen: set[str] = set()
            for number, row in enumerate(rows, start=1):
                try:
                    address, results, split = _task(row, f"{name}, task {number}", found)
                except ValueError as error:
                    found.defects.append(Defect(f"{name}, task {number}", str(error)))
                    continue
                picture = self.picture(tree, address, name, found)
                if picture is None:
                    continue
                if picture in seen:
                    found.counts["annotations of an image that another annotator has done were left out"] += 1
                    continue
                seen.add(picture)
                place = f"{name}, {address.rpartition('/')[2]}"
                objects, tags = _read_results(place, results, found)
                # Places are percent of the upright picture: its size says nothing more.
                found.pictures.append(AnnotatedPicture(picture, place, None, objects, tags, split))


def _rows(tree: Tree, name: str) -> list[dict[str, Any]]:
    if name.lower().endswith(".json"):
        rows = json_of(tree, name)
        if not isinstance(rows, list):
            raise ValueError("it is not a list of tasks")
        return rows
    text = tree.path(name).read_bytes().decode("utf-8-sig")
    delimiter = "\t" if text.partition("\n")[0].count("\t") > text.partition("\n")[0].count(",") else ","
    csv.field_size_limit(1 << 30)
    return [
        {key: _cell(value) for key, value in row.items()}
        for row in csv.DictReader(io.StringIO(text), delimiter=delimiter)
    ]


def _cell(value: object) -> object:
    """JSON where a cell holds some; else the text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _task(row: object, place: str, found: Annotations) -> tuple[str, list[dict[str, Any]], str | None]:
    """The picture's address, what was marked, and the split.

    Raises:
        ValueError: it names no picture.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:60]} is no task")
    data = row.get("data") if isinstance(row.get("data"), dict) else row
    assert data is not None
    address = _address(data, row)
    split = SPLIT_WORDS.get(str(data.get("split") or "").lower())
    if data is row:
        return address, list(_short_results(row)), split
    done = [each for each in records_of(row.get("annotations"), place, found) if not each.get("was_cancelled")]
    done.sort(key=lambda each: not each.get("ground_truth"))
    if len(done) > 1:
        found.counts["annotations of an image that another annotator has done were left out"] += len(done) - 1
    results = records_of(done[0].get("result"), place, found) if done else []
    return address, results, split


def _address(data: dict[str, Any], row: dict[str, Any]) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str) and key not in _BOOKKEEPING}
    if isinstance(texts.get("image"), str):
        return str(texts["image"])
    named = [value for value in texts.values() if re.search(r"\.\w{3,5}$", value.partition("?d=")[2] or value)]
    if len(named) != 1:
        raise ValueError(f"it names {len(named)} images, not one: {', '.join(sorted(map(str, row)))}")
    return named[0]


def _short_results(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a row of JSON_MIN or CSV holds, in the form of the full export."""
    for key, value in row.items():
        if key in _BOOKKEEPING or key == "image":
            continue
        if isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    kind = next((name for name in each if _SHAPES.fullmatch(name)), "")
                    yield {"type": kind, "value": each, **_sides(each)}
        elif isinstance(value, dict) and isinstance(value.get("choices"), list):
            yield {"type": "choices", "value": value}
        elif isinstance(value, str) and key == "choice" and value.strip():
            yield {"type": "choices", "value": {"choices": [value]}}


def _read_results(
    place: str, results: list[dict[str, Any]], found: Annotations
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    objects: list[AnnotatedObject] = []
    tags: list[str] = []
    for number, result in enumerate(results):
        kind, value = str(result.get("type") or ""), result.get("value")
        if not isinstance(value, dict):
            continue
        if kind in ("choices", "taxonomy"):
            tags += [str(choice[-1] if isinstance(choice, list) else choice) for choice in _list(value.get(kind))]
            continue
        if not _SHAPES.fullmatch(kind):
            found.counts[f"results of type {kind or '(none)'} were passed over"] += 1
            continue
        if not (labels := _list(value.get(kind))):
            found.defects.append(Defect(f"{place}, object {number + 1}", "it has no label"))
        for position, written in enumerate(labels):
            key = str(number) if position == 0 else f"{number}-{position}"
            try:
                label = label_of(written)
            except ValueError as error:
                found.defects.append(Defect(f"{place}, object {key}", str(error)))
                continue
            try:
                objects.append(_object(kind, {**_sides(result), **value}, label, key))
            except ValueError as error:
                objects.append(AnnotatedObject(label, key=key, fault=str(error)))
    return tuple(objects), tuple(tags)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _sides(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result.get(key) for key in ("original_width", "original_height")}


def _object(kind: str, value: dict[str, Any], label: str, key: str) -> AnnotatedObject:
    facts: dict[str, Any] = {"key": key, "is_fraction": True}
    if kind == "polygonlabels":
        points = [numbers_of(point, "a point", 2) for point in value.get("points") or []]
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points: three or more are an area")
        return outlined(label, Polygons((tuple(number / 100 for point in points for number in point),)), **facts)
    if kind == "ellipselabels":
        x, y, across, down = (number_of(value.get(key), key) / 100 for key in ("x", "y", "radiusX", "radiusY"))
        return outlined(label, ellipse(x, y, across, down), **facts)
    if kind == "rectanglelabels":
        left, top, width, height = (number_of(value.get(key), key) / 100 for key in ("x", "y", "width", "height"))
        degrees = number_of(value.get("rotation") or 0, "rotation")
        if degrees:
            return _turned(label, (left, top, width, height), degrees, value, facts)
        return AnnotatedObject(label, (left, top, left + width, top + height), **facts)
    if kind == "brushlabels":
        raise ValueError("masks that are painted (brushlabels) are not read: export them as COCO or PNG")
    return AnnotatedObject(label, key=key)  # key points


def _turned(
    label: str, extent: tuple[float, ...], degrees: float, value: dict[str, Any], facts: dict[str, Any]
) -> AnnotatedObject:
    """A rectangle that is turned about its first corner: in pixels, because percent are of two sides."""
    size = size_of(value.get("original_width"), value.get("original_height"))
    if size is None:
        raise ValueError("a rectangle that is turned needs original_width and original_height")
    wide, high = size
    left, top, width, height = extent
    ring = rotated(left * wide, top * high, width * wide, height * high, degrees, about_centre=False).rings[0]
    flat = tuple(number / (high if place % 2 else wide) for place, number in enumerate(ring))
    return outlined(label, Polygons((flat,)), **facts)
