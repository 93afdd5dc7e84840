"""A folder in VOC's layout, or in another with VOC's XML, as annotated pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainables.contract import Progress
from trainables.errors import DataError
from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations
from trainables.image.datasets.objects.dataset import UNANNOTATED, pooled
from trainables.image.datasets.objects.places import REVERSED, is_fraction, shown
from trainables.image.datasets.objects.reading import beginning, is_mask_folder, split_of_folders, stem_of
from trainables.image.datasets.picture_names import PictureNames
from trainables.image.datasets.voc.annotation import VocAnnotation, VocObject, read_annotation
from trainables.image.datasets.voc.lists import Lists, list_files, read_lists
from trainables.image.datasets.voc.origin import (
    find_origin,
    from_zero,
    has_no_area,
    is_reversed,
    outline_from_zero,
)
from trainables.image.datasets.voc.pictures import PicturesOf, place_of

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree
    from trainables.image.settings.data import DataSettings


_ROOT = re.compile(r"\s*(<\?xml[^>]*>\s*)?((<!--.*?-->|<!DOCTYPE[^>\[]*>)\s*)*<annotation[\s>/]", re.DOTALL)
_OF_ENCODING = "not UTF-8"


def is_voc_xml(tree: Tree, name: str) -> bool:
    """Whether an XML file is an annotation of one picture in VOC's form, by its beginning."""
    text = beginning(tree, name)
    return _ROOT.match(text) is not None and "<imagesize>" not in text and "<pt>" not in text


@dataclass(frozen=True)
class VocPlaces:
    """Where things are.

    Attributes:
        tree: of the dataset's folder.
        annotations: a folder of it; "" for all.
        images: a folder of it; "" for all.
        is_official: Annotations/ and JPEGImages/ are there: what is in them is meant to be used.
    """

    tree: Tree
    annotations: str = ""
    images: str = ""
    is_official: bool = False

    def pictures(self) -> list[str]:
        """All pictures but masks."""
        return [name for name in self.tree.pictures(self.images) if self.images or not is_mask_folder(name)]


class VocReader:
    """Reads one folder."""

    def __init__(self, data: DataSettings, places: VocPlaces) -> None:
        self.data = data
        self.places = places
        self.found = Annotations()

    def read(self, progress: Progress) -> Annotations:
        """Everything that annotations and lists say.

        Raises:
            DataError: splits are asked for, but there are no lists; or a list cannot be read.
        """
        pictures = self.places.pictures()
        lists = read_lists(self.places.tree, PictureNames(pictures))
        annotations = self._annotations(pictures, progress)
        objects = self._objects(annotations)
        for picture, annotation in annotations.items():
            entry = AnnotatedPicture(picture, annotation.place, annotation.size, objects[picture])
            self.found.pictures.append(entry)
        self._add_without(pictures, annotations, lists)
        if lists.sizes:
            self._keep_listed(lists)
        self._tag(lists, bool(annotations))
        self._split(lists)
        return self.found

    def _annotations(self, pictures: Sequence[str], progress: Progress) -> dict[str, VocAnnotation]:
        """The annotation of each picture that has one."""
        tree, found = self.places.tree, self.found
        of = PicturesOf(pictures)
        names = [
            name
            for name in tree.files(self.places.annotations, frozenset({".xml"}))
            if self.places.annotations or of.has_stem(name) or is_voc_xml(tree, name)
        ]
        read: dict[str, VocAnnotation] = {}
        for number, name in enumerate(names):
            if number % 500 == 0:
                progress("reading annotations", number, len(names))
            try:
                annotation = read_annotation(tree.path(name).read_bytes(), name, found.defects, found.counts)
            except (ValueError, OSError) as error:
                found.defects.append(Defect(name, (error.strerror if isinstance(error, OSError) else "") or str(error)))
                self._claim(of, name, "")
                continue
            try:
                picture = of.find(name, annotation.file)
            except ValueError as error:
                found.defects.append(Defect(name, str(error)))
                continue
            if (first := read.get(picture)) is not None:
                nearer = place_of(name) == place_of(picture) != place_of(first.place)
                loser, winner = (first, annotation) if nearer else (annotation, first)
                reason = f"{picture} is annotated in {winner.place} (data.annotations chooses a folder)"
                found.defects.append(Defect(loser.place, reason))
                annotation = winner
            read[picture] = annotation
        progress("reading annotations", len(names), len(names))
        return self._of_known_encoding(read) if any(_OF_ENCODING in each.reason for each in found.defects) else read

    def _of_known_encoding(self, read: dict[str, VocAnnotation]) -> dict[str, VocAnnotation]:
        """Where some files are in an encoding that they do not declare, others may be, too, and yield other letters."""
        doubtful = {picture: each for picture, each in read.items() if each.is_guessed}
        for picture, annotation in doubtful.items():
            reason = "it does not declare its encoding, and others here, which do not either, are not UTF-8"
            self.found.defects.append(Defect(annotation.place, reason))
            self.found.claimed.add(picture)
        return {picture: each for picture, each in read.items() if picture not in doubtful}

    def _claim(self, of: PicturesOf, name: str, file: str) -> None:
        """A picture whose annotation cannot be read is not one without an object."""
        try:
            self.found.claimed.add(of.find(name, file))
        except ValueError:
            return  # the annotation itself is named already

    def _objects(self, annotations: dict[str, VocAnnotation]) -> dict[str, tuple[AnnotatedObject, ...]]:
        """The objects of each picture, with edges from 0; without places where whole pictures are asked for."""
        if self.data.view == "images":
            return {
                picture: tuple(AnnotatedObject(item.label, difficult=item.is_difficult) for item in annotation.objects)
                for picture, annotation in annotations.items()
            }
        boxes = [
            item.sides
            for annotation in annotations.values()
            for item in annotation.objects
            if item.sides is not None and not has_no_area(item.sides)
        ]
        fractions = sum(map(is_fraction, boxes))
        all_fractions = 0 < fractions == len(boxes)
        if all_fractions:
            origin = 0
            self.found.notes.append(f"all {fractions} boxes are fractions of their image, not pixels")
        else:
            origin, note = find_origin(list(annotations.values()), self.data.box_origin)
            self.found.notes += [note] if boxes else []
        return {
            picture: tuple(self._object(item, origin, all_fractions=all_fractions) for item in annotation.objects)
            for picture, annotation in annotations.items()
        }

    def _object(self, item: VocObject, origin: int, *, all_fractions: bool) -> AnnotatedObject:
        facts: dict[str, Any] = {"key": str(item.number), "difficult": item.is_difficult}
        if item.sides is None:
            return AnnotatedObject(item.label, fault=item.fault, **facts)
        fault = ""
        if has_no_area(item.sides):
            fault = f"the box {shown(item.sides)} has no area"
        elif is_fraction(item.sides) and not all_fractions:
            fault = f"the box {shown(item.sides)} is a fraction of the image, and others here are pixels"
        elif is_reversed(item.sides):
            self.found.counts[REVERSED] += self.data.view == "crops"
        return AnnotatedObject(
            item.label,
            from_zero(item.sides, origin),
            None if item.outline is None else outline_from_zero(item.outline, origin),
            is_fraction=all_fractions,
            fault=fault,
            **facts,
        )

    def _add_without(self, pictures: Sequence[str], annotations: dict[str, VocAnnotation], lists: Lists) -> None:
        """Pictures without an annotation: with nothing to see, as far as one knows."""
        known = set(map(stem_of, annotations))
        for picture in pictures:
            if picture in annotations or picture in self.found.claimed:
                continue
            if stem_of(picture) in known:
                self.found.counts["images that share the name of an annotated one were passed over"] += 1
                continue
            if lists.sizes and picture not in lists.pictures:
                self.found.counts["images that neither an annotation nor a list names were passed over"] += 1
                continue
            self.found.pictures.append(AnnotatedPicture(picture, picture))
            if annotations:
                self.found.counts[UNANNOTATED] += 1

    def _keep_listed(self, lists: Lists) -> None:
        found = self.found
        kept = [each for each in found.pictures if each.picture in lists.pictures]
        found.counts["annotations that no list of ImageSets/Main names were passed over"] += len(found.pictures) - len(
            kept
        )
        found.pictures = kept
        faulty = {defect.name.rpartition("/")[2].rpartition(".")[0] for defect in found.defects}
        for name, place in lists.missing.items():
            if name.rpartition("/")[2] not in faulty:
                reason = f"listed in {place}, but there is neither an image nor an annotation of this name"
                found.defects.append(Defect(name, reason))

    def _tag(self, lists: Lists, has_annotations: bool) -> None:
        """The lists of one class label pictures where no annotation does; else they are compared with them."""
        if not lists.positive:
            return
        found = self.found
        classes = {
            each.picture: lists.positive.get(each.picture, set())
            | (lists.unsure.get(each.picture, set()) if self.data.difficult else set())
            for each in found.pictures
        }
        if not has_annotations:
            found.pictures = [replace(each, tags=tuple(sorted(classes[each.picture]))) for each in found.pictures]
            return
        others = sum(
            classes[each.picture] != {item.label for item in each.objects if self.data.difficult or not item.difficult}
            for each in found.pictures
        )
        if others and self.data.view == "images":
            found.notes.append(
                f"the lists of classes (ImageSets/Main) say otherwise of {others} images: their annotations count"
            )

    def _split(self, lists: Lists) -> None:
        """Lists are kept when asked for; folders such as train/ and valid/ are kept unless they are not to be."""
        given, found = self.data.split.given, self.found
        place = self.places.tree.root / "ImageSets/Main"
        if list_files(self.places.tree):
            if given:
                splits = lists.splits
                if not splits:
                    raise DataError(
                        f"data.split.given: no train.txt, val.txt or test.txt in {place}{_others(lists)}: "
                        "leave it out to have the photos divided by the fractions"
                    )
                found.pictures = [replace(each, split=splits.get(each.picture)) for each in found.pictures]
            elif given is None and lists.named_splits:
                found.notes.append(
                    f"the lists of ImageSets/Main ({lists.named_splits}) are not kept as splits: "
                    "data.split.given: true keeps them"
                )
            return
        found.pictures = [replace(each, split=split_of_folders(each.picture)) for each in found.pictures]
        if given is False:
            pooled(found)
        if given and not any(each.split for each in found.pictures):
            raise DataError(
                f"data.split.given: no train.txt, val.txt or test.txt in {place}, and no folders of these names: "
                "leave it out to have the photos divided by the fractions"
            )


def _others(lists: Lists) -> str:
    return f" (there is {', '.join(f'{name}.txt' for name in lists.sizes)})" if lists.sizes else ""
