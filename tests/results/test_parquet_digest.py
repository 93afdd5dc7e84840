"""Every changed bit of a table's file shows, and any tool reads the file."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep_runner.results.parquet_digest import check_parquet, to_parquet

TABLE = pa.table(
    {"trial": list(range(200)), "val_accuracy": [number / 7 for number in range(200)], "name": ["a", "b"] * 100},
    metadata={"sweep_params": "{}"},
)


def test_other_tools_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(to_parquet(TABLE))
    check_parquet(path)
    assert pq.read_table(path).equals(TABLE)
    assert pq.read_schema(path).metadata[b"sweep_params"] == b"{}"
    assert pd.read_parquet(path)["val_accuracy"].sum() == pytest.approx(sum(range(200)) / 7)
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(200,)]


def test_each_changed_bit_shows_or_changes_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    whole = to_parquet(TABLE)
    places = random.Random(1)
    silent = 0
    for _ in range(400):
        place, bit = places.randrange(len(whole)), places.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            check_parquet(path)
            found = pq.read_table(path)
        except (OSError, pa.ArrowInvalid):
            continue
        silent += 1  # the name of the checksum was changed: it is taken for a file of an earlier version
        assert found.equals(TABLE)
    assert silent < 20


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(TABLE, path)
    check_parquet(path)
    path.write_bytes(b"")
    with pytest.raises(pa.ArrowInvalid, match="empty"):
        check_parquet(path)
