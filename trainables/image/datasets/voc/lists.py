"""VOC's lists: `ImageSets/Main/train.txt` and its like, and those of one class, `cat_train.txt`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from trainables.errors import DataError
from trainables.image.datasets.objects.reading import SPLIT_WORDS
from trainables.image.datasets.picture_names import PictureNames

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_COLUMN = re.compile(r"-?\d+(\.\d+)?|\S+\.(xml|png|jpe?g|txt|json)", re.IGNORECASE)
"""What may stand behind a picture's name: a number, or a file of the same picture."""

_ORDER = ("train", "val", "test")


@dataclass
class Lists:
    """What the lists of a folder say.

    Attributes:
        sizes: of each list of pictures, by its name without suffix.
        pictures: picture → the names of the lists that it is in.
        missing: what lists name and is not a picture, and the list.
        positive: picture → the classes that it has, by lists of one class.
        unsure: the same, of objects that are difficult (0).
    """

    sizes: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    positive: dict[str, set[str]] = field(default_factory=dict)
    unsure: dict[str, set[str]] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, str]:
        """Picture → split, by the lists that are called as splits are; the first of train, val and test counts."""
        found = {}
        for picture, names in self.pictures.items():
            splits = {SPLIT_WORDS[name.lower()] for name in names if name.lower() in SPLIT_WORDS}
            if splits:
                found[picture] = min(splits, key=_ORDER.index)
        return found

    @property
    def named_splits(self) -> str:
        """The lists of splits and their lengths, for messages; "" where there is none."""
        return ", ".join(f"{name}.txt ({size})" for name, size in self.sizes.items() if name.lower() in SPLIT_WORDS)


def list_files(tree: Tree, purpose: str = "Main") -> dict[str, str]:
    """The lists of `ImageSets/<purpose>`: name without suffix → path; capitals do not count."""
    wanted = f"imagesets/{purpose}".lower()
    found = {}
    for path, folder in tree.folders.items():
        if f"/{path.lower()}".endswith(f"/{wanted}"):
            for name in folder.files:
                if name.lower().endswith(".txt"):
                    found[name[:-4]] = folder.at(name)
    return found


def read_lists(tree: Tree, pictures: PictureNames, purpose: str = "Main") -> Lists:
    """Reads them.

    Args:
        tree: of the dataset.
        pictures: that may be meant. A name may hold blanks, lack its suffix, or lack the folders above.
        purpose: `Main` or `Segmentation`.

    Raises:
        DataError: a list cannot be read.
    """
    lists = Lists()
    files = list_files(tree, purpose)
    for name, path in files.items():
        lines = _lines(tree, path)
        if (label := _class_of(name, files, lines)) is not None:
            _read_class(label, lines, pictures, lists)
            continue
        lists.sizes[name] = len(lines)
        for line in lines:
            picture = _picture_of(line, pictures)
            if picture is None:
                lists.missing.setdefault(line, f"ImageSets/{purpose}")
            elif name not in (names := lists.pictures.setdefault(picture, [])):
                names.append(name)
    return lists


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        text = tree.path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.root: {tree.path(path)} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _class_of(name: str, files: dict[str, str], lines: list[str]) -> str | None:
    """The class of a list like `traffic light_train`; None when it is a list of pictures."""
    label, _, split = name.rpartition("_")
    known = split.lower() in SPLIT_WORDS or split in files or split.lower() == "trainval"
    if label and known and all(line.rpartition(" ")[2] in ("-1", "0", "1") and " " in line for line in lines):
        return label
    return None


def _read_class(label: str, lines: list[str], pictures: PictureNames, lists: Lists) -> None:
    for line in lines:
        name, _, sign = line.rpartition(" ")  # a name may hold blanks: the sign is behind the last
        if sign != "-1" and (picture := _found(name, pictures)) is not None:
            (lists.positive if sign == "1" else lists.unsure).setdefault(picture, set()).add(label)


def _picture_of(line: str, pictures: PictureNames) -> str | None:
    """The picture of a line: all of it is the name, or there is a second column behind."""
    if (picture := _found(line, pictures)) is not None:
        return picture
    name, _, column = line.rpartition(" ") if " " in line else line.rpartition("\t")
    return _found(name, pictures) if name.strip() and _COLUMN.fullmatch(column) else None


def _found(name: str, pictures: PictureNames) -> str | None:
    name = name.strip()
    if PurePosixPath(name).suffix.lower() == ".xml":
        name = name[:-4]
    try:
        return pictures.find(name)
    except ValueError:
        return None
