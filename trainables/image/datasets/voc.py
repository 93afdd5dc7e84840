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
from trainables.image.datasets.base import Box, Dataset, Defect, Example, Listing, table_of
from trainables.image.datasets.voc_download import download, has_archive, missing_message
from trainables.image.decode import SUFFIXES
from trainables.image.index import SPLITS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from trainables.image.data_config import DataConfig

LISTS = ("train", "val", "trainval", "test")


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
    example an object (one label); the crops of a photo are one group. Classes come from the annotations.

    Which photos: those listed in `ImageSets/Main/{train,val,trainval,test}.txt` when there are such lists (VOC has
    annotations beside them that name only some of the objects), otherwise all that are annotated.
    """

    views = ("images", "crops")

    def examples(self, progress: Progress = no_progress) -> Listing:
        folder = find_folder(self.data)
        if self.data.download and (folder is None or (_is_incomplete(folder) and has_archive(self.data))):
            download(self.data)
            folder = find_folder(self.data)
        if folder is None:
            raise DataError(missing_message(self.data, candidates(self.data)))
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
    names = _listed(folder, "trainval")
    pictures = {path.stem for path in (folder / "JPEGImages").iterdir()}
    annotations = {path.stem for path in (folder / "Annotations").iterdir()}
    return not names or not set(names) <= (pictures & annotations)


def _listed(folder: Path, name: str) -> list[str]:
    path = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.root: {path} cannot be read: {error}") from error
    return [line.split()[0] for line in lines if line.strip()]


class _Reader:
    """Reads one VOC folder. Collects defects and counts on the way."""

    def __init__(self, data: DataConfig, folder: Path) -> None:
        self.data = data
        self.folder = folder
        self.defects: list[Defect] = []
        self.counts: Counter[str] = Counter()

    def listing(self, progress: Progress) -> Listing:
        pictures = {
            path.stem: path
            for path in sorted((self.folder / "JPEGImages").iterdir())
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        }
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
        listed = {name for kind in LISTS for name in _listed(self.folder, kind)}
        if not listed:
            return sorted(annotated)
        for name in sorted(listed - annotated):
            self.defects.append(Defect(f"Annotations/{name}.xml", "listed in ImageSets/Main, but missing"))
        if beside := len(annotated - listed):
            self.counts["annotations that no list of ImageSets/Main names were passed over"] = beside
        return sorted(listed & annotated)

    def _given_splits(self) -> dict[str, str]:
        if not self.data.split.given:
            return {}
        given = {name: split for split in reversed(SPLITS) for name in _listed(self.folder, split)}
        if not given:
            raise DataError(
                f"data.split.given: no train.txt, val.txt or test.txt in {self.folder / 'ImageSets' / 'Main'}: "
                "leave it out to have the photos divided by the fractions"
            )
        return given

    def _objects(self, name: str) -> list[VocObject] | None:
        """The objects of a photo that can be used; None when the annotation cannot be read."""
        place = f"Annotations/{name}.xml"
        try:
            root = _parse(self.folder / place)
        except ValueError as error:
            self.defects.append(Defect(place, str(error)))
            return None
        size = _size(root)
        objects = []
        for number, element in enumerate(root.findall("object")):
            if (element.findtext("difficult") or "0").strip() == "1" and not self.data.difficult:
                self.counts["objects marked as difficult left out (data.difficult)"] += 1
                continue
            try:
                label = (element.findtext("name") or "").strip()
                if not label:
                    raise ValueError("it has no name")
                box = self._box(element, size) if self.data.view == "crops" else None
            except ValueError as error:
                self.defects.append(Defect(f"{place}, object {number + 1}", str(error)))
            else:
                objects.append(VocObject(number, label, box))
        return objects

    def _box(self, element: Element, size: tuple[int, int] | None) -> Box:
        xmin, ymin, xmax, ymax = (_number(element, side) for side in ("xmin", "ymin", "xmax", "ymax"))
        if xmax <= xmin or ymax <= ymin:
            raise ValueError(f"the box ({xmin:g}, {ymin:g})–({xmax:g}, {ymax:g}) has no area")
        across, down = self.data.margin * (xmax - xmin + 1), self.data.margin * (ymax - ymin + 1)
        # VOC counts pixels from 1 and includes the last one.
        written = math.floor(xmin - 1), math.floor(ymin - 1), math.ceil(xmax), math.ceil(ymax)
        left, top, right, bottom = (
            math.floor(xmin - 1 - across),
            math.floor(ymin - 1 - down),
            math.ceil(xmax + across),
            math.ceil(ymax + down),
        )
        width, height = size or (right, bottom)
        if min(written[2], width) <= max(written[0], 0) or min(written[3], height) <= max(written[1], 0):
            raise ValueError(
                f"the box ({xmin:g}, {ymin:g})–({xmax:g}, {ymax:g}) lies outside the picture of {width}×{height}"
            )
        if min(written[:2]) < 0 or written[2] > width or written[3] > height:
            self.counts["boxes that reached beyond their picture were clipped"] += 1
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)

    def _nothing_found(self) -> str:
        first = "".join(f"\n  {defect}" for defect in self.defects[:10])
        more = f"\n  and {len(self.defects) - 10} more" if len(self.defects) > 10 else ""
        return f"data.root: no usable annotated picture in {self.folder}{first}{more}"


def _parse(path: Path) -> Element:
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


def _number(element: Element, side: str) -> float:
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
