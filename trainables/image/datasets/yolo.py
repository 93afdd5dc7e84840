"""YOLO's txt files: one per image, one line per object, in fractions of the picture."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from trainables.errors import DataError
from trainables.image.datasets.base import Defect, Recognised
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, Polygons
from trainables.image.datasets.objects.dataset import VIEWS, AnnotatedPictures
from trainables.image.datasets.objects.places import outlined
from trainables.image.datasets.objects.reading import beginning, is_mask_folder, samples, split_of_folders
from trainables.image.datasets.yolo_names import Names, has_names, read_names

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_LINE = re.compile(r"\d+(\.0+)?(\s+[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?){4,}\s*", re.IGNORECASE)
_PICTURE_FOLDERS = frozenset({"images", "image", "imgs", "img", "data", "jpegimages", "pictures", "photos"})
_LABEL_FOLDERS = ("labels", "label", "annotations", "txt")
_LISTS = re.compile(r"(classes|labels|names|train|val|valid|test|images|obj|readme.*|license.*)\.txt", re.IGNORECASE)


class Yolo(AnnotatedPictures):
    """Ultralytics (`images/`, `labels/`, `data.yaml`), Darknet (`obj.names`, `train.txt`), LabelImg (`classes.txt`).

    A label file lies beside its picture, or in `labels/` where the picture lies in `images/`. Splits are those of
    `data.yaml`, of lists such as `train.txt`, or of folders. A picture without a label file has no object.
    """

    name = "yolo"
    title = "YOLO txt"
    suffixes = frozenset({".txt"})

    @classmethod
    def is_mine(cls, tree: Tree, name: str) -> bool:
        """Whether each line is a class number and fractions; an empty file says nothing."""
        if _LISTS.fullmatch(PurePosixPath(name).name):
            return False
        lines = [line for line in beginning(tree, name).splitlines()[:20] if line.strip()]
        return bool(lines) and all(_LINE.fullmatch(line) and _are_fractions(line) for line in lines)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        few = [name for name in samples(tree, cls.suffixes) if not _LISTS.fullmatch(PurePosixPath(name).name)]
        names = [name for name in few if cls.is_mine(tree, name)]
        if not names and not (has_names(tree) and not any(map(tree.head, few)) and cls.files_of(tree)):
            return None
        found = f"{cls.title}: {names[0] if names else 'label files, all empty'}, {VIEWS}"
        return Recognised(cls.name, found, parts=tuple(tree.files("", cls.suffixes)))

    @classmethod
    def files_of(cls, tree: Tree, under: str = "") -> list[str]:
        """All label files, if those that are not empty are of this format."""
        if under in tree:
            raise DataError(f"data.annotations: {under} is one file: name the folder of label files")
        names = [name for name in tree.files(under, cls.suffixes) if not _LISTS.fullmatch(PurePosixPath(name).name)]
        if any(cls.is_mine(tree, name) for name in names):
            return names
        # Nothing but empty files: a set without an object, if something says that it is one of YOLO's.
        return names if has_names(tree) and not any(beginning(tree, name).strip() for name in names) else []

    def _count_unlisted(self, tree: Tree, found: Annotations) -> None:
        """None: each picture is looked at, and what is passed over is counted there."""

    def _name_strays(self, tree: Tree, names: list[str], found: Annotations) -> None:
        """None: any file of the suffix is read, but for lists."""

    def read(self, tree: Tree, names: list[str], found: Annotations) -> None:
        listed = read_names(tree, found)
        labels = set(names)
        by_place = {_place_of_label(name): name for name in names}
        under = self.place(tree, self.data.images, "images")
        for picture in tree.pictures(under):
            label = _label_of(picture, labels) or by_place.get(_place_of_picture(picture))
            split = listed.splits.get(picture) or (None if listed.splits else split_of_folders(picture))
            if listed.splits and picture not in listed.splits:
                found.counts["images that no list names were passed over"] += 1
                labels.discard(label or "")
                continue
            if label is None:
                if not is_mask_folder(picture):
                    found.counts["images have no label file: they count as images without an object"] += 1
                    found.pictures.append(AnnotatedPicture(picture, picture, split=split))
                continue
            labels.discard(label)
            try:
                objects = _objects(tree, label, listed, found)
            except (ValueError, OSError) as error:
                found.defects.append(Defect(label, str(error)))
                continue
            found.pictures.append(AnnotatedPicture(picture, label, None, objects, split=split))
        if not found.pictures:
            raise DataError(
                f"data.root: {len(names)} label files ({self.title}; {names[0]}, ...), but no image in "
                f"{self.root / under}\n  Put the images there, or choose as data.root a folder that holds both"
            )
        for label in sorted(labels):
            if self.is_mine(tree, label):
                found.defects.append(Defect(label, "there is no image for it"))
        found.named = listed.classes


def _label_of(picture: str, labels: set[str]) -> str | None:
    """The label file of a picture: beside it, or in the folder of labels that corresponds."""
    stem = picture.rpartition(".")[0]
    if f"{stem}.txt" in labels:
        return f"{stem}.txt"
    parts = stem.split("/")
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() in _PICTURE_FOLDERS:
            for folder in _LABEL_FOLDERS:
                name = "/".join([*parts[:place], folder, *parts[place + 1 :]]) + ".txt"
                if name in labels:
                    return name
    return None


def _place_of_label(name: str) -> str:
    """Where a label file is, without the folder that says that it is one."""
    return "/".join(part for part in name.rpartition(".")[0].split("/") if part.lower() not in _LABEL_FOLDERS)


def _place_of_picture(name: str) -> str:
    return "/".join(part for part in name.rpartition(".")[0].split("/") if part.lower() not in _PICTURE_FOLDERS)


def _objects(tree: Tree, label: str, names: Names, found: Annotations) -> tuple[AnnotatedObject, ...]:
    text = tree.path(label).read_text(encoding="utf-8-sig")
    objects = []
    for number, line in enumerate(text.splitlines()):
        if not line.strip():
            continue
        if not _LINE.fullmatch(line.strip()):
            found.defects.append(Defect(f"{label}, line {number + 1}", f"{line.strip()[:60]!r} is no class and no box"))
            continue
        fields = line.split()
        try:
            name = names.of(int(float(fields[0])))
        except ValueError as error:
            found.defects.append(Defect(f"{label}, line {number + 1}", str(error)))
            continue
        objects.append(
            _object(name, [float(each) for each in fields[1:]], str(number), has_keypoints=names.has_keypoints)
        )
    return tuple(objects)


def _object(name: str, numbers: list[float], key: str, *, has_keypoints: bool) -> AnnotatedObject:
    if any(abs(number) > _FARTHEST for number in numbers):
        return AnnotatedObject(name, key=key, fault="its numbers are pixels, not fractions of the image")
    if len(numbers) in (4, 5) or has_keypoints:  # a fifth is a confidence
        x, y, width, height = numbers[:4]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return AnnotatedObject(name, box, key=key, is_fraction=True)
    if len(numbers) % 2:
        return AnnotatedObject(name, key=key, fault=f"an outline of {len(numbers)} numbers: x and y of each point")
    return outlined(name, Polygons((tuple(numbers),)), key=key, is_fraction=True)


def _are_fractions(line: str) -> bool:
    return all(abs(float(field)) <= _FARTHEST for field in line.split()[1:5])


_FARTHEST = 2.0  # what reaches beyond the picture reaches not much further
