"""The three views of annotated pictures: whole pictures, crops of objects, objects without their surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.contract import Progress, no_progress
from trainables.cpus import num_cpus
from trainables.errors import DataError
from trainables.image.datasets.base import Box, Defect, Example, Listing, Mask, table_of
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.frames import Frame, read_frames
from trainables.image.datasets.objects.outlines import mask_of
from trainables.image.datasets.objects.places import in_pixels, whole_box, widened
from trainables.image.pixels.header import header_of

if TYPE_CHECKING:
    from trainables.image.settings.data import DataSettings

DIFFICULT = "objects marked as difficult left out (data.difficult)"
_SHOWN = 10  # defects in a message


def listing_of(found: Annotations, data: DataSettings, folder: Path, progress: Progress = no_progress) -> Listing:
    """The examples of `data.view`.

    Args:
        found: all that the annotations hold; its counts and defects grow.
        data: which view, and its settings.
        folder: that the pictures' paths count from.
        progress: is told how far it is.

    Raises:
        DataError: there is nothing to use.
    """
    found.pictures.sort(key=lambda each: each.picture)
    kept = _without_difficult(found, data)
    if data.view == "images":
        return _whole(kept, found, folder)
    items = [item for picture in kept for item in picture.objects]
    if not items:
        hint = " (labels of whole images are for the view images)" if any(each.tags for each in kept) else ""
        raise DataError(nothing_found(found, folder, f"no annotated object for the view {data.view}{hint}"))
    examples, classes = _cut(kept, found, data, folder, progress)
    return _listing(examples, classes, found, multilabel=False)


def _without_difficult(found: Annotations, data: DataSettings) -> list[AnnotatedPicture]:
    if data.difficult:
        return found.pictures
    kept = []
    for picture in found.pictures:
        easy = tuple(item for item in picture.objects if not item.difficult)
        found.counts[DIFFICULT] += len(picture.objects) - len(easy)
        kept.append(_with_objects(picture, easy))
    return kept


def _with_objects(picture: AnnotatedPicture, objects: tuple[AnnotatedObject, ...]) -> AnnotatedPicture:
    return picture if len(objects) == len(picture.objects) else replace(picture, objects=objects)


def _whole(pictures: Sequence[AnnotatedPicture], found: Annotations, folder: Path) -> Listing:
    """A picture is an example. What is in it are its classes; where nothing is marked, what it is labelled as."""
    labels, multilabel = _labels(pictures, found)
    classes = tuple(sorted({name for each in labels for name in each}))
    if not classes:
        raise DataError(nothing_found(found, folder, "no usable annotated image"))
    number_of = {name: number for number, name in enumerate(classes)}
    examples = []
    for picture, names in zip(pictures, labels, strict=True):
        if not names:
            found.counts[
                "photos without an object (no label)" if multilabel else "photos without a label left out"
            ] += 1
            if not multilabel:
                continue
        numbers = [number_of[name] for name in names]
        path = folder / picture.picture
        examples.append(Example(picture.picture, numbers, path=path, split=picture.split, group=picture.group))
    return _listing(examples, classes, found, multilabel=multilabel)


def _labels(pictures: Sequence[AnnotatedPicture], found: Annotations) -> tuple[list[list[str]], bool]:
    """The classes of each picture, and whether it may have several.

    Labels of whole pictures count where each picture with objects has one; else the classes of the objects.
    """
    tags = [sorted(set(picture.tags)) for picture in pictures]
    marked = [picture for picture in found.pictures if picture.objects]
    if not marked:
        return tags, any(len(each) > 1 for each in tags)
    if all(picture.tags for picture in marked) and len({name for each in tags for name in each}) > 1:
        found.notes.append("images are labelled as a whole, too: these labels count, not the objects (view images)")
        return tags, any(len(each) > 1 for each in tags)
    if tagged := sum(map(bool, tags)):
        found.notes.append(f"{tagged} images are labelled as a whole, too: the classes of objects count (view images)")
    return [sorted({item.label for item in picture.objects}) for picture in pictures], True


@dataclass(frozen=True)
class _Cut:
    """An object that becomes an example."""

    picture: AnnotatedPicture
    suffix: str
    label: str
    box: Box
    mask: Mask | None


def _cut(
    pictures: Sequence[AnnotatedPicture], found: Annotations, data: DataSettings, folder: Path, progress: Progress
) -> tuple[list[Example], tuple[str, ...]]:
    headers = []
    with ThreadPoolExecutor(num_cpus(), thread_name_prefix="headers") as pool:
        for number, header in enumerate(pool.map(header_of, [folder / each.picture for each in pictures])):
            if number % 500 == 0:
                progress("reading the sizes of images", number, len(pictures))
            headers.append(header)
    progress("reading the sizes of images", len(pictures), len(pictures))
    readings = read_frames(pictures, headers)
    found.counts += readings.counts
    cuts: list[_Cut] = []
    for picture, frame in zip(pictures, readings.frames, strict=True):
        if isinstance(frame, str):
            found.defects.append(Defect(picture.place, frame))
            continue
        objects = [item for item in picture.objects if not item.crowd]
        found.counts["regions that stand for many objects at once (crowds) left out"] += len(picture.objects) - len(
            objects
        )
        find = _classes if data.view == "foreground" and data.mask == "class" else _objects
        cuts += find(picture, objects, frame, data, found)
    classes = tuple(sorted({cut.label for cut in cuts}))
    if not classes:
        raise DataError(nothing_found(found, folder, f"no object can be used for the view {data.view}"))
    number_of = {name: number for number, name in enumerate(classes)}
    paths = {picture.picture: folder / picture.picture for picture in pictures}
    examples = [
        Example(
            f"{cut.picture.picture}#{cut.suffix}",
            [number_of[cut.label]],
            path=paths[cut.picture.picture],
            box=cut.box,
            mask=cut.mask,
            group=cut.picture.group or cut.picture.picture,
            split=cut.picture.split,
        )
        for cut in cuts
    ]
    return examples, classes


def _objects(
    picture: AnnotatedPicture, objects: Sequence[AnnotatedObject], frame: Frame, data: DataSettings, found: Annotations
) -> Iterator[_Cut]:
    for number, item in enumerate(objects):
        key = item.key or str(number)
        try:
            if item.fault:
                raise ValueError(item.fault)
            if data.view == "foreground" and item.outline is None:
                found.counts["objects without an outline left out (view foreground)"] += 1
                continue
            if item.box is None:
                found.counts["objects without an extent (points, lines) left out"] += 1
                continue
            box = whole_box(item, frame, found.counts)
            if _is_small(box, data, found):
                continue
            mask = _mask([item], frame, data) if data.view == "foreground" else None
        except ValueError as error:
            found.defects.append(Defect(_place(picture, item, number), str(error)))
            continue
        yield _Cut(picture, key, item.label, widened(box, data.margin, *frame.size), mask)


def _classes(
    picture: AnnotatedPicture, objects: Sequence[AnnotatedObject], frame: Frame, data: DataSettings, found: Annotations
) -> Iterator[_Cut]:
    """All that a picture shows of a class is one example."""
    members: dict[str, list[tuple[AnnotatedObject, Box]]] = {}
    for number, item in enumerate(objects):
        try:
            if item.fault:
                raise ValueError(item.fault)
            if item.outline is None or item.box is None:
                found.counts["objects without an outline left out (view foreground)"] += 1
                continue
            _mask([item], frame, data)
            members.setdefault(item.label, []).append((item, whole_box(item, frame, found.counts)))
        except ValueError as error:
            found.defects.append(Defect(_place(picture, item, number), str(error)))
    for label, group in sorted(members.items()):
        boxes = [box for _, box in group]
        left, top = (min(box[side] for box in boxes) for side in (0, 1))
        right, bottom = (max(box[side] for box in boxes) for side in (2, 3))
        box = (left, top, right, bottom)
        if not _is_small(box, data, found):
            mask = _mask([item for item, _ in group], frame, data)
            yield _Cut(picture, label, label, widened(box, data.margin, *frame.size), mask)


def _mask(items: Sequence[AnnotatedObject], frame: Frame, data: DataSettings) -> Mask:
    outlines = []
    for item in items:
        outline = item.outline
        assert outline is not None
        if item.is_fraction and isinstance(outline, Polygons):
            outline = in_pixels(outline, frame.written)
        outlines.append(outline)
    return mask_of(outlines, frame, data.background)


def _is_small(box: Box, data: DataSettings, found: Annotations) -> bool:
    small = min(box[2] - box[0], box[3] - box[1]) < data.min_size
    found.counts[f"objects smaller than data.min_size: {data.min_size} left out"] += small
    return small


def _place(picture: AnnotatedPicture, item: AnnotatedObject, number: int) -> str:
    key = item.key or str(number)
    return f"{picture.place}, object {int(key) + 1 if key.isdigit() else key}"


def _listing(examples: list[Example], classes: tuple[str, ...], found: Annotations, *, multilabel: bool) -> Listing:
    if unused := sorted(set(found.named) - set(classes)):
        some = ", ".join(repr(name) for name in unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
        found.notes.append(f"{len(unused)} named classes have no example: {some}")
    notes = [*found.notes, *(f"{count} {what}" for what, count in sorted((+found.counts).items()))]
    return Listing(table_of(examples), classes, multilabel=multilabel, notes=tuple(notes), defects=tuple(found.defects))


def nothing_found(found: Annotations, folder: Path, what: str) -> str:
    """Why there is no example: what was found, the first defects, and counts."""
    num_objects = sum(len(picture.objects) for picture in found.pictures)
    num_tagged = sum(bool(picture.tags) for picture in found.pictures)
    parts = [f"{len(found.pictures)} images with {num_objects} objects; {num_tagged} images have a label of their own"]
    parts += [str(defect) for defect in found.defects[:_SHOWN]]
    parts += [f"and {len(found.defects) - _SHOWN} more"] if len(found.defects) > _SHOWN else []
    parts += [f"{count} {note}" for note, count in sorted((+found.counts).items())] + found.notes
    return f"data.root: {what} in {folder}" + "".join(f"\n  {part}" for part in parts)
