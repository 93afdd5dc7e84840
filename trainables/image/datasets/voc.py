"""PASCAL VOC, and anything else in its layout: Annotations/*.xml beside JPEGImages/."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    COLUMN_SETTINGS,
    Box,
    Dataset,
    Defect,
    Example,
    Listing,
    Recognised,
    table_of,
)
from trainables.image.datasets.tree import Tree, suffix
from trainables.image.datasets.voc_download import download, has_archive, missing_message
from trainables.image.index import SPLITS
from trainables.image.pixels.decode import SUFFIXES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from trainables.image.data_config import DataConfig

LISTS = ("train", "val", "trainval", "test")
_UNBOUNDED = 1 << 30  # pixels; where the annotation does not say how large the picture is, decoding clips the box


@dataclass(frozen=True)
class VocObject:
    """One annotated object.

    Attributes:
        number: its position in the annotation, from 0.
        name: its class.
        box: in pixels from 0, right and bottom just outside; None in the view `images`, which needs none.
    """

    number: int
    name: str
    box: Box | None


class Voc(Dataset):
    """Photos with annotated objects.

    The view `images` has an example a photo, with every class that is in it (multi-label). The view `crops` has an
    example an object (one label); the crops of a photo are one group. Classes come from the annotations. The view
    `foreground` is in `voc_foreground`.

    Which photos: those listed in `ImageSets/Main/{train,val,trainval,test}.txt` when there are such lists (VOC has
    annotations beside them that name only some of the objects), otherwise all that are annotated.
    """

    views = ("images", "crops", "foreground")
    unused_settings = ("table", "options", *COLUMN_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """An XML file whose root is `<annotation>`, in Annotations/ beside JPEGImages/."""
        for folder in tree.folders.values():
            if {"Annotations", "JPEGImages"} <= set(folder.folders):
                annotations = tree.folders[folder.at("Annotations")]
                seen = [annotations.at(name) for name in annotations.files if suffix(name) == ".xml"]
                if any(b"<annotation" in tree.head(name, 4096) for name in seen[:5]):
                    return Recognised("voc", f"PASCAL VOC: {annotations.path}/*.xml beside JPEGImages/")
        return None

    def examples(self, progress: Progress = no_progress) -> Listing:
        folder = find_folder(self.data)
        if self.data.download and (folder is None or (_is_incomplete(folder) and has_archive(self.data))):
            download(self.data)
            folder = find_folder(self.data)
        if folder is None:
            raise DataError(missing_message(self.data, candidates(self.data)))
        if self.data.view == "foreground":
            from trainables.image.datasets.voc_foreground import ForegroundReader

            return ForegroundReader(self.data, folder).listing(progress)
        return _Reader(self.data, folder).listing(progress)


def candidates(data: DataConfig) -> list[Path]:
    """Where the layout is looked for: root itself, and what torchvision or a user may have put below it."""
    assert data.root is not None
    year = year_of(data)
    below = ("", f"VOC{year}", f"VOCdevkit/VOC{year}", f"TrainVal/VOCdevkit/VOC{year}")
    return [data.root / name for name in below]


def year_of(data: DataConfig) -> str:
    """The year that is asked for: as given, or of a root like `VOC2012`, or 2012."""
    assert data.root is not None
    name = data.root.name
    return data.year or (name[3:] if name.startswith("VOC20") and name[3:].isdigit() else "2012")


def find_folder(data: DataConfig) -> Path | None:
    """The folder that holds Annotations/ and JPEGImages/, or None.

    Raises:
        DataError: there are several years below root and none was chosen.
    """
    for folder in candidates(data):
        if (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir():
            return folder
    assert data.root is not None
    found = [
        path.parent for pattern in ("VOC20*", "VOCdevkit/VOC20*") for path in data.root.glob(f"{pattern}/Annotations")
    ]
    found = [folder for folder in found if (folder / "JPEGImages").is_dir()]
    if data.year is None and len(found) == 1:
        return found[0]
    if found and not data.download:
        years = ", ".join(sorted(folder.name.removeprefix("VOC") for folder in found))
        raise DataError(f"data.root: {data.root} holds VOC {years}, not {year_of(data)}: choose with data.year")
    return None


def _is_incomplete(folder: Path) -> bool:
    """Whether files that the lists name are missing, as after an unpacking that was interrupted."""
    if not (folder / "ImageSets" / "Main").is_dir():
        return True
    names = photo_list(folder, "trainval")
    pictures = {path.stem for path in (folder / "JPEGImages").iterdir()}
    annotations = {path.stem for path in (folder / "Annotations").iterdir()}
    return not names or not set(names) <= (pictures & annotations)


def pictures_by_name(folder: Path) -> dict[str, Path]:
    """The pictures in JPEGImages, by their names without suffix."""
    return {
        path.stem: path
        for path in sorted((folder / "JPEGImages").iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    }


def photo_list(folder: Path, name: str, purpose: str = "Main") -> list[str]:
    """The photos that `ImageSets/<purpose>/<name>.txt` lists; none when there is no such file."""
    path = folder / "ImageSets" / purpose / f"{name}.txt"
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.root: {path} cannot be read: {error}") from error
    return [line.split()[0] for line in lines if line.strip()]


def given_splits(data: DataConfig, folder: Path, purposes: Sequence[str]) -> dict[str, str]:
    """Photo to split, by the first of `ImageSets/<purpose>` that has lists; empty when they are not asked for.

    Raises:
        DataError: they are asked for, and there are none.
    """
    if not data.split.given:
        return {}
    for purpose in purposes:
        if given := {name: split for split in reversed(SPLITS) for name in photo_list(folder, split, purpose)}:
            return given
    raise DataError(
        f"data.split.given: no train.txt, val.txt or test.txt in {folder / 'ImageSets' / purposes[0]}: "
        "leave it out to have the photos divided by the fractions"
    )


def widened(box: Box, margin: float, width: int, height: int) -> Box:
    """A box with a margin on each side (a fraction of its width or height), inside of the picture."""
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    return (
        max(math.floor(left - across), 0),
        max(math.floor(top - down), 0),
        min(math.ceil(right + across), width),
        min(math.ceil(bottom + down), height),
    )


class _Reader:
    """Reads one VOC folder. Collects defects and counts on the way."""

    def __init__(self, data: DataConfig, folder: Path) -> None:
        self.data = data
        self.folder = folder
        self.defects: list[Defect] = []
        self.counts: Counter[str] = Counter()

    def listing(self, progress: Progress) -> Listing:
        pictures = pictures_by_name(self.folder)
        splits = self._given_splits()
        photos: list[tuple[str, Path, list[VocObject]]] = []
        names = self._names()
        for number, name in enumerate(names):
            if number % 500 == 0:
                progress("reading annotations", number, len(names))
            objects = self._objects(name)
            if objects is None:
                continue
            if name not in pictures:
                self.defects.append(Defect(f"JPEGImages/{name}", "the picture is missing"))
                continue
            photos.append((name, pictures[name], objects))
        progress("reading annotations", len(names), len(names))
        classes = tuple(sorted({item.name for _, _, objects in photos for item in objects}))
        if not classes:
            raise DataError(self._nothing_found())
        number_of = {name: position for position, name in enumerate(classes)}
        view = self._crops if self.data.view == "crops" else self._images
        examples = [
            example for name, path, objects in photos for example in view(path, objects, number_of, splits.get(name))
        ]
        return Listing(
            table_of(examples),
            classes,
            multilabel=self.data.view == "images",
            notes=tuple(f"{count} {what}" for what, count in sorted(self.counts.items())),
            defects=tuple(self.defects),
        )

    def _images(
        self, path: Path, objects: Sequence[VocObject], number_of: dict[str, int], split: str | None
    ) -> list[Example]:
        if not objects:
            self.counts["photos without an object (no label)"] += 1
        labels = sorted({number_of[item.name] for item in objects})
        return [Example(path.relative_to(self.folder).as_posix(), labels, path=path, split=split)]

    def _crops(
        self, path: Path, objects: Sequence[VocObject], number_of: dict[str, int], split: str | None
    ) -> list[Example]:
        photo = path.relative_to(self.folder).as_posix()
        return [
            Example(f"{photo}#{item.number}", [number_of[item.name]], path=path, box=item.box, group=photo, split=split)
            for item in objects
        ]

    def _names(self) -> list[str]:
        annotated = {
            path.stem
            for path in (self.folder / "Annotations").iterdir()
            if path.suffix.lower() == ".xml" and not path.name.startswith(".")
        }
        listed = {name for kind in LISTS for name in photo_list(self.folder, kind)}
        if not listed:
            return sorted(annotated)
        for name in sorted(listed - annotated):
            self.defects.append(Defect(f"Annotations/{name}.xml", "listed in ImageSets/Main, but missing"))
        if beside := len(annotated - listed):
            self.counts["annotations that no list of ImageSets/Main names were passed over"] = beside
        return sorted(listed & annotated)

    def _given_splits(self) -> dict[str, str]:
        return given_splits(self.data, self.folder, ("Main",))

    def _objects(self, name: str) -> list[VocObject] | None:
        """The objects of a photo that can be used; None when the annotation cannot be read."""
        place = f"Annotations/{name}.xml"
        try:
            root = parse_annotation(self.folder / place)
        except ValueError as error:
            self.defects.append(Defect(place, str(error)))
            return None
        size = _size(root)
        objects = []
        for number, element in enumerate(root.findall("object")):
            if is_difficult(element) and not self.data.difficult:
                self.counts["objects marked as difficult left out (data.difficult)"] += 1
                continue
            try:
                label = (element.findtext("name") or "").strip()
                if not label:
                    raise ValueError("it has no name")
                box = self._box(element, size) if self.data.view == "crops" else None
            except ValueError as error:
                self.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
                continue
            if box is not None:
                if min(box[2] - box[0], box[3] - box[1]) < self.data.min_size:
                    self.counts[f"objects smaller than data.min_size: {self.data.min_size} left out"] += 1
                    continue
                box = widened(box, self.data.margin, *(size or (_UNBOUNDED, _UNBOUNDED)))
            objects.append(VocObject(number, label, box))
        return objects

    def _box(self, element: Element, size: tuple[int, int] | None) -> Box:
        xmin, ymin, xmax, ymax = (box_side(element, side) for side in ("xmin", "ymin", "xmax", "ymax"))
        if xmax <= xmin or ymax <= ymin:
            raise ValueError(f"the box ({xmin:g}, {ymin:g})–({xmax:g}, {ymax:g}) has no area")
        # VOC counts pixels from 1 and includes the last one.
        left, top, right, bottom = math.floor(xmin - 1), math.floor(ymin - 1), math.ceil(xmax), math.ceil(ymax)
        width, height = size or (_UNBOUNDED, _UNBOUNDED)
        if min(right, width) <= max(left, 0) or min(bottom, height) <= max(top, 0):
            raise ValueError(
                f"the box ({xmin:g}, {ymin:g})–({xmax:g}, {ymax:g}) lies outside the picture of {width}×{height}"
            )
        if min(left, top) < 0 or right > width or bottom > height:
            self.counts["boxes that reached beyond their picture were clipped"] += 1
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)

    def _nothing_found(self) -> str:
        first = "".join(f"\n  {defect}" for defect in self.defects[:10])
        more = f"\n  and {len(self.defects) - 10} more" if len(self.defects) > 10 else ""
        return f"data.root: no usable annotated picture in {self.folder}{first}{more}"


def is_difficult(element: Element) -> bool:
    """Whether an object is marked as difficult to recognise."""
    return (element.findtext("difficult") or "0").strip() == "1"


def parse_annotation(path: Path) -> Element:
    """The root of an annotation.

    Raises:
        ValueError: it cannot be read, is no XML, or no annotation.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        root: Element | None = parse(path).getroot()
    except ParseError as error:
        raise ValueError(f"malformed XML: {error}") from error
    except DefusedXmlException as error:
        raise ValueError(f"refused: {type(error).__name__} (an annotation declares no entities)") from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if root is None or root.tag != "annotation":
        raise ValueError(f"its root is <{'' if root is None else root.tag}>, not <annotation>")
    return root


def _size(root: Element) -> tuple[int, int] | None:
    """Width and height as written; None when they are not there (some tools write 0)."""
    try:
        width, height = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def box_side(element: Element, side: str) -> float:
    text = element.findtext(f"bndbox/{side}")
    if text is None:
        raise ValueError(f"the box has no {side}")
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{side} is {text.strip()!r}, no number") from error
    if not abs(number) < 1e6:
        raise ValueError(f"{side} is {text.strip()}, no place in a picture")
    return number
