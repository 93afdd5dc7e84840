"""The base class of datasets of annotated objects: a subclass reads one format, the views are common."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets.base import VOC_SETTINGS, Dataset, Defect, Listing, Recognised, unused_but
from trainables.image.datasets.objects.annotated import AnnotatedPicture, Annotations
from trainables.image.datasets.objects.reading import (
    is_mask_folder,
    json_of,
    picture_meant,
    samples,
    split_of_folders,
    stem_of,
    xml_of,
)
from trainables.image.datasets.objects.views import listing_of
from trainables.image.datasets.readings import annotated

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree


OF_VOC = ("year", "box_origin")


class AnnotatedPictures(Dataset):
    """Pictures whose annotations are files of one format. Subclass it, write `read` and `files_of`.

    Class attributes:
        name: of the dataset, as in `BUILT_IN`.
        title: the format's name, for messages.
        suffixes: of its annotation files.
    """

    views = ("images", "crops", "foreground")
    unused_settings: ClassVar[tuple[str, ...]] = unused_but(*(key for key in VOC_SETTINGS if key not in OF_VOC))
    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]

    @classmethod
    @abstractmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        """Whether a file is an annotation of this format, by its beginning."""

    @abstractmethod
    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        """Reads annotation files into `found`.

        What cannot be used is a defect there; nothing is raised for one file.
        """

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        if not any(cls.is_mine(tree, name) for name in samples(tree, cls.suffixes)):
            return None
        names = cls.files_of(tree)
        return Recognised(cls.name, f"{cls.title}: {few_of(names, 1)}, {VIEWS}", parts=cls.parts_of(tree, names))

    @classmethod
    def parts_of(cls, tree: Tree, names: list[str]) -> tuple[str, ...]:
        """What belongs to the layout, so that it is nothing else: its annotations, and what lies beside them."""
        return tuple(names)

    @classmethod
    def files_of(cls, tree: Tree, under: str = "") -> list[str]:
        """The annotation files of this format below a folder (or that one file), in order."""
        if under in tree:
            return [under]
        return [name for name in tree.files(under, cls.suffixes) if cls.is_mine(tree, name)]

    def examples(self, progress: Progress = no_progress) -> Listing:
        tree = self.tree
        names = self.files_of(tree, self.place(tree, self.data.annotations, "annotations"))
        if not names:
            place = self.root / (self.data.annotations or "")
            raise DataError(f"data.root: no annotation of {self.title} in {place}{others(tree)}")
        found = Annotations()
        self._name_strays(tree, names, found)
        self.read(tree, names, found)
        self.without_repeats(found)
        self._count_unlisted(tree, found)
        if self.data.split.given is False:
            pooled(found)
        if not found.pictures and found.defects and all(each.reason.startswith(MISSING) for each in found.defects):
            raise DataError(
                f"data.root: {names[0]} ({self.title}) names {len(found.defects)} images, and none of them is in "
                f"{self.root / (self.data.images or '')}; the first: {found.defects[0].name}\n"
                "  Put the images there, or choose as data.root a folder that holds both"
            )
        return listing_of(found, self.data, self.root, progress)

    def _name_strays(self, tree: Tree, names: list[str], found: Annotations) -> None:
        """Names the files among the annotations that do not begin as one: damaged ones are not lost in silence."""
        folders, files = ({name.rpartition("/")[place] for name in names} for place in (0, 2))
        known = {*names, *self.passed_over(tree)}
        for name in tree.files("", self.suffixes):
            folder, _, file = name.rpartition("/")
            if name in known or (folder not in folders and file not in files):
                continue
            try:
                if tree.head(name).lstrip()[:1] == b"<":
                    xml_of(tree.path(name).read_bytes())
                elif name.lower().endswith(".json"):
                    json_of(tree, name)
            except (ValueError, OSError) as error:
                found.defects.append(Defect(name, str(error)))
                self.claim(tree, name, found)
            else:
                found.notes.append(f"{name} is no annotation of {self.title}: passed over")

    def passed_over(self, tree: Tree) -> list[str]:
        """Annotation files of this format that say nothing new, and are told of elsewhere."""
        return []

    @staticmethod
    def claim(tree: Tree, name: str, found: Annotations) -> None:
        """Notes that a picture has an annotation, which cannot be read: it is none without an object."""
        with contextlib.suppress(ValueError):  # an annotation of many pictures, or of one that is not there
            found.claimed.add(picture_meant(tree, stem_of(name).rpartition("/")[2], name))

    def place(self, tree: Tree, setting: str | None, key: str) -> str:
        """A file or folder that a setting names, below the root; "" where it is not set.

        Raises:
            DataError: there is none.
        """
        name = (setting or "").strip("/").removeprefix("./")
        if name in ("", "."):
            return ""
        if name not in tree and name not in tree.folders:
            raise DataError(f"data.{key}: there is no {name} in {self.root}")
        return name

    def picture(self, tree: Tree, name: str, near: str, found: Annotations, *hints: str) -> str | None:
        """The picture that an annotation names; None, and a defect, where there is none or it is not clear."""
        under = self.place(tree, self.data.images, "images")
        try:
            return picture_meant(tree, name, near, (under,) if under else (*hints, ""))
        except ValueError as error:
            found.defects.append(Defect(name, f"{MISSING} {near} names it, but {error}"))
            return None

    def _count_unlisted(self, tree: Tree, found: Annotations) -> None:
        """Counts the pictures that no annotation names, of formats that list their pictures."""
        known = {picture.picture for picture in found.pictures}
        others = sum(name not in known for name in tree.pictures(self.place(tree, self.data.images, "images")))
        found.counts["images that no annotation names were passed over"] += others if known else 0

    def add_unannotated(self, tree: Tree, found: Annotations) -> None:
        """Adds the pictures that have no annotation of their own, where each annotation is a file.

        They are pictures without an object in the view `images`, which says how many.
        """
        under = self.place(tree, self.data.images, "images")
        known = {stem_of(picture.picture) for picture in found.pictures} | set(map(stem_of, found.claimed))
        for name in tree.pictures(under):
            if stem_of(name) not in known and not is_mask_folder(name):
                found.pictures.append(AnnotatedPicture(name, name, split=split_of_folders(name)))
                found.counts[UNANNOTATED] += 1

    @staticmethod
    def without_repeats(found: Annotations) -> None:
        """Of several annotations of a picture, those that say the same are one; others are named."""
        kept: dict[str, AnnotatedPicture] = {}
        for picture in found.pictures:
            first = kept.setdefault(picture.picture, picture)
            if first is picture:
                continue
            if picture.objects == first.objects and picture.tags == first.tags and picture.split == first.split:
                found.counts["annotations that repeat another were read once"] += 1
            else:
                found.defects.append(
                    Defect(picture.place, f"{picture.picture} is annotated in {first.place} already, and otherwise")
                )
        found.pictures = list(kept.values())


VIEWS = "read as images with the classes of their objects (view images), or as objects (crops, foreground)"
UNANNOTATED = "images have no annotation: they count as images without an object (view images)"
MISSING = "the image is missing:"


def pooled(found: Annotations) -> None:
    """Forgets the data set's own splits."""
    if splits := sorted({picture.split for picture in found.pictures if picture.split}):
        found.notes.append(f"{', '.join(splits)}: pooled, and divided again (data.split.given)")
    found.pictures = [replace(picture, split=None) for picture in found.pictures]


def others(tree: Tree) -> str:
    """What lies there instead of what was asked for, as far as it is recognised."""
    found = "".join(f"\n  {claim.found}: dataset: {claim.dataset}" for claim in annotated(tree))
    return f"\n  There is, however:{found}" if found else ""
