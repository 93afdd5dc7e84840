"""Columns that say yes or no to a label each: 0/1, -1/1, true/false, or shares between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trainables.errors import DataError
from trainables.image.datasets.tables.grid import Grid, listed

if TYPE_CHECKING:
    from trainables.image.settings.table import Table

YES, NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
MINUS = frozenset({"-1", "-1.0"})
EMPTY = ""


def plain(value: object) -> str:
    """A cell as it is compared."""
    return value.strip().lower() if isinstance(value, str) else ""


def are_flags(column: pa.ChunkedArray) -> bool:
    """Whether a column has only yes, no, -1 and empty cells, and not only empty ones."""
    if not pa.types.is_string(column.type):
        return False
    values = {plain(value) for value in pc.unique(column).to_pylist()}
    return values <= YES | NO | MINUS | {EMPTY} and values != {EMPTY}


def are_shares(columns: Sequence[pa.ChunkedArray]) -> bool:
    """Whether all columns have only numbers from 0 to 1, and empty cells."""
    for column in columns:
        if not pa.types.is_string(column.type):
            return False
        values = _numbers(column)
        if values is None or not ((values >= 0) & (values <= 1)).all():
            return False
    return True


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    """The cells as numbers, an empty one as 0; None when one is not a number."""
    trimmed = pc.utf8_trim_whitespace(column.fill_null(""))
    try:
        numbers = pc.cast(pc.if_else(pc.equal(trimmed, ""), "0", trimmed), pa.float64())
    except pa.ArrowInvalid:
        return None
    values: npt.NDArray[np.float64] = numbers.to_numpy()
    return values if np.isfinite(values).all() else None


def numbers(grid: Grid, column: str, key: str) -> npt.NDArray[np.float64]:
    """A column of numbers, (N,); an empty cell is 0.

    Raises:
        DataError: a cell is none.
    """
    values = _numbers(grid.table[column])
    if values is None:
        raise DataError(f"{key}: column {column!r} of {grid.name} is not all numbers")
    return values


def read_flags(
    grid: Grid, columns: Sequence[str], settings: Table
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[str]]:
    """Which labels each row has.

    Returns:
        (N, labels); which rows are used, (N,); notes.

    Raises:
        DataError: a cell is no yes and no no, or -1 stands beside 0 and 1 and `data.table.uncertain` does not say what
            it means.
    """
    codes = np.stack([_codes(grid, column) for column in columns], axis=1)  # 1, 0, -1; -2: empty
    notes = []
    used = np.ones(len(codes), dtype=bool)
    if empty := int((codes == -2).sum()):
        notes.append(f"{empty} empty cells of {grid.name} read as 0")
    minus = codes == -1
    if minus.any():
        if not (codes == 0).any():
            notes.append(f"{grid.name} has -1 and 1: -1 read as no")
        elif settings.uncertain is None:
            raise DataError(_question(grid, columns, minus))
        elif settings.uncertain == "drop":
            used = ~minus.any(axis=1)
            notes.append(f"{int((~used).sum())} rows of {grid.name} with a -1 left out (data.table.uncertain: drop)")
        else:
            codes[minus] = int(settings.uncertain == "positive")
            notes.append(
                f"{int(minus.sum())} cells of -1 in {grid.name} read as {int(settings.uncertain == 'positive')} "
                f"(data.table.uncertain: {settings.uncertain})"
            )
    return codes == 1, used, notes


def _codes(grid: Grid, column: str) -> npt.NDArray[np.int8]:
    cells = grid.table[column]
    if not pa.types.is_string(cells.type):
        raise DataError(f"data.table: column {column!r} of {grid.name} is of type {cells.type}: no label")
    encoded = cells.fill_null("").combine_chunks().dictionary_encode()
    meanings = []
    for value in encoded.dictionary.to_pylist():
        word = plain(value)
        known = {**dict.fromkeys(YES, 1), **dict.fromkeys(NO, 0), **dict.fromkeys(MINUS, -1), EMPTY: -2}
        if word not in known:
            row = cells.to_pylist().index(value)
            raise DataError(
                f"data.table: column {column!r} is not a label: {grid.name}, row {row + 1} has {value!r}, and a "
                "label's column has 0 or 1, true or false, or nothing\n"
                "  If only some columns are labels, list them in data.table.label_columns (or data.classes); if one "
                "column holds names of labels, name it with data.table.label_column"
            )
        meanings.append(known[word])
    codes: npt.NDArray[np.int8] = np.array(meanings, dtype=np.int8)[encoded.indices.to_numpy()]
    return codes


def _question(grid: Grid, columns: Sequence[str], minus: npt.NDArray[np.bool_]) -> str:
    found = [name for place, name in enumerate(columns) if minus[:, place].any()]
    return (
        f"data.table: {grid.name} has {int(minus.sum())} cells of -1 beside 0 and 1 (columns {listed(found)}): "
        "is -1 uncertain?\n"
        "  data.table.uncertain says what -1 means: negative (as 0), positive (as 1), or drop (such images "
        "are left out)"
    )


def read_shares(
    grid: Grid, columns: Sequence[str], settings: Table
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[str]]:
    """As `read_flags`, of columns with shares between 0 and 1.

    Raises:
        DataError: `data.table.soft` does not say how they become labels.
    """
    shares = np.stack([numbers(grid, column, "data.table.label_columns") for column in columns], axis=1)
    everything = np.ones(len(shares), dtype=bool)
    if settings.soft == "argmax":
        largest = np.zeros(shares.shape, dtype=bool)
        largest[np.arange(len(shares)), shares.argmax(axis=1)] = True
        ties = int(((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
        notes = [f"{grid.name}: the column with the largest share is the label (data.table.soft: argmax)"]
        if ties:
            notes.append(f"{ties} rows of {grid.name} have two largest shares: the first counts")
        return largest, everything, notes
    if settings.soft == "threshold":
        note = f"{grid.name}: shares of at least {settings.min_value:g} are labels (data.table.soft: threshold)"
        return shares >= settings.min_value, everything, [note]
    row, column = np.argwhere((shares > 0) & (shares < 1))[0]
    raise DataError(
        f"data.table: {grid.name} has shares, not labels: row {row + 1} of column {columns[column]!r} has "
        f"{shares[row, column]:g}. Targets between 0 and 1 cannot be learned\n"
        "  data.table.soft: argmax takes the largest of each row as its label; threshold takes all of at least "
        "data.table.min_value"
    )
