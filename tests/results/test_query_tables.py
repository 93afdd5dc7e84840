from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_runner.durable import SweepLock
from sweep_runner.errors import RequestError
from sweep_runner.results.parquet_digest import to_parquet
from sweep_runner.results.paths import TABLES, ResultsPaths, SweepPaths
from sweep_runner.results.query import list_tables, run_query
from sweep_runner.results.tables import common_type, load_table, unite, united_schema
from sweep_runner.results.values import values_of

MakeSweep = Callable[..., SweepPaths]


def ask(results: ResultsPaths, sql: str, **options: Any) -> list[dict[str, Any]]:
    return list(run_query(results, sql, **options).to_pylist())


def test_a_query_unites_sweeps_with_different_params(mixed: ResultsPaths) -> None:
    found = ask(mixed, "select pooling, max(best_val_accuracy) best from trials group by pooling order by pooling")
    assert [row["pooling"] for row in found] == ["avg", "false", "max", "true"]
    assert found[0]["best"] == 0.02
    assert ask(mixed, "select sweep, lr from trials order by sweep, trial") == [
        {"sweep": "a", "lr": 1.0},
        {"sweep": "a", "lr": 2.0},
        {"sweep": "b", "lr": 0.5},
        {"sweep": "c", "lr": None},
        {"sweep": "c", "lr": None},
    ]


def test_a_copied_or_renamed_sweep_answers_under_its_folders_name(mixed: ResultsPaths) -> None:
    shutil.copytree(mixed.root / "a", mixed.root / "copy")
    (mixed.root / "b").rename(mixed.root / "other")
    for table in ("trials", "epochs", "sweeps"):
        found = [row["sweep"] for row in ask(mixed, f"select distinct sweep from {table} order by sweep")]
        assert found == ["a", "c", "copy", "other"], table
    assert ask(mixed, "select lr, pooling from trials where sweep = 'copy' order by lr") == ask(
        mixed, "select lr, pooling from trials where sweep = 'a' order by lr"
    )
    for table in ("trials", "epochs"):
        assert set(load_table(mixed, table, ["copy"])["sweep"].to_pylist()) == {"copy"}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("batch_size = '16'", 1),
        ("batch_size in ('16', 'auto')", 2),
        ("batch_size > '2'", 2),
        ("batch_size is null", 2),
        ("pooling = 'true'", 1),
        ("pooling <> 'avg'", 3),
        ("lr = 1", 1),
        ("lr > 0.4", 3),
        ("lr between 0.4 and 1", 2),
        ("momentum = 0.9", 1),
        ("momentum is null", 4),
        ("sweep = 'a' and batch_size like '3%'", 1),
        ("started > timestamp '2000-01-01'", 0),
    ],
)
def test_filters_work_on_columns_of_mixed_types(mixed: ResultsPaths, where: str, count: int) -> None:
    assert ask(mixed, f"select count(*) n from trials where {where}") == [{"n": count}]


def test_joins_and_every_table_work(mixed: ResultsPaths) -> None:
    joined = ask(
        mixed, "select t.sweep, count(*) n from epochs e join trials t using (sweep, trial) group by 1 order by 1"
    )
    assert joined == [{"sweep": "a", "n": 4}, {"sweep": "b", "n": 2}, {"sweep": "c", "n": 4}]
    assert [row["sweep"] for row in ask(mixed, "from sweeps order by sweep")] == ["a", "b", "c"]
    for table in TABLES:
        assert set(ask(mixed, f"describe {table}")[0]) >= {"column_name", "column_type"}
    assert ask(mixed, "select * from predictions") == []
    shown = {row["name"] for row in ask(mixed, "show tables")}
    assert set(TABLES) <= shown


def test_columns_that_differ_only_in_case_can_be_read(results: ResultsPaths, make_sweep: MakeSweep) -> None:
    make_sweep("a", [{"Lr": 1}])
    make_sweep("b", [{"lr": 2}])
    assert len(ask(results, "select * from trials")) == 2


def test_the_list_has_every_column(mixed: ResultsPaths) -> None:
    listed = {(row["table"], row["column"]): row["type"] for row in list_tables(mixed).to_pylist()}
    assert listed["trials", "batch_size"] == "VARCHAR"
    assert listed["trials", "lr"] == "DOUBLE"
    assert {table for table, _ in listed} == {*TABLES, "annotations"}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "empty"),
        ("  ; -- nothing", "empty"),
        ("selec 1", "syntax error"),
        ("select * from trials where", "wrong"),
        ("select best_val_acuracy from trials", r"best_val_accuracy"),
        ("select * from trails", r"no table 'trails'.*\n.*did you mean 'trials'"),
        ("select * from nothing", r"no table 'nothing'"),
        ("select 1; select 2", "2 statements"),
        ("select cast(state as int) from trials", "wrong"),
    ],
)
def test_wrong_sql_is_explained(mixed: ResultsPaths, sql: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as told:
        run_query(mixed, sql)
    assert told.value.exit_code == 2


WRITES = [
    "insert into trials values (1)",
    "update trials set state = 'COMPLETED'",
    "delete from trials",
    "drop view trials",
    "create table mine as select * from trials",
    "create view mine as select 1",
    "truncate trials",
    "alter table trials add column x int",
    "copy trials to '{outside}/stolen.csv'",
    "copy (select 1) to '{part}' (format parquet)",
    "copy (select 1) to '{part}' (format parquet, use_tmp_file false)",
    "export database '{outside}/all'",
    "explain analyze copy (select 1) to '{part}' (use_tmp_file false)",
    "with x as (copy (select 1) to '{part}' (use_tmp_file false)) select 1",
    "with x as (copy (select 1) to '{outside}/stolen.csv') select 1",
    "with x as (insert into trials values (1) returning *) select * from x",
    "explain analyze with x as (copy (select 1) to '{outside}/stolen.csv') select 1",
    "attach '{outside}/new.db'",
    "checkpoint",
    "vacuum",
    "begin",
    "prepare p as select 1",
    "set threads = 1",
    "reset threads",
    "pragma database_list",
    "call pragma_version()",
    "install httpfs",
    "load httpfs",
    "create secret s (type s3)",
    "use memory",
]
READS_ELSEWHERE = [
    "select * from read_csv('{outside}/secret.csv')",
    "select * from '{outside}/secret.csv'",
    "select * from read_text('{outside}/secret.csv')",
    "select * from read_blob('{outside}/secret.csv')",
    "select * from read_json('{outside}/secret.csv')",
    "select * from sniff_csv('{outside}/secret.csv')",
    "select * from glob('{outside}/*')",
    "select * from read_parquet('{part}')",
    "select * from '{part}'",
    "select * from parquet_metadata('{part}')",
    "select * from query_table('{part}')",
    "select * from query('select * from read_text(''{outside}/secret.csv'')')",
    "select * from read_csv('https://example.com/x.csv')",
    "select * from 's3://bucket/x.parquet'",
    "select * from sqlite_scan('{outside}/x.db', 'y')",
    "select getenv('HOME')",
    "select * from python_variable",
    "with x as (attach '{outside}/new.db') select 1",
    "from trials union all select * from read_text('{outside}/secret.csv')",
]


@pytest.mark.parametrize("sql", WRITES + READS_ELSEWHERE)
def test_a_query_can_neither_write_nor_read_elsewhere(mixed: ResultsPaths, tmp_path: Path, sql: str) -> None:
    python_variable = pa.table({"secret": [1]})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text("password\nhunter2\n")
    part = mixed.sweep("a").table("trials") / "part-00000.parquet"
    before = part.read_bytes()
    with pytest.raises(RequestError) as told:
        run_query(mixed, sql.format(outside=outside, part=part))
    assert "hunter2" not in str(told.value)
    assert part.read_bytes() == before
    assert [path.name for path in outside.iterdir()] == ["secret.csv"]
    assert len(python_variable) == 1


def test_a_damaged_part_is_named_and_left_out(mixed: ResultsPaths) -> None:
    part = mixed.sweep("a").table("trials") / "part-00000.parquet"
    whole = part.read_bytes()
    for broken in (b"", b"nonsense", whole[: len(whole) // 2]):
        part.write_bytes(broken)
        warnings: list[str] = []
        assert ask(mixed, "select distinct sweep from trials order by 1", warn=warnings.append) == [
            {"sweep": "b"},
            {"sweep": "c"},
        ]
        assert len(warnings) == 1
        assert str(part) in warnings[0]
        assert set(load_table(mixed, "trials", warn=warnings.append)["sweep"].to_pylist()) == {"b", "c"}


def test_a_part_with_damaged_pages_is_found_and_left_out(mixed: ResultsPaths) -> None:
    part = mixed.sweep("a").table("epochs") / "part-00000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])
    warnings: list[str] = []
    found = ask(mixed, "select sweep, sum(val_loss) s, sum(trial) t from epochs group by sweep", warn=warnings.append)
    assert {row["sweep"] for row in found} == {"b", "c"}
    assert [str(part) in warning for warning in warnings] == [True]


def test_a_query_that_takes_too_long_is_stopped(mixed: ResultsPaths) -> None:
    with pytest.raises(RequestError, match=r"stopped after 0\.2 s"):
        run_query(
            mixed,
            "select count(*) from range(100000000) a, range(100000) b where (a.range * b.range) % 7 = 3",
            time_limit_s=0.2,
        )


def test_a_query_that_needs_too_much_memory_is_stopped(mixed: ResultsPaths) -> None:
    with pytest.raises(RequestError, match="memory"):
        run_query(mixed, "select list(range) from range(200000000)", memory_limit="50MB")


def test_a_running_sweep_can_be_read_while_its_tables_are_replaced(mixed: ResultsPaths) -> None:
    folder = mixed.sweep("a").table("trials")
    stop = threading.Event()

    def replace() -> None:
        table = pq.ParquetFile(folder / "part-00000.parquet").read()
        while not stop.is_set():
            (folder / ".new.partial").write_bytes(to_parquet(table))
            (folder / ".new.partial").replace(folder / "part-00000.parquet")

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(10):
            assert ask(mixed, "select count(*) n from trials") == [{"n": 5}]
    finally:
        stop.set()
        thread.join()


def test_the_state_of_a_sweep_tells_whether_its_driver_lives(results: ResultsPaths, make_sweep: MakeSweep) -> None:
    paths = make_sweep("dead", [{"lr": 0.1}], state="RUNNING")
    make_sweep("done", [{"lr": 0.1}])
    sql = "select sweep, state from sweeps order by sweep"
    assert [row["state"] for row in ask(results, sql)] == ["INTERRUPTED", "COMPLETED"]
    with SweepLock(paths.lock):
        assert [row["state"] for row in ask(results, sql)] == ["RUNNING", "COMPLETED"]
        assert load_table(results, "sweeps", ["dead"])["state"].to_pylist() == ["RUNNING"]


def test_load_table_unites_as_a_query_does(mixed: ResultsPaths) -> None:
    table = load_table(mixed, "trials")
    assert table["batch_size"].to_pylist() == ["16", "32", "auto", None, None]
    assert table["pooling"].to_pylist() == ["avg", "max", "avg", "true", "false"]
    assert table["lr"].to_pylist() == [1.0, 2.0, 0.5, None, None]
    assert load_table(mixed, "trials", ["b"])["sweep"].to_pylist() == ["b"]
    assert len(load_table(mixed, "predictions")) == 0
    shutil.rmtree(mixed.root)
    assert len(load_table(mixed, "epochs")) == 0


def test_a_column_of_later_sweeps_keeps_its_neighbours() -> None:
    one = pa.schema([("sweep", pa.string()), ("lr", pa.int64()), ("best_loss", pa.float64())])
    other = pa.schema(
        [("sweep", pa.string()), ("lr", pa.float64()), ("momentum", pa.float64()), ("best_loss", pa.float64())]
    )
    assert united_schema([one, other]).names == ["sweep", "lr", "momentum", "best_loss"]


kinds = st.sampled_from([pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.list_(pa.string())])
SAMPLES = {
    pa.null(): None,
    pa.bool_(): True,
    pa.int64(): 3,
    pa.float64(): 0.5,
    pa.string(): "x",
    pa.list_(pa.string()): ["x", "y"],
}


@given(st.lists(kinds, min_size=1, max_size=4))
def test_any_types_unite_without_losing_a_row(types: list[pa.DataType]) -> None:
    tables = [pa.table({"a": pa.array([SAMPLES[kind], None], kind)}) for kind in types]
    united = unite(tables)
    assert len(united) == 2 * len(types)
    assert united["a"].null_count == len(types) + sum(pa.types.is_null(kind) for kind in types)


@given(kinds, kinds)
def test_the_common_type_does_not_depend_on_the_order(one: pa.DataType, other: pa.DataType) -> None:
    assert common_type(one, other) == common_type(other, one)


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("zone", ["UTC", None, "Europe/Berlin"])
def test_points_in_time_are_read_as_arrow_reads_them(unit: str, zone: str | None) -> None:
    column = pa.chunked_array([pa.array([0, -1, 1_700_000_000, None], pa.timestamp(unit, zone))])
    expected = [None if time is None else time.replace(tzinfo=None) for time in column.to_pylist()]
    assert [None if time is None else time.replace(tzinfo=None) for time in values_of(column)] == expected
