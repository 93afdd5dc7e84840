"""Tables of labels, read: for each row a picture's name, its labels, split, group and box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.errors import DataError
from trainables.image.datasets.tables.cells import read_cells
from trainables.image.datasets.tables.class_names import find_class_names, read_class_names
from trainables.image.datasets.tables.cub import is_cub, read_cub
from trainables.image.datasets.tables.flags import NO, YES, numbers, plain, read_flags, read_shares
from trainables.image.datasets.tables.grid import Grid, listed, read_grid
from trainables.image.datasets.tables.lists import read_lists
from trainables.image.datasets.tables.roles import Roles, roles_of
from trainables.image.datasets.tables.sources import place_of
from trainables.image.datasets.tables.words import FLAGS_OF_SPLITS, plain_name, split_word

if TYPE_CHECKING:
    from trainables.image.datasets.tables.finding import Finder
    from trainables.image.datasets.tree import Tree
    from trainables.image.settings.table import Table

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """The rows of one file.

    Attributes:
        name: how to speak of the file.
        start: the number of its first row among all.
        base: the folder from which its names count first, relative to root.
        split: that the file is for.
    """

    name: str
    start: int
    base: str = ""
    split: str | None = None


@dataclass(frozen=True)
class Boxes:
    """The objects' places in their pictures, a row each.

    Attributes:
        sides: (N, 4) left, top, right, bottom as written; NaN where a row has none.
        sizes: (N, 2) width and height of the picture, where the table has them.
        crowds: (N,) whether a box stands for many objects (Open Images' IsGroupOf), where the table says so.
    """

    sides: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64] | None = None
    crowds: npt.NDArray[np.bool_] | None = None

    @cached_property
    def are_fractions(self) -> bool:
        """Whether sides are fractions of the picture, not pixels."""
        known = self.sides[~np.isnan(self.sides).any(axis=1)]
        return bool(len(known)) and bool((known <= 1).all() and (known >= 0).all())

    def size(self, row: int) -> tuple[int, int] | None:
        """Width and height of a row's picture, where the table has them."""
        if self.sizes is None or not self.sizes[row].all():
            return None
        return int(self.sizes[row, 0]), int(self.sizes[row, 1])


@dataclass(frozen=True)
class Rows:
    """What tables say of pictures, a row each.

    Attributes:
        names: of pictures, as written; None or blank where a cell is empty.
        parts: the files, in order.
        pair_rows: (L,) with `pair_labels`: every label of every row.
        pair_labels: (L,) class numbers.
        classes: their names.
        by_folder: the folder of a picture is its label, and there are no pairs yet.
        whole: each row is all that is said of a picture (one column per label), so that two rows must say the same.
        several: a row may have several labels as it is written: cells are lists, or are cut.
        lists: it is one list per label, so that pictures that none names are known to have no label.
        splits: (N,) train, val, test or "".
        groups: of each row, or None where the table has none.
        boxes: of objects, one per row; None: the table has none.
        places: how to speak of a row where its number does not tell.
        notes: what the user should know.
    """

    names: Sequence[str | None]
    parts: tuple[Part, ...]
    pair_rows: Integers
    pair_labels: Integers
    classes: tuple[str, ...]
    by_folder: bool = False
    whole: bool = False
    several: bool = False
    lists: bool = False
    splits: npt.NDArray[np.str_] | None = None
    groups: Sequence[str | None] | None = None
    boxes: Boxes | None = None
    places: Sequence[str] | None = None
    notes: tuple[str, ...] = field(default=())

    def place(self, row: int) -> str:
        """How to speak of a row: "labels.csv, row 3"."""
        if self.places is not None:
            return self.places[row]
        part = self.part(row)
        return f"{part.name}, row {row - part.start + 1}"

    def part(self, row: int) -> Part:
        """The file that a row is of."""
        return next(part for part in reversed(self.parts) if part.start <= row)


def read_lists_of(tree: Tree, folder: str) -> Rows:
    """The rows of a folder of lists, one per label."""
    found = read_lists(tree, folder)
    labels = np.array(found.labels, dtype=np.int64)
    splits = np.array([found.splits.get(name, "") for name in found.names]) if found.splits else None
    return Rows(
        found.names,
        (Part(folder, 0),),
        np.flatnonzero(labels >= 0),
        labels[labels >= 0],
        found.classes,
        lists=True,
        splits=splits,
        places=found.places,
        notes=found.notes,
    )


def read_tables(
    tree: Tree, paths: Sequence[tuple[str | None, str]], settings: Table, wanted: Sequence[str] | None, finder: Finder
) -> Rows:
    """The rows of one table, or of several of one form.

    Args:
        tree: what lies below the root.
        paths: split (None: none) and file of each.
        settings: how to read them.
        wanted: `data.classes`.
        finder: of the pictures.

    Raises:
        DataError: one cannot be read, is not of the form of the others, or it is open how it is meant.
    """
    grid, parts = _joined([(split, *_read(tree, path, settings, finder)) for split, path in paths])
    roles = roles_of(grid, settings, wanted, _tester(finder, parts))
    notes = [*grid.notes, *roles.notes]
    rows = Rows(
        grid.table[roles.file].to_pylist(),
        parts,
        np.zeros(0, dtype=np.int64),
        np.zeros(0, dtype=np.int64),
        (),
        by_folder=roles.form == "folder",
        splits=_splits(grid, parts, roles.split),
        groups=None if roles.group is None else grid.table[roles.group].to_pylist(),
        boxes=_boxes(grid, roles),
    )
    if roles.form == "folder":
        if len(roles.left_out) and settings.labels_from == "folder":
            notes.append(f"{grid.name}: not read: {listed(roles.left_out)} (data.table.labels_from: folder)")
        return replace(rows, notes=tuple(notes))
    if roles.form == "cells":
        rows, more = _cells(tree, grid, roles, settings, rows)
    else:
        read = read_shares if roles.form == "shares" else read_flags
        has, used, more = read(grid, roles.labels, settings)
        pair_rows, pair_labels = np.nonzero(has & used[:, None])
        names = [name if use else DROPPED for name, use in zip(rows.names, used, strict=True)]
        rows = replace(
            rows, names=names, pair_rows=pair_rows, pair_labels=pair_labels, classes=roles.labels, whole=True
        )
    return replace(rows, notes=(*notes, *more))


_SIZE = ("width", "height")
_CROWD = "isgroupof"
DROPPED = "\0"
"""In place of the name of a row that a setting leaves out."""


def _read(tree: Tree, path: str, settings: Table, finder: Finder) -> tuple[Grid, str]:
    """A table and the folder from which its names count first."""
    place, name = place_of(tree, path)
    file = place.path(name)
    if not file.exists():
        raise DataError(f"data.table: {file} does not exist")
    base = name.rpartition("/")[0] if place is tree else ""
    if is_cub(place, name):
        return read_cub(place, name), base
    shown = name if place is tree else file.name
    return read_grid(file, shown, settings, lambda cell: finder.is_picture(cell, base)), base


def _joined(read: Sequence[tuple[str | None, Grid, str]]) -> tuple[Grid, tuple[Part, ...]]:
    """One table of several."""
    _, first, _ = read[0]
    parts, start = [], 0
    for split, grid, base in read:
        if grid.table.column_names != first.table.column_names:
            raise DataError(
                f"data.table: {grid.name} has the columns {listed(grid.table.column_names)}, but {first.name} has "
                f"{listed(first.table.column_names)}: tables of splits must have the same"
            )
        parts.append(Part(grid.name, start, base, split))
        start += len(grid.table)
    if len(read) == 1:
        return first, tuple(parts)
    try:
        table = pa.concat_tables([grid.table for _, grid, _ in read], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"data.table: {listed([part.name for part in parts])} differ in a column: {error}") from error
    notes = tuple(dict.fromkeys(note for _, grid, _ in read for note in grid.notes))
    return Grid(", ".join(part.name for part in parts), table, first.header, notes), tuple(parts)


def _tester(finder: Finder, parts: Sequence[Part]) -> Callable[[str], bool]:
    bases = {part.base for part in parts}
    return lambda cell: any(finder.is_picture(cell, base) for base in bases)


def _cells(tree: Tree, grid: Grid, roles: Roles, settings: Table, rows: Rows) -> tuple[Rows, list[str]]:
    (column,) = roles.labels
    cells = read_cells(grid, column, settings)
    notes = list(cells.notes)
    pair_rows, pair_labels = cells.rows, cells.labels
    if roles.value is not None:
        values = numbers(grid, roles.value, "data.table.value_column")
        sure = values[pair_rows] >= settings.min_value
        if absent := int((~sure).sum()):
            notes.append(
                f"{absent} rows of {grid.name} have a {roles.value} below {settings.min_value:g}: the label is absent "
                "(data.table.value_column, min_value)"
            )
        pair_rows, pair_labels = pair_rows[sure], pair_labels[sure]
    classes, note = _named(tree, grid, cells.classes, settings, rows.parts)
    if note:
        notes.append(note)
    several = cells.in_cells or (roles.value is not None and len(pair_rows) < len(cells.rows))
    return replace(rows, pair_rows=pair_rows, pair_labels=pair_labels, classes=classes, several=several), notes


def _named(
    tree: Tree, grid: Grid, labels: Sequence[str], settings: Table, parts: Sequence[Part]
) -> tuple[tuple[str, ...], str]:
    """The names of labels that are numbers, and what is to be said."""
    if settings.class_names is not None:
        place, path = place_of(tree, settings.class_names)
        names = read_class_names(place, path, labels)
        return tuple(names[label] for label in labels), ""
    folders = list(dict.fromkeys([*(part.base for part in parts), ""]))
    found = find_class_names(tree, folders, labels)
    if found is None:
        return tuple(labels), ""
    path, names = found
    named = tuple(names[label] for label in labels)
    return named, "" if named == tuple(labels) else f"the names of the labels in {grid.name} are from {path}"


def _splits(grid: Grid, parts: Sequence[Part], column: str | None) -> npt.NDArray[np.str_] | None:
    if column is None:
        if all(part.split is None for part in parts):
            return None
        ends = [*(part.start for part in parts[1:]), len(grid.table)]
        lengths = [end - part.start for part, end in zip(parts, ends, strict=True)]
        return np.repeat(np.array([part.split or "" for part in parts]), lengths)
    encoded = grid.table[column].fill_null("").combine_chunks().dictionary_encode()
    words = []
    flag = FLAGS_OF_SPLITS.get(plain_name(column))
    for written in encoded.dictionary.to_pylist():
        if flag is not None and plain(written) in YES | NO:
            words.append(flag if plain(written) in YES else "train")
            continue
        split = split_word(written) if written.strip() else ""
        if split is None:
            row = grid.table[column].to_pylist().index(written)
            part = next(part for part in reversed(parts) if part.start <= row)
            raise DataError(
                f"data.table.split_column: {part.name}, row {row - part.start + 1} has {written!r}: it must be train, "
                "val or test"
            )
        words.append(split)
    splits: npt.NDArray[np.str_] = np.array(words or [""])[encoded.indices.to_numpy()]
    return splits


def _boxes(grid: Grid, roles: Roles) -> Boxes | None:
    if roles.boxes is None:
        return None
    sides = np.stack([numbers(grid, column, "data.table.box_columns") for column in roles.boxes], axis=1)
    sides[~sides.any(axis=1)] = np.nan  # empty cells: a picture without an object
    by_name = {plain_name(name): name for name in grid.table.column_names}
    sizes = crowds = None
    if all(name in by_name for name in _SIZE):
        sizes = np.stack([numbers(grid, by_name[name], "data.table") for name in _SIZE], axis=1)
    if _CROWD in by_name:
        crowds = numbers(grid, by_name[_CROWD], "data.table") == 1
    return Boxes(sides, sizes, crowds)
