"""Which files of a folder are tables of labels: one, or one per split, or lists."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trainables.errors import DataError
from trainables.image.datasets.split_words import SPLIT_FOLDERS
from trainables.image.datasets.tables.cells import hold_objects
from trainables.image.datasets.tables.cub import is_cub
from trainables.image.datasets.tables.finding import Finder
from trainables.image.datasets.tables.flags import are_flags
from trainables.image.datasets.tables.grid import (
    BINARY_SUFFIXES,
    TABLE_SUFFIXES,
    Grid,
    listed,
    read_grid,
)
from trainables.image.datasets.tables.lists import list_files
from trainables.image.datasets.tables.roles import box_columns, is_label_column, picture_column, sample
from trainables.image.datasets.tables.words import (
    NO_CLASSES,
    SPLIT_NAMES,
    are_splits,
    plain_name,
    split_in,
    split_word,
    words_of,
)
from trainables.image.datasets.tree import suffix
from trainables.image.settings.table import SplitName, Table

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_MOST_FILES = 60
_MOST_IN_FOLDER = 100
"""A folder with more files of text has one for each picture."""
_MOST_BYTES = 64 << 20  # of JSON, which is read whole
_FEWEST_FOUND = 0.5
_CUB = ("CUB",)
_NO_TABLE = re.compile(r"submission|readme|licen[cs]e|requirements|changelog", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """One way to read the tables of a folder.

    Attributes:
        path: as `data.table.path`: a file, files by split, or a folder of lists.
        found: what was seen, for people.
        boxes: whether it gives boxes of objects.
        settings: other keys of `data.table` that belong to it.
    """

    path: str | Mapping[SplitName, str]
    found: str
    boxes: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> dict[str, Any]:
        """As the section `data.table`."""
        path = self.path if isinstance(self.path, str) else dict(self.path)
        return {"path": path, **self.settings}


@dataclass(frozen=True)
class _Seen:
    """The beginning of a file that names pictures.

    Attributes:
        path: of the file.
        columns: as they are called; a file whose columns are called otherwise is no part of the same table.
        labelled: whether there is a column that may hold labels.
        folders: where the pictures lie that it names.
        boxes: whether it has boxes.
        signs: whether all it has behind each name is 1, 0 or -1, so that it may be the list of one label.
        alone: whether there is nothing beside the names.
    """

    path: str
    columns: tuple[str, ...]
    labelled: bool
    folders: frozenset[str]
    boxes: bool = False
    signs: bool = False
    alone: bool = False


def place_of(tree: Tree, written: str) -> tuple[Tree, str]:
    """The tree in which a file or folder that `data.table` names lies, and its path there."""
    from trainables.image.datasets.tree import Tree

    path = Path(os.path.normpath(tree.root / Path(written).expanduser()))
    if path == tree.root:
        return tree, ""
    if path.is_relative_to(tree.root):
        return tree, path.relative_to(tree.root).as_posix()
    return (Tree.of(path), "") if path.is_dir() else (Tree.of(path.parent), path.name)


def readings(tree: Tree, under: str = "", finder: Finder | None = None, settings: Table | None = None) -> list[Reading]:
    """Every way to read the tables below a folder; the best alone where the others say the same or less.

    Args:
        tree: what lies below the root.
        under: the folder with the tables.
        finder: of the pictures; by default all below root.
        settings: how tables are written, where that is said.
    """
    candidates = list(_candidates(tree, under))
    finder = finder or Finder(tree)
    if not candidates or not finder.names:
        return []
    seen = [found for path in candidates if (found := _look(tree, path, finder, settings)) is not None]
    cub = {_folder(each) for each in seen if each.columns == _CUB}
    seen = [each for each in seen if each.columns == _CUB or _folder(each) not in cub]
    signed = Counter(_folder(each) for each in seen if _is_signed_list(each))
    lists = [each for each in seen if not each.labelled or (_is_signed_list(each) and signed[_folder(each)] > 1)]
    if labelled := _groups(tree, [each for each in seen if each not in lists]):
        return labelled
    return _split_lists(tree, lists, len(finder.names)) or _label_lists(tree, lists)


def folder_readings(tree: Tree, folder: str, finder: Finder, settings: Table) -> list[Reading]:
    """Every way to read a folder that `data.table` names: its tables, or its lists.

    Raises:
        DataError: its lists only say the splits of pictures.
    """
    if settings.format != "lists" or _only_splits(tree, folder, finder, settings):
        if found := [each for each in readings(tree, folder, finder, settings) if each.path != folder]:
            return found
        if _only_splits(tree, folder, finder, settings):
            raise DataError(
                f"data.table: the lists in {tree.path(folder)} say which images are train, val and test, and no "
                "label: name a table of labels, or leave data.table out where the images lie in class folders"
            )
    return [Reading(folder, "lists of images, one per label")]


def _only_splits(tree: Tree, folder: str, finder: Finder, settings: Table) -> bool:
    """Whether all files in a folder that name pictures are called train, val and test."""
    stems = [
        name.rpartition(".")[0] or name
        for name in list_files(tree, folder)
        if _look(tree, tree.folders[folder].at(name), finder, settings) is not None
    ]
    return bool(stems) and all(split_word(stem) is not None or stem == "trainval" for stem in stems)


def lists_of_splits(tree: Tree) -> list[str]:
    """Files that say which pictures are train, val and test, and no label, as `splits/train.txt`."""
    finder = Finder(tree)
    paths = [path for path in _candidates(tree, "") if _template(path)[1] is not None] if finder.names else []
    return [path for path in paths if (seen := _look(tree, path, finder, None)) is not None and seen.alone]


def _candidates(tree: Tree, under: str) -> Iterator[str]:
    """Files that may be tables, those near the root first."""
    folders = sorted(tree.below(under), key=lambda folder: (folder.path.count("/") + bool(folder.path), folder.path))
    count = 0
    for folder in folders:
        files = [name for name in folder.files if suffix(name) in TABLE_SUFFIXES and not name.startswith(".")]
        if len(files) > _MOST_IN_FOLDER:
            continue
        for name in files:
            if count < _MOST_FILES and not _NO_TABLE.search(name):
                count += 1
                yield folder.at(name)


def _look(tree: Tree, path: str, finder: Finder, settings: Table | None) -> _Seen | None:
    """What the beginning of a file shows; None when it names no pictures."""
    if is_cub(tree, path):
        return _Seen(path, _CUB, True, frozenset())
    grid = beginning(tree, path, finder, settings)
    if grid is None:
        return None
    base = path.rpartition("/")[0]
    column, share = picture_column(grid, lambda cell: finder.is_picture(cell, base))
    if column is None or share < _FEWEST_FOUND:
        return None
    pictures = [found for cell in sample(grid.table[column]) if (found := finder.find_or_none(cell, base))]
    others = [name for name in grid.table.column_names if name != column]
    labels = [name for name in others if is_label_column(grid.table[name]) and not _is_split(grid, name)]
    texts = [name for name in labels if pa.types.is_string(grid.table[name].type)]
    if any(hold_objects(sample(grid.table[name])) for name in texts):
        return None  # boxes in cells, as Label Studio writes them: more than a table of labels
    folders = frozenset(str(PurePosixPath(name).parent) for name in pictures)
    columns = tuple(grid.table.column_names) if grid.header else (f"{len(others) + 1} columns",)
    signs = not grid.header and len(others) == 1 and are_flags(grid.table[others[0]])
    return _Seen(path, columns, bool(labels), folders, box_columns(others) is not None, signs, not others)


def beginning(tree: Tree, path: str, finder: Finder, settings: Table | None = None) -> Grid | None:
    """The first rows of a table; None when it is none, or too large to be looked at."""
    kind = suffix(path.rpartition("/")[2])
    file = tree.path(path)
    content = tree.head(path)
    try:
        if kind in BINARY_SUFFIXES:
            if _holds_pictures(file, kind):
                return None
        elif kind == ".json":
            if file.stat().st_size > _MOST_BYTES or b'"annotations"' in content[:4096]:
                return None
            content = file.read_bytes()
        elif b"\0" in content[:4096] and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            return None
        return read_grid(file, path, settings or Table(path=path), finder.is_picture, content)
    except (DataError, OSError):
        return None


def _holds_pictures(path: Path, kind: str) -> bool:
    """Whether a Parquet or Arrow file has encoded images in it: then it is no mere table."""
    import pyarrow.parquet as pq

    from trainables.image.pixels.containers import map_arrow

    try:
        schema = pq.read_schema(path) if kind == ".parquet" else map_arrow(path).schema
    except (pa.ArrowException, OSError):
        return True
    return any("binary" in str(field.type) for field in schema)


def _groups(tree: Tree, seen: Sequence[_Seen]) -> list[Reading]:
    """Tables that belong together, because their names differ by the split only."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, _Seen]] = defaultdict(dict)
    for each in seen:
        template, split = _template(each.path)
        groups[template, each.columns][split or ""] = each
    found = []
    for (_, columns), members in groups.items():
        shown = "" if len(columns) == 1 else f" (columns {listed(columns)})"
        boxes = next(iter(members.values())).boxes
        what = "labels and boxes" if boxes else "labels"
        if len(members) > 1 and "train" in members:
            paths = {split: members[split].path for split in _SPLITS if split in members}
            names = ", ".join(paths.values())
            found.append(Reading(paths, f"tables of {what}, one per split: {names}{shown}", boxes))
        else:
            found += [Reading(each.path, f"a table of {what}: {each.path}{shown}", boxes) for each in members.values()]
    return _without_copies(tree, found)


def _without_copies(tree: Tree, found: Sequence[Reading]) -> list[Reading]:
    """Of readings whose files have the same content, the one nearest to the root."""
    kept: dict[object, Reading] = {}
    for reading in found:
        paths = [reading.path] if isinstance(reading.path, str) else list(reading.path.values())
        try:
            kept.setdefault(tuple(tree.path(path).read_bytes() for path in paths), reading)
        except OSError:
            kept[reading.found] = reading
    return list(kept.values())


def _split_lists(tree: Tree, seen: Sequence[_Seen], num_pictures: int) -> list[Reading]:
    """Lists of pictures without labels, one per split, of pictures in class folders: the folder is the label."""
    groups: dict[str, dict[str, _Seen]] = defaultdict(dict)
    for each in seen:
        template, split = _template(each.path)
        if split is not None and each.alone:
            groups[template][split] = each
    found = []
    for members in groups.values():
        folders = {PurePosixPath(folder).name for each in members.values() for folder in each.folders}
        if "train" not in members or len(members) < 2 or len(folders) < 2 or any(map(_is_no_class, folders)):
            continue
        paths = {split: members[split].path for split in _SPLITS if split in members}
        text = f"lists of images, one per split: {', '.join(paths.values())}; the folder of an image is its label"
        found.append(Reading(paths, text, settings={"labels_from": "folder"}))
    return found


def _label_lists(tree: Tree, seen: Sequence[_Seen]) -> list[Reading]:
    """Folders whose files list the pictures of a label each."""
    if tree.suffixes[".xml"]:  # the lists of VOC, which has more to say
        return []
    by_folder: dict[str, list[str]] = defaultdict(list)
    for each in seen:
        if each.alone or each.signs:
            folder, _, name = each.path.rpartition("/")
            by_folder[folder].append(name)
    found = []
    for folder, names in by_folder.items():
        labels = [name for name in names if split_word(name.rpartition(".")[0]) is None]
        if folder and len(labels) > 1 and 2 * len(names) > len(list_files(tree, folder)):
            found.append(Reading(folder, f"lists of images, one per label: {folder}/ ({listed(sorted(labels), 4)})"))
    return found


def _folder(seen: _Seen) -> str:
    return seen.path.rpartition("/")[0]


def _is_signed_list(seen: _Seen) -> bool:
    """Whether a file may be the list of one label, as VOC has them; `train.txt` with 0 and 1 has label numbers."""
    return seen.signs and split_word(PurePosixPath(seen.path).stem) is None


def _template(path: str) -> tuple[str, str | None]:
    """A path with the word for its split taken out, and the split."""
    parts = path.split("/")
    for place in range(len(parts) - 1, -1, -1):
        name = parts[place]
        stem = name.rpartition(".")[0] or name if place == len(parts) - 1 else name
        if (split := split_in(stem)) is not None:
            words = [word for word in words_of(stem) if word in SPLIT_FOLDERS]
            pattern = re.compile(rf"(?<![a-z]){words[0]}(?![a-z])", re.IGNORECASE)
            return "/".join([*parts[:place], pattern.sub("{}", name, count=1), *parts[place + 1 :]]), split
    return path, None


def _is_split(grid: Grid, column: str) -> bool:
    if not pa.types.is_string(grid.table[column].type):
        return False
    words = [value for value in grid.table[column].unique().to_pylist() if value]
    named = plain_name(column) in SPLIT_NAMES and all(split_word(word) for word in words)
    return bool(words) and (named or (len(words) > 1 and are_splits(words)))


def _is_no_class(folder: str) -> bool:
    return all(word in NO_CLASSES or word in SPLIT_FOLDERS for word in words_of(folder)) and not folder.isdigit()
