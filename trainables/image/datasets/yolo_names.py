"""What YOLO writes beside the label files: the names of classes, and which picture is of which split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from trainables.errors import DataError
from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import Annotations
from trainables.image.datasets.objects.reading import SPLIT_WORDS, beginning, picture_meant

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_NAME_FILES = (
    "obj.names",
    "classes.txt",
    "classes.names",
    "predefined_classes.txt",
    "names.txt",
    "labels.txt",
    "_darknet.labels",
)
_SUFFIXES_OF_NAMES = frozenset(PurePosixPath(name).suffix for name in _NAME_FILES)


@dataclass
class Names:
    """The names of classes, and the splits of pictures.

    Attributes:
        names: of class numbers; None: there are none, and numbers are names.
        splits: picture → split, of those that are listed; empty where nothing is.
        has_keypoints: whether a line goes on with key points behind its box.
    """

    names: dict[int, str] | None = None
    splits: dict[str, str] = field(default_factory=dict)
    has_keypoints: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """All that are named."""
        return tuple((self.names or {}).values())

    def of(self, number: int) -> str:
        """The name of a class.

        Raises:
            ValueError: there are names, but none for it.
        """
        if self.names is None:
            return str(number)
        if number not in self.names:
            raise ValueError(f"class {number} has no name: {len(self.names)} classes are named, from 0")
        return self.names[number]


def has_names(tree: Tree) -> bool:
    """Whether a file names YOLO's classes."""
    if any(PurePosixPath(name).name.lower() in _NAME_FILES for name in tree.files("", _SUFFIXES_OF_NAMES)):
        return True
    return any("names" in beginning(tree, name) for name in tree.files("", frozenset({".yaml", ".yml"})))


def read_names(tree: Tree, found: Annotations) -> Names:
    """Reads `data.yaml`, or `obj.names` and its like with lists such as `train.txt`.

    Raises:
        DataError: there is a file of names, but it cannot be read.
    """
    for name in tree.files("", frozenset({".yaml", ".yml"})):
        if "names" in beginning(tree, name) and isinstance(content := _yaml(tree, name), dict) and content.get("names"):
            return _of_yaml(tree, name, content, found)
    names = Names(_of_lines(tree))
    if names.names is None:
        found.notes.append(
            "no file names the classes (data.yaml, classes.txt, obj.names): their numbers are their names"
        )
    for name in tree.files("", frozenset({".txt"})):
        if (split := SPLIT_WORDS.get(PurePosixPath(name).stem.lower())) is not None:
            _add_list(tree, name, split, names, found)
    return names


def _yaml(tree: Tree, name: str) -> Any:
    try:
        return yaml.safe_load(tree.path(name).read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"data.root: {name} cannot be read: {error}") from error


def _of_yaml(tree: Tree, name: str, content: dict[str, Any], found: Annotations) -> Names:
    written = content["names"]
    if isinstance(written, dict):
        names = {int(number): str(text).strip() for number, text in written.items() if str(number).isdigit()}
    elif isinstance(written, list):
        names = {number: str(text).strip() for number, text in enumerate(written)}
    else:
        raise DataError(f"data.root: {name}: names is {written!r}, no list of class names")
    read = Names(names, has_keypoints="kpt_shape" in content)
    base = name.rpartition("/")[0]
    for key, split in SPLIT_WORDS.items():
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else [entries] if entries else []:
            _add_entry(tree, base, str(content.get("path") or ""), str(entry), split, read, found, name)
    return read


def _add_entry(
    tree: Tree, base: str, path: str, entry: str, split: str, read: Names, found: Annotations, name: str
) -> None:
    """What `train:` names: a folder of pictures, or a list of them."""
    for place in (f"{base}/{path}/{entry}", f"{base}/{entry}", entry):
        inside = _normal(place)
        if inside in tree:
            _add_list(tree, inside, split, read, found)
            return
        if inside in tree.folders:
            for picture in tree.pictures(inside):
                _put(picture, split, read, found)
            return
    # A path of the machine that wrote it: its end may lie here.
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for first in range(len(parts)):
        inside = _normal(f"{base}/{'/'.join(parts[first:])}")
        if inside in tree.folders:
            for picture in tree.pictures(inside):
                _put(picture, split, read, found)
            return
    found.notes.append(f"{name}: {entry!r} ({split}) does not exist")


def _add_list(tree: Tree, name: str, split: str, read: Names, found: Annotations) -> None:
    try:
        lines = tree.path(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found.defects.append(Defect(name, f"it cannot be read: {error}"))
        return
    for line in filter(str.strip, lines):
        try:
            _put(picture_meant(tree, line.strip(), name), split, read, found)
        except ValueError as error:
            found.defects.append(Defect(line.strip(), f"{name} lists it, but {error}"))


def _put(picture: str, split: str, read: Names, found: Annotations) -> None:
    if read.splits.setdefault(picture, split) != split:
        found.counts["images are listed for several splits: the first of train, val and test counts"] += 1


def _of_lines(tree: Tree) -> dict[int, str] | None:
    for wanted in _NAME_FILES:
        for name in tree.files("", _SUFFIXES_OF_NAMES):
            if PurePosixPath(name).name.lower() == wanted:
                try:
                    lines = tree.path(name).read_text(encoding="utf-8-sig").splitlines()
                except (OSError, UnicodeDecodeError) as error:
                    raise DataError(f"data.root: {name} cannot be read: {error}") from error
                return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return None


def _normal(path: str) -> str:
    """A path below the root without `.` and `..`; those that lead above it end at it."""
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
