"""Reads the images to predict from a table."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pyarrow as pa

from trainables.errors import DataError
from trainables.image.datasets.tables.finding import Finder
from trainables.image.datasets.tables.grid import listed, read_grid
from trainables.image.datasets.tables.roles import picture_column
from trainables.image.settings.table import Table

COLUMN = "path"
"""The column that is taken where a table has it; else the one whose cells are files."""


def listed_paths(table: Path) -> list[Path]:
    """The paths that a table lists, from its folder; those that do not exist become rows with an error later.

    It is read as a table of labels is, so that `0001` stays a name and is not a number. A name may leave out folders or
    the suffix, as long as one picture below the table's folder fits.

    Raises:
        DataError: it cannot be read, or no column names files.
    """
    names = _Names(table.parent)
    grid = read_grid(table, str(table), Table(path=table.name), names.is_file)
    column: str | None = COLUMN
    if COLUMN not in grid.table.column_names:
        column, share = picture_column(grid, names.is_file)
        if share == 0:
            column, share = picture_column(grid, names.is_picture)
        if column is None or share == 0:
            raise DataError(
                f"{table}: no column {COLUMN!r}, and none whose cells are files beside it; it has "
                f"{listed(grid.table.column_names)}"
            )
    assert column is not None
    if not pa.types.is_string(grid.table[column].type):
        raise DataError(f"{table}: column {column!r} is of type {grid.table[column].type}: no paths")
    return [names.path(cell.strip()) for cell in grid.table[column].to_pylist() if cell and cell.strip()]


class _Names:
    """The files that a table's cells mean, from its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, cell: str) -> Path:
        """The file that is meant, or where it would be."""
        if (path := self._literal(cell)) is not None:
            return path
        found = self._pictures.find_or_none(cell)
        return self.folder / Path(cell).expanduser() if found is None else self.folder / found

    def is_file(self, cell: str) -> bool:
        """Whether there is a file of exactly this name."""
        return self._literal(cell) is not None

    def is_picture(self, cell: str) -> bool:
        """Whether a picture below the folder may be meant."""
        return self._pictures.is_picture(cell)

    @cached_property
    def _pictures(self) -> Finder:
        from trainables.image.datasets.tree import Tree

        return Finder(Tree.of(self.folder.absolute()))

    def _literal(self, cell: str) -> Path | None:
        """The file of exactly this name, be it written with the separators of Windows; None: there is none."""
        for name in dict.fromkeys((cell.strip(), cell.strip().replace("\\", "/"))):
            path = self.folder / Path(name).expanduser()
            try:
                if name and path.is_file():
                    return path
            except (OSError, ValueError):  # a cell that can be no name
                return None
        return None
