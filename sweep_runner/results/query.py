"""SQL over the tables of all sweeps. A query can read these tables and nothing else, and can write nothing.

DuckDB runs in memory with access to files, network and extensions off. The tables come to it as Arrow
datasets, so that it needs no right to open a file, and reads only the columns and rows that a query wants.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.annotations import TABLE as ANNOTATIONS
from sweep_runner.results.annotations import annotations_table
from sweep_runner.results.meanings import meaning
from sweep_runner.results.paths import TABLES, ResultsPaths
from sweep_runner.results.schemas import empty_table
from sweep_runner.results.tables import (
    _LOGGER,
    Part,
    Warn,
    damaged_message,
    find_parts,
    load_table,
    read_part,
    unite,
    united_schema,
)

QUERIED = (*TABLES, ANNOTATIONS)
"""What SQL may name."""
TIME_LIMIT_S = 300.0
MEMORY_LIMIT = "4GB"
READS_ONLY = "queries are read-only: SELECT, WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
_LIST_HINT = "`sweep query --list` shows every table with its columns"


def run_query(
    results: ResultsPaths,
    sql: str,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    memory_limit: str = MEMORY_LIMIT,
    warn: Warn = _LOGGER.warning,
) -> pa.Table:
    """Runs one SQL query over the tables of all sweeps.

    Args:
        results: where the sweeps are.
        sql: one statement that reads.
        time_limit_s: a query that takes longer is stopped.
        memory_limit: what DuckDB may use, in its own notation (`4GB`).
        warn: told of each damaged part, which is left out.

    Raises:
        RequestError: the SQL is wrong, wants to write, reads something else, or is too much.
        SweepError: the tables cannot be read.
    """
    _check_statement(sql)
    tables = _named_tables(sql)
    skip: set[Path] = set()
    while True:
        try:
            return _run(results, sql, tables, skip, time_limit_s, memory_limit, warn)
        except _Unreadable as error:
            # A part whose footer is whole but not its pages: find it, and go on without it.
            damaged = _damaged_pages(results, tables, skip, warn)
            if not damaged:
                raise SweepError(f"the tables cannot be read: {error}") from error
            skip |= damaged


class _Unreadable(Exception):
    """Arrow could not read a part in the middle of the query."""


def _run(
    results: ResultsPaths,
    sql: str,
    tables: Collection[str],
    skip: Collection[Path],
    time_limit_s: float,
    memory_limit: str,
    warn: Warn,
) -> pa.Table:
    with _closed_database(memory_limit) as database:
        for table in tables:
            _register(database, results, table, skip, warn)
        database.execute("SET lock_configuration = true")
        timer = threading.Timer(time_limit_s, database.interrupt)
        timer.start()
        try:
            return database.sql(sql).to_arrow_table()
        except duckdb.InterruptException as error:
            raise RequestError(
                f"the query was stopped after {time_limit_s:g} s",
                hint="read fewer rows (WHERE sweep = ...), or allow more with --time-limit SECONDS",
            ) from error
        except duckdb.Error as error:
            raise _told(error) from error
        finally:
            timer.cancel()


@contextmanager
def _closed_database(memory_limit: str) -> Iterator[Any]:
    database = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,  # no table out of a Python variable
            "temp_directory": "",  # nothing is spilled to disk
            "memory_limit": memory_limit,
        },
    )
    try:
        yield database
    finally:
        database.close()


def _check_statement(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise _told(error) from error
    if not statements:
        raise RequestError("the query is empty", hint=_LIST_HINT)
    if len(statements) > 1:
        raise RequestError(f"{len(statements)} statements, but a query must be one", hint="run them one by one")
    kind = statements[0].type.name
    if kind not in ("SELECT", "EXPLAIN"):
        shown = "PIVOT as a statement" if kind == "MULTI" else kind
        raise RequestError(f"{shown} is refused: {READS_ONLY}")


def _named_tables(sql: str) -> list[str]:
    """The tables that the text names; all when it names none (SHOW TABLES)."""
    words = set(re.findall(r"\w+", sql.casefold()))
    return [table for table in QUERIED if table in words] or list(QUERIED)


def _register(database: Any, results: ResultsPaths, table: str, skip: Collection[Path], warn: Warn) -> None:
    if table == "sweeps":  # small, and its states depend on who is alive now
        database.register(table, load_table(results, table, warn=warn))
        return
    if table == ANNOTATIONS:
        database.register(table, annotations_table(results, warn))
        return
    parts = [part for part in find_parts(results, table, warn=warn) if part.path not in skip]
    if not parts:
        database.register(table, empty_table(table))
        return
    # SQL cannot name a column without a name, or with a NUL in it: earlier versions took such metrics.
    schema = pa.schema(
        [field for field in united_schema([part.schema for part in parts]) if field.name and "\0" not in field.name]
    )
    renamed = [part for part in parts if part.is_renamed]
    groups = _groups([part for part in parts if not part.is_renamed], schema)
    if len(groups) == 1 and not renamed:
        database.register(table, _dataset(parts, schema))
        return
    selects = []
    if renamed:  # few, so that they may be read at once
        database.register(f"{table}_renamed", _in_memory(renamed, schema))
        selects.append(f"SELECT {', '.join(map(_quoted, schema.names))} FROM {_quoted(f'{table}_renamed')}")
    for number, (texts, members) in enumerate(groups.items(), start=1):
        name = f"{table}_{number}"
        own = schema
        for column, kind in texts:
            own = own.set(own.get_field_index(column), pa.field(column, kind))
        database.register(name, _dataset(members, own))
        columns = ", ".join(
            f"CAST({_quoted(field.name)} AS VARCHAR) AS {_quoted(field.name)}"
            if field.type != own.field(field.name).type
            else _quoted(field.name)
            for field in schema
        )
        selects.append(f"SELECT {columns} FROM {_quoted(name)}")
    database.execute(f"CREATE VIEW {_quoted(table)} AS {' UNION ALL '.join(selects)}")


def _groups(parts: Collection[Part], schema: pa.Schema) -> dict[tuple[tuple[str, pa.DataType], ...], list[Part]]:
    """Parts by the columns that must become text in them, with the type that these have there.

    Arrow cannot compare such a column with text when DuckDB hands it a filter, so DuckDB makes the text.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    groups: dict[tuple[tuple[str, pa.DataType], ...], list[Part]] = {}
    for part in parts:
        kinds = ((name, part.schema.field(name).type) for name in texts if name in part.schema.names)
        key = tuple((name, kind) for name, kind in kinds if not pa.types.is_string(kind) and not pa.types.is_null(kind))
        groups.setdefault(key, []).append(part)
    return groups


def _dataset(parts: Collection[Part], schema: pa.Schema) -> ds.Dataset:
    return ds.dataset([str(part.path) for part in parts], schema=schema, format="parquet")


def _in_memory(parts: Collection[Part], schema: pa.Schema) -> pa.Table:
    try:
        return unite([*(part.read() for part in parts), schema.empty_table()])
    except (OSError, pa.ArrowInvalid) as error:
        raise _Unreadable(str(error)) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _damaged_pages(results: ResultsPaths, tables: Collection[str], skip: Collection[Path], warn: Warn) -> set[Path]:
    damaged = set()
    for table in tables:
        if table == ANNOTATIONS:
            continue
        for part in find_parts(results, table, warn=lambda text: None):
            if part.path in skip:
                continue
            try:
                read_part(part.path)
            except (OSError, pa.ArrowInvalid) as error:
                warn(damaged_message(part.path, error))
                damaged.add(part.path)
    return damaged


def _told(error: duckdb.Error) -> Exception:
    """DuckDB's error in the words of this command."""
    text = str(error).strip()
    if "reading the stream registered as" in text:
        return _Unreadable(text.splitlines()[0])
    message, _, place = text.partition("\n\n")
    message = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", message)
    if isinstance(error, duckdb.OutOfMemoryException):
        return RequestError(
            f"the query needs more than {MEMORY_LIMIT} of memory",
            hint="read fewer rows or columns, or aggregate before sorting and joining",
        )
    if isinstance(error, duckdb.PermissionException):
        return RequestError(f"refused: {message}", hint="a query can only read the tables of the results folder")
    unknown = re.match(r'Table with name "?(.+?)"? does not exist', message)
    if unknown:
        near = difflib.get_close_matches(unknown[1], QUERIED, n=1)
        did_you_mean = f"did you mean {near[0]!r}? " if near else ""
        return RequestError(
            f"no table {unknown[1]!r}", hint=f"{did_you_mean}Tables: {', '.join(QUERIED)}; {_LIST_HINT}"
        )
    return RequestError(f"the query is wrong: {message}" + (f"\n{place.rstrip()}" if place else ""), hint=_LIST_HINT)


def list_tables(results: ResultsPaths, warn: Warn = _LOGGER.warning) -> pa.Table:
    """Every column of every table: a row each, with its table, column, type (as a query sees it) and meaning."""
    rows = []
    with _closed_database(MEMORY_LIMIT) as database:
        for table in QUERIED:
            _register(database, results, table, (), warn)
            described = database.execute(f"DESCRIBE {table}").fetchall()
            rows += [
                {"table": table, "column": column, "type": kind, "meaning": meaning(table, column)}
                for column, kind, *_ in described
            ]
    return pa.Table.from_pylist(rows)
