"""How a command hands over a table: to the terminal, or in a format to stdout or a file."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from sweep_runner.cli.common import Out
from sweep_runner.cli.tables import print_table
from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_SCREEN_ROWS = 200
_BATCH_ROWS = 10_000


def check_output(file_format: str, output: Path | None) -> None:
    """Refuses what cannot work before the query runs.

    Raises:
        RequestError: Parquet to stdout of a terminal, a file name that says another format, or no such folder.
    """
    if output is None:
        if file_format == "parquet" and sys.stdout.isatty():
            raise RequestError("Parquet cannot be printed to a terminal", hint="add --output FILE, or redirect stdout")
        return
    said = _SUFFIXES.get(output.suffix.lower())
    if said is not None and said != file_format:
        raise RequestError(
            f"--format {file_format} into {output.name}, which looks like {said}", hint=f"use --format {said}"
        )
    if not output.absolute().parent.is_dir():
        raise RequestError(f"{output}: folder {output.absolute().parent} does not exist", hint="create it first")


def write_result(table: pa.Table, file_format: str, output: Path | None, out: Out) -> None:
    """Writes a query's result to stdout, or into a file that is complete or as it was before."""
    if output is not None:
        write_atomically(output, lambda file: _write(table, file_format, file))
        out.say(f"{len(table)} rows in {output}")
    elif file_format == "table" and sys.stdout.isatty():
        print_table(table.column_names, (_cells(row) for row in _rows(table.slice(0, _SCREEN_ROWS))), exact=True)
        if len(table) > _SCREEN_ROWS:
            out.say(f"the first {_SCREEN_ROWS} of {len(table)} rows; --format csv prints all")
    else:
        _write(table, file_format, sys.stdout.buffer)


def _write(table: pa.Table, file_format: str, file: BinaryIO) -> None:
    if file_format == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, file)
        return
    with _text(file) as stream:
        if file_format == "json":
            _write_json(table, stream)
        elif file_format == "csv":
            _write_delimited(table, stream, ",")
        elif file_format == "tsv":
            _write_delimited(table, stream, "\t")
        else:
            print_table(table.column_names, (_cells(row) for row in _rows(table)), stream=stream, exact=True)


@contextmanager
def _text(file: BinaryIO) -> Iterator[TextIO]:
    stream = TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()


def _write_json(table: pa.Table, stream: TextIO) -> None:
    names, separator = table.column_names, "["
    for row in _rows(table):
        record = {name: _json_value(value) for name, value in zip(names, row, strict=True)}
        stream.write(f"{separator}\n{json.dumps(record, ensure_ascii=False)}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def _write_delimited(table: pa.Table, stream: TextIO, delimiter: str) -> None:
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(_cells(row) for row in _rows(table))


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Row by row, without the whole result as Python objects at once. Columns may share a name."""
    from sweep_runner.results.values import values_of

    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from zip(*(values_of(column) for column in batch.columns), strict=True)


def _cells(row: tuple[Any, ...]) -> list[Any]:
    """Values as table cells: lists and the like as JSON."""
    return [
        json.dumps(_json_value(value), ensure_ascii=False) if isinstance(value, list | dict | tuple) else _plain(value)
        for value in row
    ]


def _plain(value: Any) -> Any:
    return value.isoformat(sep=" ") if hasattr(value, "isoformat") else value


def _json_value(value: Any) -> Any:
    """JSON has no NaN: null, as in every `--json`."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
