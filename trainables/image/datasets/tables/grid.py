"""A file as rows and columns of text, before anything is made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets.tables.lines import split_lines
from trainables.image.datasets.tables.text import decoded
from trainables.image.pixels.decode import SUFFIXES

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from trainables.image.settings.table import Table

DELIMITERS = ("\t", ";", ",", "|")
TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".lst", ".list", ".data", ""})
RECORD_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
BINARY_SUFFIXES = frozenset({".parquet", ".arrow", ".feather"})
_WORKBOOKS = frozenset({".xlsx", ".xls", ".ods"})
TABLE_SUFFIXES = TEXT_SUFFIXES | RECORD_SUFFIXES | BINARY_SUFFIXES

IsPicture = Callable[[str], bool]
"""Whether a cell names a picture of the dataset."""


@dataclass(frozen=True)
class Grid:
    """A table as written.

    Attributes:
        name: how to speak of the file.
        table: columns of text, or of lists of text; what is neither keeps its type and can be no label.
        header: whether the columns have names of their own; else they are `column 1`, `column 2`, …
        notes: what the user should know.
    """

    name: str
    table: pa.Table
    header: bool = True
    notes: tuple[str, ...] = ()


def read_grid(path: Path, name: str, settings: Table, is_picture: IsPicture, content: bytes | None = None) -> Grid:
    """Reads a table.

    Args:
        path: the file.
        name: how to speak of it.
        settings: how it is written, where that is said.
        is_picture: tells a first line of data from one of column names.
        content: the file's beginning, up to any byte, if that is enough (of JSON: all of it; of Parquet: some rows are
            read); by default all of it is read.

    Raises:
        DataError: it cannot be read, or has no row.
    """
    suffix = path.suffix.lower()
    notes: tuple[str, ...] = ()
    header = True
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            table = pq.read_table(path) if content is None else _first_rows(pq.ParquetFile(path))
        elif suffix in BINARY_SUFFIXES:
            from trainables.image.pixels.containers import map_arrow

            table = map_arrow(path)
        elif suffix in RECORD_SUFFIXES:
            from trainables.image.datasets.tables.records import read_records

            text, note = decoded(path.read_bytes() if content is None else content, name, settings.encoding)
            if content is not None and suffix != ".json":
                text = text[: text.rfind("\n") + 1] or text
            table, notes = read_records(text, name), (note,) if note else ()
        elif suffix in _WORKBOOKS:
            raise DataError(f"data.table: {path} is a spreadsheet: save it as CSV (in Excel: CSV UTF-8)")
        else:
            whole = content is None
            text, note = decoded(path.read_bytes() if content is None else content, name, settings.encoding)
            if not whole:
                text = text[: text.rfind("\n") + 1] or text
            table, header = _read_text(text, name, suffix, settings, is_picture)
            notes = (note,) if note else ()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.table: {path} cannot be read: {' '.join(str(error).split())[:500]}") from error
    table = table.rename_columns([column.strip() for column in table.column_names])
    names = table.column_names
    if twice := sorted({each for each in names if names.count(each) > 1}) if len(set(names)) < len(names) else []:
        raise DataError(f"data.table: {path} has the column {twice[0]!r} twice")
    if not len(table):
        raise DataError(f"data.table: {path} has no row below its column names {listed(names)}")
    return Grid(name, pa.table({each: as_text(table[each]) for each in names}), header, notes)


def _read_text(text: str, name: str, suffix: str, settings: Table, is_picture: IsPicture) -> tuple[pa.Table, bool]:
    """The table, and whether its first line named the columns."""
    lines = _first_lines(text)
    if not lines or not lines[0].strip():
        raise DataError(f"data.table: {name} is empty, or its first line is: it must have the names of the columns")
    delimiter = settings.delimiter or ("\t" if suffix == ".tsv" else _delimiter(lines))
    if delimiter is None or delimiter == " ":
        columns, count = split_lines(text.splitlines())
        first: Sequence[str] = [cells[0] for cells in columns]
        header = _has_header(first, name, settings, is_picture)
        names = [cell or f"column {number}" for number, cell in enumerate(first, 1)] if header else numbered(count)
        return pa.table([pa.array(cells[header:], pa.string()) for cells in columns], names=names), header
    first = next(csv.reader([lines[0]], delimiter=delimiter))
    header = _has_header(first, name, settings, is_picture)
    names = list(first) if header else numbered(len(first))
    return _parsed(text, names, delimiter, skip=int(header)), header


def _first_rows(file: pq.ParquetFile) -> pa.Table:
    batches = file.iter_batches(batch_size=1000)
    return pa.Table.from_batches([next(batches)]) if file.metadata.num_rows else file.read()


def _parsed(text: str, names: Sequence[str], delimiter: str, skip: int) -> pa.Table:
    from pyarrow import csv as arrow_csv

    # Columns get numbers while they are read, because two may have one name, which is told later.
    keys = numbered(len(names))
    content = text.encode()
    table = arrow_csv.read_csv(
        io.BytesIO(content),
        # One block: a line that is too long for one is no error then.
        read_options=arrow_csv.ReadOptions(
            block_size=len(content) + 1, use_threads=False, column_names=keys, skip_rows=skip
        ),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types={key: pa.string() for key in keys}, strings_can_be_null=False
        ),
    )
    return table.rename_columns(list(names))


def _first_lines(text: str, most: int = 30) -> list[str]:
    return text[:200_000].splitlines()[:most]


def _delimiter(lines: Sequence[str]) -> str | None:
    """What stands between columns: the same number of times in each line, else as in the first; None: white space."""
    full = [line for line in lines if line.strip()]
    if len(full) > 2 and len(lines) >= 30:
        full = full[:-1]  # it may be cut
    regular = {}
    for delimiter in DELIMITERS:
        counts = {len(row) for row in csv.reader(full, delimiter=delimiter)}
        if len(counts) == 1 and min(counts) > 1:
            regular[delimiter] = min(counts)
    if regular:
        return max(regular, key=lambda each: regular[each])
    most = max(DELIMITERS, key=lines[0].count)
    return most if lines[0].count(most) else None


def _has_header(first: Sequence[str], name: str, settings: Table, is_picture: IsPicture) -> bool:
    if settings.header is not None:
        return settings.header
    if any(PurePosixPath(cell.strip()).suffix.lower() in SUFFIXES or is_picture(cell) for cell in first):
        return False
    if any(cell.strip().lower() in ("1", "0", "1.0", "0.0", "true", "false") for cell in first):
        raise DataError(
            f"data.table: the first line of {name} must have the names of the columns; it has {listed(first)}\n"
            "  If it is the first image's, set data.table.header: false and name data.table.file_column (column 1, …)"
        )
    return True


def numbered(count: int) -> list[str]:
    """Names for columns that have none."""
    return [f"column {number}" for number in range(1, count + 1)]


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text stays, numbers and booleans become it, lists stay lists; anything else keeps its type and is not a label."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type))
    if is_list(kind):
        try:
            return column.cast(pa.list_(pa.string()))
        except pa.ArrowException:  # lists of lists, of boxes
            return column
    if pa.types.is_floating(kind):
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
        return column.cast(pa.int64(), safe=False).cast(pa.string()) if whole else column.cast(pa.string())
    if (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_large_string(kind)
        or str(kind) == "string_view"
        or pa.types.is_null(kind)
    ):
        return column.cast(pa.string())
    return column


def is_list(kind: pa.DataType) -> bool:
    """Whether cells of this type are lists, in any of Arrow's forms."""
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or str(kind).startswith(("list_view", "large_list_view"))
    )


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, the first of many."""
    return few_of([repr(name) if not name.strip() or name != name.strip() else name for name in names], most)
