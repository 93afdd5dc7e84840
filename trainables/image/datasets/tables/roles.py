"""Which column of a table is what: files, labels, splits, groups, boxes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

from trainables.errors import DataError
from trainables.image.datasets.tables.flags import are_flags, are_shares
from trainables.image.datasets.tables.grid import Grid, is_list, listed
from trainables.image.datasets.tables.words import (
    FILE_NAMES,
    FLAGS_OF_SPLITS,
    GROUP_NAMES,
    LABEL_NAMES,
    OF_BOXES,
    SPLIT_NAMES,
    VALUE_NAMES,
    are_splits,
    plain_name,
)
from trainables.image.pixels.decode import SUFFIXES

if TYPE_CHECKING:
    from trainables.image.settings.table import Table

BOXES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
    ("roi.x1", "roi.y1", "roi.x2", "roi.y2"),
)
_SAMPLE = 48
_NEARLY_ALL = 0.9

Form = Literal["flags", "shares", "cells", "folder"]


@dataclass(frozen=True)
class Roles:
    """What each column of a table is.

    Attributes:
        file: names of pictures.
        labels: columns with labels: several of flags or shares, one of cells, none when the folder is the label.
        form: flags: yes or no, a label per column; shares: between 0 and 1, a label per column; cells: names of
            labels; folder: the folder that a picture lies in.
        split: with train, val, test.
        group: what no split may divide.
        value: how sure a label is.
        boxes: left, top, right, bottom.
        left_out: columns that are not read.
        notes: what the user should know of this.
    """

    file: str
    labels: tuple[str, ...]
    form: Form
    split: str | None = None
    group: str | None = None
    value: str | None = None
    boxes: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def roles_of(grid: Grid, settings: Table, wanted: Sequence[str] | None, is_picture: Callable[[str], bool]) -> Roles:
    """Says which column is what.

    Args:
        grid: the table.
        settings: what is said of its columns.
        wanted: `data.classes`.
        is_picture: whether a cell names a picture of the dataset.

    Raises:
        DataError: a named column is missing, or there are several readings: which to write for each.
    """
    return _Finder(grid, settings, wanted, is_picture).roles()


class _Finder:
    def __init__(
        self, grid: Grid, settings: Table, wanted: Sequence[str] | None, is_picture: Callable[[str], bool]
    ) -> None:
        self.grid, self.table, self.settings, self.wanted = grid, grid.table, settings, wanted
        self.is_picture = is_picture
        self.notes: list[str] = []
        for key in ("file_column", "split_column", "label_column", "group_column", "value_column"):
            if (column := getattr(settings, key)) is not None:
                self._require(column, f"data.table.{key}")
        for key in ("label_columns", "box_columns"):
            for column in getattr(settings, key) or ():
                self._require(column, f"data.table.{key}")

    def roles(self) -> Roles:
        named_labels = {self.settings.label_column, *(self.settings.label_columns or ())}
        file = self.settings.file_column or self._file_column(named_labels)
        if not pa.types.is_string(self.table[file].type):
            raise DataError(
                f"data.table: column {file!r} of {self.grid.name} is not a file name but {self.table[file].type}"
            )
        free = [name for name in self.table.column_names if name != file]
        boxes = self.settings.box_columns or box_columns(free)
        index = [name for name in free if _is_index(self.table, name)]
        free = [name for name in free if name not in (boxes or ()) and name not in index]
        if self.wanted is not None and set(self.wanted) <= set(free):
            named_labels |= set(self.wanted)
        split = self.settings.split_column or self._split_column(free, named_labels)
        group = self.settings.group_column or self._group_column(free, named_labels)
        value = self.settings.value_column or self._value_column(free, named_labels)
        empty = [name for name in free if name not in named_labels and not is_label_column(self.table[name])]
        free = [name for name in free if name not in (split, group, value, *empty)]
        labels, form = self._labels(file, free, boxes is not None)
        if form == "cells" and labels[0] not in named_labels and len(free) == 1 and (group or value):
            self.notes.append(f"{self.grid.name}: labels are in column {labels[0]!r}")
        return Roles(
            file,
            labels,
            form,
            split,
            group,
            value,
            boxes,
            tuple(name for name in [*index, *empty, *free] if name not in labels),
            tuple(self.notes),
        )

    def _labels(self, file: str, free: list[str], boxes: bool) -> tuple[tuple[str, ...], Form]:
        settings = self.settings
        if settings.labels_from == "folder":
            return (), "folder"
        if settings.label_columns is not None:
            return settings.label_columns, self._flag_form(settings.label_columns)
        if settings.label_column is not None:
            return (settings.label_column,), "cells"
        if self.wanted is not None and set(self.wanted) <= set(free) and settings.format != "labels":
            return tuple(self.wanted), self._flag_form(self.wanted)
        if not free:
            return (), "folder"
        flags = [name for name in free if are_flags(self.table[name])]
        if settings.format == "one_hot":
            return tuple(free), self._flag_form(free)
        if settings.format == "auto" and len(free) > 1 and not boxes:
            if not self.grid.header and flags:
                raise DataError(
                    f"data.table: {self.grid.name} has one column per label, and its first line is an image's: it "
                    "must have the names of the columns"
                )
            if len(flags) == len(free):
                return tuple(free), "flags"
            if are_shares([self.table[name] for name in free]):
                return tuple(free), "shares"
        if len(free) == 1:
            single_flags = bool(flags) and settings.format == "auto" and settings.kind == "multi"
            return (free[0],), "flags" if single_flags else "cells"
        hints = [name for name in free if plain_name(name) in LABEL_NAMES]
        if len(hints) == 1 and (boxes or len(flags) < 2):
            others = [name for name in free if name != hints[0] and not (boxes and plain_name(name) in OF_BOXES)]
            unread = f"; not read: {listed(others)}" if others else ""
            self.notes.append(f"{self.grid.name}: labels are in column {hints[0]!r}{unread}")
            return (hints[0],), "cells"
        raise DataError(self._question(file, free, flags))

    def _question(self, file: str, free: Sequence[str], flags: Sequence[str]) -> str:
        """Why it cannot be told which columns are labels, and what to write."""
        name = self.grid.name
        if flags and self.settings.format == "auto":
            other = next(each for each in free if each not in flags)
            row = next((row for row, cell in enumerate(self.table[other].to_pylist()) if _is_no_flag(cell)), 0)
            value = self.table[other][row].as_py()
            written = ", ".join(flags[:20]) + (", …" if len(flags) > 20 else "")
            return (
                f"data.table: column {other!r} is not a label: {name}, row {row + 1} has {value!r}\n"
                f"  {len(flags)} of the columns beside {file!r} are of 0 and 1 ({listed(flags)}), the others are not "
                f"({listed([each for each in free if each not in flags])}). Name the labels: "
                f"data.table.label_columns: [{written}], or data.table.label_column: NAME"
            )
        return (
            f"data.table: {name} has the columns {listed(free)} beside {file!r}: "
            "which one holds the labels? Name it with data.table.label_column"
        )

    def _flag_form(self, columns: Sequence[str]) -> Form:
        flags = all(are_flags(self.table[name]) for name in columns)
        return "shares" if not flags and are_shares([self.table[name] for name in columns]) else "flags"

    def _file_column(self, taken: set[str | None]) -> str:
        """The column whose cells are pictures; the first where none is (what is missing is told later)."""
        scores = {name: score for name, score in _file_scores(self.grid, self.is_picture).items() if name not in taken}
        if not scores:
            name = self.table.column_names[0]
            kind = self.table[name].type
            raise DataError(f"data.table: column {name!r} of {self.grid.name} is not a file name but {kind}")
        best = max(scores, key=lambda name: scores[name])
        if scores[best][:2] == (0.0, 0.0):
            return best if scores[best][2] else next(iter(scores))
        same = [name for name, score in scores.items() if score[:3] == scores[best][:3] and score[1] > 0]
        if len(same) > 1 and self.settings.file_column is None:
            raise DataError(
                f"data.table: the columns {listed(same)} of {self.grid.name} name images: which one holds those to "
                "learn from? Name it with data.table.file_column"
            )
        return best

    def _split_column(self, free: Sequence[str], taken: set[str | None]) -> str | None:
        found = []
        for name in free:
            if name in taken or not pa.types.is_string(self.table[name].type):
                continue
            values = [value for value in pc.unique(self.table[name]).to_pylist() if value and value.strip()]
            if plain_name(name) in FLAGS_OF_SPLITS and are_flags(self.table[name]):
                found.append(name)
            labels_named = bool(taken - {None}) or plain_name(name) == "fold"
            if (
                not labels_named
                and plain_name(name) in SPLIT_NAMES
                and values
                and all(value.strip().isdigit() for value in values)
            ):
                raise DataError(
                    f"data.table: column {name!r} of {self.grid.name} has the values {listed(sorted(values))}: does it "
                    "give the splits? Write train, val and test there, or name the labels with data.table.label_column "
                    "or data.table.label_columns"
                )
            if are_splits(values) and (plain_name(name) in SPLIT_NAMES or len(values) > 1):
                found.append(name)
        if len(found) > 1:
            raise DataError(
                f"data.table: the columns {listed(found)} of {self.grid.name} give splits: name one with "
                "data.table.split_column"
            )
        if found:
            self.notes.append(f"{self.grid.name}: splits are in column {found[0]!r}")
        return found[0] if found else None

    def _group_column(self, free: Sequence[str], taken: set[str | None]) -> str | None:
        for name in free:
            if name in taken or plain_name(name) not in GROUP_NAMES:
                continue
            column = self.table[name]
            if pa.types.is_string(column.type) and 1 < pc.count_distinct(column).as_py() < len(column):
                self.notes.append(
                    f"{self.grid.name}: images of one {name} never fall on both sides of a split "
                    "(data.split.group_by: none divides them)"
                )
                return name
        return None

    def _value_column(self, free: Sequence[str], taken: set[str | None]) -> str | None:
        if len(free) < 2:
            return None
        for name in free:
            if name not in taken and plain_name(name) in VALUE_NAMES and are_shares([self.table[name]]):
                return name
        return None

    def _require(self, column: str, key: str) -> None:
        names = self.table.column_names
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"{key}: {self.grid.name} has no column {column!r}{hint}; it has {listed(names)}")


def box_columns(names: Sequence[str]) -> tuple[str, ...] | None:
    """The columns of left, top, right and bottom; None: there are none of such names."""
    by_name = {plain_name(name): name for name in names}
    for known in BOXES:
        if all(name in by_name for name in known):
            return tuple(by_name[name] for name in known)
    return None


def picture_column(grid: Grid, is_picture: Callable[[str], bool]) -> tuple[str | None, float]:
    """The column whose cells name pictures best, and the share of its cells that do."""
    scores = _file_scores(grid, is_picture)
    if not scores:
        return None, 0.0
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best][0]


def sample(column: pa.ChunkedArray) -> list[str]:
    """Some of the cells that are not empty, from all over a column of text."""
    step = max(1, len(column) // _SAMPLE)
    return [cell for row in range(0, len(column), step) if (cell := column[row].as_py()) and cell.strip()][:_SAMPLE]


_Score = tuple[float, float, bool, bool, float, int]


def _file_scores(grid: Grid, is_picture: Callable[[str], bool]) -> dict[str, _Score]:
    """By column of text, how well it serves as the column of files; the highest serves best."""
    scores: dict[str, _Score] = {}
    for place, name in enumerate(grid.table.column_names):
        if not pa.types.is_string(grid.table[name].type):
            continue
        cells = sample(grid.table[name])
        num = max(len(cells), 1)
        scores[name] = (
            round(sum(map(is_picture, cells)) / num, 1),
            round(sum(map(_has_suffix, cells)) / num, 1),
            plain_name(name) in FILE_NAMES,
            not _is_index(grid.table, name),
            round(len(set(cells)) / num, 1),
            -place,
        )
    if any(score[1] >= _NEARLY_ALL for score in scores.values()):
        # Where a column has the names of files, the numbers of another may be found as `1.jpg`, but are none.
        for name in [name for name in scores if all(map(_is_number, sample(grid.table[name])))]:
            scores[name] = (0.0, *scores[name][1:])
    return scores


def _is_number(cell: str) -> bool:
    return cell.strip().removeprefix("-").replace(".", "", 1).isdigit()


def _is_index(table: pa.Table, name: str) -> bool:
    """Whether a column only counts the rows, as pandas writes it."""
    if name and not name.startswith("Unnamed:") and name not in ("index", "__index_level_0__"):
        return False
    column = table[name]
    if not pa.types.is_string(column.type):
        return False
    ends = (column[0].as_py(), column[-1].as_py())
    return not name or ends in (("0", str(len(column) - 1)), ("1", str(len(column))))


def _has_suffix(cell: str) -> bool:
    return PurePosixPath(cell.strip().replace("\\", "/")).suffix.lower() in SUFFIXES


def _is_no_flag(cell: object) -> bool:
    return not isinstance(cell, str) or cell.strip().lower() not in ("", "0", "1", "0.0", "1.0", "true", "false")


def is_label_column(column: pa.ChunkedArray) -> bool:
    """Whether a column can hold labels: text or lists of text, not all of it empty."""
    if is_list(column.type):
        return bool(pa.types.is_string(column.type.value_type))
    if not pa.types.is_string(column.type):
        return False
    return any(value and value.strip() for value in pc.unique(column).to_pylist())
