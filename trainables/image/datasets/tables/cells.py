"""A column of label names: one in each cell, or several, however they were written."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.errors import DataError
from trainables.image.datasets.tables.grid import Grid, is_list

if TYPE_CHECKING:
    from trainables.image.settings.table import Table

SEPARATORS = ("|", ";", ",")
_RECURRING = 0.8
"""The share of parts that must be labels elsewhere, too, before cells are cut at a separator."""


@dataclass(frozen=True)
class Cells:
    """The labels of each row, as pairs.

    Attributes:
        rows: (L,) row numbers, ascending.
        labels: (L,) class numbers.
        classes: the names.
        in_cells: whether cells were cut, or are lists: several labels for a picture are meant then.
        notes: what the user should know.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    in_cells: bool
    notes: tuple[str, ...]


def read_cells(grid: Grid, column: str, settings: Table) -> Cells:
    """Reads a column of label names.

    Raises:
        DataError: a cell is a list that cannot be read, or it is open whether blanks separate labels.
    """
    values = grid.table[column]
    if is_list(values.type):
        return _lists(grid, column, values)
    if not pa.types.is_string(values.type):
        raise DataError(f"data.table: column {column!r} of {grid.name} is of type {values.type}: no label")
    encoded = values.fill_null("").combine_chunks().dictionary_encode()
    cells = [cell.strip() for cell in encoded.dictionary.to_pylist()]
    cells = _whole_numbers(cells)
    cut, in_cells, notes = _cutting(grid, column, cells, settings)
    parts = [list(dict.fromkeys(name for each in cut(cell) if (name := each.strip()))) for cell in cells]
    classes = ordered({name for each in parts for name in each})
    number = {name: place for place, name in enumerate(classes)}
    flat = np.array([number[name] for each in parts for name in each], dtype=np.int64)
    lengths = np.array([len(each) for each in parts], dtype=np.int64)
    rows, labels = _expanded(encoded.indices.to_numpy(), lengths, flat)
    return Cells(rows, labels, classes, in_cells, tuple(notes))


def ordered(names: set[str]) -> tuple[str, ...]:
    """Class names in order: numbers as numbers, anything else as text."""
    if all(re.fullmatch(r"-?\d{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _lists(grid: Grid, column: str, values: pa.ChunkedArray) -> Cells:
    if not pa.types.is_string(values.type.value_type):
        raise DataError(f"data.table: column {column!r} of {grid.name} is of type {values.type}: no label")
    rows = [[name.strip() for name in row or () if name and name.strip()] for row in values.to_pylist()]
    classes = ordered({name for row in rows for name in row})
    number = {name: place for place, name in enumerate(classes)}
    unique = [sorted({number[name] for name in row}) for row in rows]
    lengths = np.array([len(row) for row in unique], dtype=np.int64)
    flat = np.array([label for row in unique for label in row], dtype=np.int64)
    return Cells(np.repeat(np.arange(len(rows)), lengths), flat, classes, bool((lengths > 1).any()), ())


def _expanded(
    indices: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64], flat: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of row and label, from each row's place in the dictionary of cells."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    counts = lengths[indices]
    rows = np.repeat(np.arange(len(indices), dtype=np.int64), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, flat[starts[indices][rows] + within]


def _whole_numbers(cells: list[str]) -> list[str]:
    """Label numbers that pandas wrote as floats, because cells are missing: 1.0 → 1."""
    if all(not cell or re.fullmatch(r"\d+\.0", cell) for cell in cells):
        return [cell.removesuffix(".0") for cell in cells]
    return cells


def _cutting(
    grid: Grid, column: str, cells: Sequence[str], settings: Table
) -> tuple[Callable[[str], Sequence[str]], bool, list[str]]:
    """How a cell becomes labels, whether that is more than one, and what to say of it."""
    if settings.separator is not None:
        separator = settings.separator
        return lambda cell: cell.split(separator), any(separator in cell for cell in cells), []
    if (listed := _written_lists(grid, column, cells)) is not None:
        return lambda cell: listed.get(cell, [cell]), any(len(each) > 1 for each in listed.values()), []
    if settings.kind == "single":
        return lambda cell: [cell], False, []
    notes = []
    for separator in SEPARATORS:
        share, example = _recurring(cells, separator)
        if example is None:
            continue
        if share >= _RECURRING:
            notes.append(
                f"column {column!r}: cells cut at {separator!r} (such as {example!r}), because the parts are labels "
                "of other rows, too; data.table.kind: single does not cut"
            )
            return lambda cell, at=separator: cell.split(at), True, notes
        count = sum(separator in cell for cell in cells)
        notes.append(
            f"column {column!r}: {separator!r} is in {count} of {len(cells)} different labels and belongs to their "
            f"names (such as {example!r}); if it separates labels, say so: data.table.separator: {separator!r}"
        )
        return lambda cell: [cell], False, notes
    words = {word for cell in cells for word in cell.split()}
    share, example = _recurring(cells, " ")
    if example is not None:
        if share >= _RECURRING and 2 * len(words) <= len(cells) and settings.kind == "auto":
            raise DataError(
                f"data.table: column {column!r} of {grid.name} has {len(words)} words in {len(cells)} combinations, "
                f"such as {example!r}: does a space separate labels?\n"
                '  If so, data.table.separator: " "; if these are names, data.table.kind: single'
            )
        notes.append(
            f"column {column!r} is not split: none of {' '.join(SEPARATORS)} is in it; "
            'if a space separates labels, say so: data.table.separator: " "'
        )
    return lambda cell: [cell], False, notes if settings.kind == "multi" else []


def _recurring(cells: Sequence[str], separator: str) -> tuple[float, str | None]:
    """The share of parts that are in two different cells or more, and a cell that has the separator."""
    split = {cell: {part.strip() for part in cell.split(separator)} - {""} for cell in cells}
    several = [cell for cell in cells if len(split[cell]) > 1]
    if not several:
        return 0.0, next((cell for cell in cells if separator in cell and cell.strip()), None)
    counts = Counter(part for parts in split.values() for part in parts)
    parts = {part for cell in several for part in split[cell]}
    return sum(counts[part] > 1 for part in parts) / len(parts), several[0]


def _written_lists(grid: Grid, column: str, cells: Sequence[str]) -> dict[str, list[str]] | None:
    """Cells that are lists as Python, NumPy or JSON write them → their labels; None: there are none.

    Raises:
        DataError: a cell begins as those do, and is none.
    """
    listed: dict[str, list[str]] = {}
    broken = []
    for cell in cells:
        if cell[:1] in ("[", "{"):
            found = _parsed(cell)
            if found is None:
                broken.append(cell)
            else:
                listed[cell] = found
    if broken and _is_json(broken[0]):
        raise DataError(
            f"data.table: the cells of column {column!r} of {grid.name} hold more than labels, such as "
            f"{broken[0][:100]!r}: dataset label_studio reads the boxes that its export "
            "has in cells. Or name another column with data.table.label_column"
        )
    if broken and listed:  # else names begin so
        rows = grid.table[column].to_pylist()
        row = next(row for row, cell in enumerate(rows, 1) if (cell or "").strip() == broken[0])
        raise DataError(
            f"data.table: {grid.name}, row {row}: {broken[0]!r} in column {column!r} is not a complete list"
        )
    return listed or None


def hold_objects(cells: Sequence[str]) -> bool:
    """Whether cells hold JSON that is more than labels: boxes, regions."""
    return any(cell[:1] in ("[", "{") and _is_json(cell) and _parsed(cell) is None for cell in cells)


def _is_json(cell: str) -> bool:
    try:
        return isinstance(json.loads(cell), list | Mapping)
    except ValueError:
        return False


def _parsed(cell: str) -> list[str] | None:
    """The labels of a list: `["a", "b"]`, `['a', 'b']`, `['a' 'b']`, Label Studio's `{"choices": ["a", "b"]}`."""
    value: Any = None
    try:
        value = json.loads(cell)
    except ValueError:
        if re.fullmatch(r"\[\s*('[^']*'\s*)*\]", cell):  # as NumPy prints
            return re.findall(r"'([^']*)'", cell)
        try:
            value = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, str | int | float):
        value = [value]
    if isinstance(value, list | tuple | set) and all(isinstance(each, str | int | float) for each in value):
        return [str(each) for each in (sorted(value, key=str) if isinstance(value, set) else value)]
    return None
