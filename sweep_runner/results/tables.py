"""Reading the tables of one sweep or of many: united by column name, damaged parts left out and named.

Works while a sweep is running: parts are replaced whole, so that each read sees one or the other.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweep_runner.durable import lock_holder
from sweep_runner.results.parquet_digest import check_parquet
from sweep_runner.results.parts import part_files
from sweep_runner.results.paths import LEASE_FILE, ResultsPaths, SweepPaths
from sweep_runner.results.schemas import empty_table

Warn = Callable[[str], None]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One readable Parquet file of a table.

    Attributes:
        path: of the file.
        schema: of its columns.
        sweep: whose it is: the name of the sweep's folder, whatever the rows say.
        is_renamed: whether the rows say otherwise: the folder was copied or renamed.
    """

    path: Path
    schema: pa.Schema
    sweep: str
    is_renamed: bool = False

    def read(self) -> pa.Table:
        """Its rows, under the name of the sweep's folder."""
        table = _read(self.path)
        return _of_sweep(table, self.sweep) if self.is_renamed else table


def read_part(path: Path, columns: Collection[str] | None = None) -> pa.Table:
    """Reads one part.

    Args:
        path: the file.
        columns: only these, where the part has them; by default all.

    Raises:
        OSError, pyarrow.ArrowInvalid: the file is missing or damaged.
    """
    check_parquet(path)
    sweep = path.parents[2].name  # <sweep>/tables/<table>/<part>
    table = _read(path, columns)
    return _of_sweep(table, sweep) if _says_otherwise(pq.read_metadata(path), sweep) else table


def _of_sweep(table: pa.Table, sweep: str) -> pa.Table:
    if "sweep" not in table.column_names:
        return table  # it was not asked for
    return table.set_column(
        table.column_names.index("sweep"), "sweep", pa.repeat(pa.scalar(sweep, pa.string()), len(table))
    )


def _says_otherwise(metadata: pq.FileMetaData, sweep: str) -> bool:
    """Whether the rows of a part have another name than the folder that it is in."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema == "sweep":
                found = column.statistics
                if found is None or not found.has_min_max or {found.min, found.max} != {sweep}:
                    return True
                break
    return False


def _read(path: Path, columns: Collection[str] | None = None) -> pa.Table:
    # Not `pq.read_table`: it imports pyarrow.dataset, which takes longer than the rest of `sweep ls`.
    with pq.ParquetFile(path) as file:
        if columns is not None:
            columns = [name for name in file.schema_arrow.names if name in columns]
        return file.read(columns=columns)


def find_parts(
    results: ResultsPaths, table: str, sweeps: Collection[str] | None = None, warn: Warn = _LOGGER.warning
) -> list[Part]:
    """Every readable part of a table, in the order of sweeps.

    Args:
        results: where the sweeps are.
        table: the table's name.
        sweeps: only these sweeps; by default all.
        warn: told of each damaged part, which is left out.
    """
    parts = []
    for paths in results.sweeps():
        if sweeps is not None and paths.name not in sweeps:
            continue
        for path in part_files(paths.table(table)):
            try:
                check_parquet(path)
                metadata = pq.read_metadata(path)
                renamed = _says_otherwise(metadata, paths.name)
                parts.append(Part(path, metadata.schema.to_arrow_schema(), paths.name, renamed))
            except (OSError, pa.ArrowInvalid) as error:
                warn(damaged_message(path, error))
    return parts


def damaged_message(path: Path, error: Exception) -> str:
    """What to tell of a part that cannot be read."""
    return f"{path} cannot be read and is left out ({_first_line(error)}); resuming its sweep rewrites it"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_table(
    results: ResultsPaths, table: str, sweeps: Collection[str] | None = None, warn: Warn = _LOGGER.warning
) -> pa.Table:
    """A table of several sweeps in memory, united by column name.

    A column that is missing in a part is null there. Whole numbers and floats unite to floats; any other
    two types to text. In `sweeps`, a sweep whose driver is gone has the state INTERRUPTED.

    Args:
        results: where the sweeps are.
        table: one of `TABLES`.
        sweeps: only these sweeps; by default all.
        warn: told of each damaged part, which is left out.
    """
    tables = []
    for part in find_parts(results, table, sweeps, warn):
        try:
            tables.append(part.read())
        except (OSError, pa.ArrowInvalid) as error:
            warn(damaged_message(part.path, error))
    united = unite(tables) if tables else empty_table(table)
    return with_live_states(results, united) if table == "sweeps" else united


def unite(tables: Iterable[pa.Table]) -> pa.Table:
    """Puts tables below each other, by column name. As `load_table`."""
    tables = list(tables)
    schema = united_schema([table.schema for table in tables])
    return pa.concat_tables([_conform(table, schema) for table in tables])


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = {}
    for field in schema:
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(len(table), field.type)
            continue
        column = table[field.name]
        if column.type != field.type:
            column = as_text(column) if pa.types.is_string(field.type) else column.cast(field.type)
        columns[field.name] = column
    return pa.table(columns, schema=schema)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as text; lists and the like as Python shows them."""
    if pa.types.is_nested(column.type):
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    return column.cast(pa.string())


def united_schema(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The columns of all schemas, in the order in which they first come, each with a type for all its values.

    Columns that only later schemas have go after their left neighbour there, so that params stay among params.
    """
    order: list[str] = []
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        position = 0
        for field in schema:
            if field.name in types:
                types[field.name] = common_type(types[field.name], field.type)
                position = order.index(field.name) + 1
            else:
                types[field.name] = field.type
                order.insert(position, field.name)
                position += 1
    return pa.schema([(name, types[name]) for name in order])


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both: the same, a float for two numbers, else text."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if _is_number(one) and _is_number(other):
        return pa.int64() if pa.types.is_integer(one) and pa.types.is_integer(other) else pa.float64()
    return pa.string()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def live_state(paths: SweepPaths, state: str | None) -> str:
    """The state of a sweep as it is now: RUNNING is INTERRUPTED when no process holds its lock, here or elsewhere.

    Args:
        paths: of the sweep.
        state: as its table says; None when it says nothing yet.
    """
    if state in (None, "RUNNING") and lock_holder(paths.lock) is None and not _written_elsewhere(paths):
        return "INTERRUPTED"
    return state or "RUNNING"


def _written_elsewhere(paths: SweepPaths) -> bool:
    """Whether another machine had the sweep's lease a moment ago; only of remote results is there one."""
    try:
        until: float = json.loads((paths.root / LEASE_FILE).read_bytes())["until"]
    except FileNotFoundError:
        return False
    return time.time() < until


def with_live_states(results: ResultsPaths, table: pa.Table) -> pa.Table:
    """The `sweeps` table with the states of now. As `live_state`."""
    names, states = table["sweep"].to_pylist(), table["state"].to_pylist()
    now = [live_state(results.sweep(name), state) for name, state in zip(names, states, strict=True)]
    return table.set_column(table.column_names.index("state"), "state", pa.array(now, pa.string()))
