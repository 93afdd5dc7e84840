"""Tables of labels, whatever wrote them: CSV, TSV, Parquet, Arrow, or one list a label."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trainables.errors import DataError
from trainables.image.data_forms import Table

YES, NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false", ""})
DELIMITERS = ("\t", ";", ",", "|")
SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True)
class Labels:
    """What a table says.

    Attributes:
        names: of pictures as written, a row each.
        labels: a row's class numbers.
        classes: the class names.
        splits: as written; None where the table has no such column.
        places: how to speak of each row: "labels.csv, line 3".
        notes: what the user should know.
        one_row_each: whether a picture has one row; else its rows' labels are united.
    """

    names: Sequence[str]
    labels: Sequence[Sequence[int]]
    classes: tuple[str, ...]
    splits: Sequence[str] | None
    places: Sequence[str]
    notes: tuple[str, ...] = ()
    one_row_each: bool = True


def read_labels(path: Path, settings: Table, wanted: Sequence[str] | None) -> Labels:
    """Reads the table.

    Args:
        path: the file or folder.
        settings: how to read it.
        wanted: `data.classes`.

    Raises:
        DataError: it cannot be read, or a column is not what it is said to be.
    """
    if not path.exists():
        raise DataError(f"data.table: {path} does not exist")
    if path.is_dir() or settings.format == "lists":
        return _read_lists(path)
    table = _read_table(path, settings)
    columns = _Columns(path.name, table, settings, wanted)
    if columns.are_one_hot():
        return columns.one_hot()
    return columns.label_names()


class _Columns:
    """A table whose columns are all text, or lists of text."""

    def __init__(self, name: str, table: pa.Table, settings: Table, wanted: Sequence[str] | None) -> None:
        self.name = name
        self.table = table
        self.settings = settings
        self.file_column = settings.file_column or table.column_names[0]
        known = {
            "file_column": settings.file_column,
            "split_column": settings.split_column,
            "label_column": settings.label_column,
        }
        for key, column in known.items():
            if column is not None:
                self._require(column, f"data.table.{key}")
        for column in settings.label_columns or ():
            self._require(column, "data.table.label_columns")
        taken = {self.file_column, settings.split_column}
        self.others = [column for column in table.column_names if column not in taken]
        if settings.label_columns is not None:
            self.others = list(settings.label_columns)
        elif wanted is not None and settings.label_column is None and set(wanted) <= set(self.others):
            self.others = list(wanted)
        if not self.others:
            raise DataError(f"data.table: {name} has only the column {self.file_column!r}: no label")
        file_type = table[self.file_column].type
        if not pa.types.is_string(file_type):
            raise DataError(f"data.table: column {self.file_column!r} of {name} is no file name but {file_type}")
        self.names = table[self.file_column].to_pylist()
        self.splits = None if settings.split_column is None else table[settings.split_column].to_pylist()

    def are_one_hot(self) -> bool:
        """Whether each label has a column."""
        if self.settings.format != "auto":
            return self.settings.format == "one_hot"
        if self.settings.label_column is not None:
            return False
        if self.settings.label_columns is not None or len(self.others) > 1:
            return True
        column = self.table[self.others[0]]
        if not pa.types.is_string(column.type):
            return False
        return all(_plain(value) in YES | NO for value in pc.unique(column).to_pylist())

    def one_hot(self) -> Labels:
        matrix = np.zeros((len(self.table), len(self.others)), dtype=bool)
        num_empty = 0
        for place, column in enumerate(self.others):
            matrix[:, place], empty = self._yes_or_no(column)
            num_empty += empty
        notes = (f"{num_empty} empty cells of {self.name} read as 0",) if num_empty else ()
        labels = [np.flatnonzero(row).tolist() for row in matrix]
        return Labels(self.names, labels, tuple(self.others), self.splits, self._places(), notes)

    def label_names(self) -> Labels:
        column = self.settings.label_column
        if column is None:
            if len(self.others) > 1:
                raise DataError(
                    f"data.table: {self.name} has the columns {_listed(self.others)} beside {self.file_column!r}: "
                    "which one holds the labels? Name it with data.table.label_column"
                )
            (column,) = self.others
        values = self.table[column]
        notes: list[str] = []
        if pa.types.is_list(values.type):
            rows = [[str(name).strip() for name in row or () if name is not None] for row in values.to_pylist()]
        else:
            cells = [cell or "" for cell in values.to_pylist()]
            separator = self.settings.separator
            if separator is None:
                separator = next((each for each in SEPARATORS if any(each in cell for cell in cells)), None)
                if separator is None and any(" " in cell.strip() for cell in cells):
                    notes.append(
                        f"column {column!r} is not split: none of {' '.join(SEPARATORS)} is in it; "
                        'if a space separates labels, say so: data.table.separator: " "'
                    )
            rows = [[cell] if separator is None else cell.split(separator) for cell in cells]
        rows = [[name.strip() for name in row if name.strip()] for row in rows]
        classes = tuple(sorted({name for row in rows for name in row}))
        number = {name: place for place, name in enumerate(classes)}
        labels = [sorted({number[name] for name in row}) for row in rows]
        return Labels(self.names, labels, classes, self.splits, self._places(), tuple(notes), one_row_each=False)

    def _yes_or_no(self, column: str) -> tuple[npt.NDArray[np.bool_], int]:
        """Which rows have the label, (N,), and how many cells are empty.

        Raises:
            DataError: a value is no yes and no no.
        """
        values = self.table[column]
        if not pa.types.is_string(values.type):
            raise DataError(f"data.table: column {column!r} of {self.name} is of type {values.type}: no label")
        encoded = pc.fill_null(values, "").combine_chunks().dictionary_encode()
        known = [_plain(value) for value in encoded.dictionary.to_pylist()]
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        for code, value in enumerate(known):
            if value not in YES | NO:
                row = int(np.flatnonzero(codes == code)[0])
                wrong = encoded.dictionary[code].as_py()
                raise DataError(
                    f"data.table: column {column!r} is no label: {self._place(row)} has {wrong!r} "
                    "in it, and a label is 0 or 1 (or false, true).\n"
                    "  Name the columns that are labels: data.table.label_columns: [...] "
                    "(or one column of label names: data.table.label_column)"
                )
        is_yes = np.array([value in YES for value in known], dtype=bool)
        is_empty = np.array([value == "" for value in known], dtype=bool)
        return is_yes[codes], int(is_empty[codes].sum())

    def _require(self, column: str, key: str) -> None:
        if column not in self.table.column_names:
            import difflib

            near = difflib.get_close_matches(column, self.table.column_names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(
                f"{key}: {self.name} has no column {column!r}{hint}; it has {_listed(self.table.column_names)}"
            )

    def _places(self) -> list[str]:
        return [self._place(row) for row in range(len(self.table))]

    def _place(self, row: int) -> str:
        return f"{self.name}, row {row + 1}"


def _read_table(path: Path, settings: Table) -> pa.Table:
    """A table of text, whatever the file is."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            table = pq.read_table(path)
        elif suffix in (".arrow", ".feather"):
            from trainables.image.pixels.containers import map_arrow

            table = map_arrow(path)
        else:
            table = _read_csv(path, settings.delimiter)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.table: {path} cannot be read: {' '.join(str(error).split())[:500]}") from error
    table = table.rename_columns([name.strip() for name in table.column_names])
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise DataError(f"data.table: {path} has the column {twice[0]!r} twice")
    if not len(table):
        raise DataError(f"data.table: {path} has no row below its column names {_listed(names)}")
    return pa.table({name: _as_text(table[name]) for name in names})


def _read_csv(path: Path, delimiter: str | None) -> pa.Table:
    from pyarrow import csv

    text = _text(path)
    header = text.split("\n", 1)[0].split("\r", 1)[0]
    if not header.strip():
        raise DataError(f"data.table: {path} is empty, or its first line is: it must have the names of the columns")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=header.count) if path.suffix.lower() != ".tsv" else "\t"
    names = _header(header, delimiter)
    if any(_plain(name) in YES | NO - {""} for name in names):
        raise DataError(
            f"data.table: the first line of {path} must have the names of the columns; it has {_listed(names)}"
        )
    everything_text = csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False)
    content = text.encode()
    return csv.read_csv(
        io.BytesIO(content),
        # One block: a line that is too long for one is no error then.
        read_options=csv.ReadOptions(block_size=len(content) + 1, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=everything_text,
    )


def _header(line: str, delimiter: str) -> list[str]:
    import csv

    return next(csv.reader([line], delimiter=delimiter))


def _text(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"data.table: {path} is not UTF-8 (byte {error.start + 1}, 0x{content[error.start]:02x}): save it as such"
        ) from error


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text stays, numbers and booleans become it, lists stay lists; anything else keeps its type and is no label."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type))
    if pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return column.cast(pa.list_(pa.string()))
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_large_string(kind)
    ):
        return column.cast(pa.string())
    return column


def _read_lists(path: Path) -> Labels:
    """A folder of lists: each file is a label, each of its lines a picture that has it."""
    if not path.is_dir():
        raise DataError(f"data.table: {path} is no folder of list files (data.table.format: lists)")
    files = [
        file
        for file in sorted(path.iterdir())
        if file.is_file() and file.suffix.lower() in (".txt", ".csv", ".tsv", ".lst", "")
    ]
    files = [file for file in files if not file.name.startswith(".")]
    rows: list[tuple[str, int, str]] = []
    notes: list[str] = []
    classes: list[str] = []
    for file in files:
        found = list(_list_lines(file))
        if not any(has for _, has, _ in found):
            notes.append(f"{file.name} lists no picture: not a label")
            continue
        rows += [(name, len(classes), place) for name, has, place in found if has]
        classes.append(file.stem)
    if not classes:
        raise DataError(f"data.table: no list in {path} names a picture (looked for *.txt, one a label)")
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise DataError(f"data.table: {path} has two lists for the label {twice[0]!r}")
    return Labels(
        [name for name, _, _ in rows],
        [[label] for _, label, _ in rows],
        tuple(classes),
        None,
        [place for _, _, place in rows],
        tuple(notes),
        one_row_each=False,
    )


_SIGNS: Mapping[str, bool] = {"1": True, "-1": False, "0": False}


def _list_lines(file: Path) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it has the label (VOC's lists a class say so with 1, -1 or 0 behind the name), and place."""
    for number, line in enumerate(_text(file).splitlines(), start=1):
        name, _, sign = line.strip().rpartition(" ")
        place = f"{file.name}, line {number}"
        if name and sign in _SIGNS:
            yield name.strip(), _SIGNS[sign], place
        elif line.strip():
            yield line.strip(), True, place


def _plain(value: str | None) -> str:
    return (value or "").strip().lower()


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
