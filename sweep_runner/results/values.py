"""Arrow columns as Python values, without pandas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa


def values_of(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column as Python values; points in time as `datetime` with their zone (UTC if they have none)."""
    if not pa.types.is_timestamp(column.type):
        values: list[Any] = column.to_pylist()
        return values
    # `to_pylist` imports pandas for these, which takes longer than everything else that `sweep ls` does.
    zone = UTC if column.type.tz in (None, "UTC") else ZoneInfo(column.type.tz)
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    numbers = [number for chunk in chunks for number in chunk.view(pa.int64()).to_pylist()]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        None
        if number is None
        else (epoch + timedelta(seconds=number // unit, microseconds=number % unit * 10**6 // unit)).astimezone(zone)
        for number in numbers
    ]


def rows_of(table: pa.Table) -> list[Mapping[str, Any]]:
    """A table as one mapping a row."""
    columns = [values_of(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
