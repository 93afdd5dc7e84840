"""One list per label: each file is a label, each of its lines a picture that has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.errors import DataError
from trainables.image.datasets.tables.text import decoded
from trainables.image.datasets.tables.words import split_word

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".lst", "")
_OF_SPLIT = re.compile(r"(.+)_(train|val|test|trainval)")
_SIGNS: Mapping[str, bool] = {"1": True, "-1": False, "0": False}


@dataclass(frozen=True)
class Lists:
    """What a folder of lists says.

    Attributes:
        names: of pictures, a row each.
        labels: a row's label.
        classes: the labels' names.
        splits: by picture's name as written, where lists of a split are beside the labels' (VOC's `train.txt`).
        places: how to speak of each row.
        notes: what the user should know.
    """

    names: Sequence[str]
    labels: Sequence[int]
    classes: tuple[str, ...]
    splits: Mapping[str, str]
    places: Sequence[str]
    notes: tuple[str, ...]


def list_files(tree: Tree, folder: str) -> list[str]:
    """The names of the files in a folder that may be lists."""
    return [
        name
        for name in tree.folders[folder].files
        if not name.startswith(".") and name[name.rfind(".") if "." in name else len(name) :].lower() in LIST_SUFFIXES
    ]


def read_lists(tree: Tree, folder: str) -> Lists:
    """Reads a folder of lists.

    A list may be of one label in one split, as VOC has them (`cat_train.txt`, each name with 1, -1 or 0 behind it); the
    lists `train.txt`, `val.txt`, `test.txt` beside them are the splits then.

    Raises:
        DataError: there is no list, or two for a label.
    """
    files = list_files(tree, folder)
    stems = {name: name.rpartition(".")[0] or name for name in files}
    of_split = {name: match[1] for name, stem in stems.items() if (match := _OF_SPLIT.fullmatch(stem))}
    split_lists = {stem: name for name, stem in stems.items() if split_word(stem) or stem == "trainval"}
    by_split = bool(of_split) and bool(split_lists)
    rows: list[tuple[str, int, str]] = []
    notes: list[str] = []
    classes: dict[str, int] = {}
    for name in files:
        label = of_split.get(name, stems[name]) if by_split else stems[name]
        if by_split and stems[name] in split_lists:
            continue
        found = list(_lines(tree, folder, name))
        if not any(has for _, has, _ in found):
            if not by_split:
                notes.append(f"{name} lists no image: not a label")
            continue
        if label in classes and not by_split:
            raise DataError(f"data.table: {tree.path(folder)} has two lists for the label {label!r}")
        number = classes.setdefault(label, len(classes))
        rows += [(written, number, place) for written, has, place in found if has]
        if by_split:  # that a picture has no label is said by its name alone
            rows += [(written, -1, place) for written, has, place in found if not has]
    if not classes:
        raise DataError(f"data.table: no list in {tree.path(folder)} names an image (looked for *.txt, one per label)")
    splits: dict[str, str] = {}
    if by_split:
        for stem, name in split_lists.items():
            if (split := split_word(stem)) is not None:
                splits |= {written: split for written, _, _ in _lines(tree, folder, name)}
        lists = ", ".join(name for stem, name in split_lists.items() if split_word(stem))
        notes.append(f"{lists} are the splits; the other lists are of one label each")
    return Lists(
        [name for name, _, _ in rows],
        [label for _, label, _ in rows],
        tuple(classes),
        splits,
        [place for _, _, place in rows],
        tuple(notes),
    )


def _lines(tree: Tree, folder: str, file: str) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it has the label (VOC's lists say so with 1, -1 or 0 behind the name), and place."""
    path = tree.folders[folder].at(file)
    try:
        text, _ = decoded(tree.path(path).read_bytes(), path)
    except OSError as error:
        raise DataError(f"data.table: {tree.path(path)} cannot be read: {error.strerror}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, sign = line.strip().rpartition(" ")
        place = f"{file}, line {number}"
        if name and sign in _SIGNS:
            yield name.strip(), _SIGNS[sign], place
        elif line.strip():
            yield line.strip(), True, place
