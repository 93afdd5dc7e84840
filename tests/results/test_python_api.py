"""Results from Python: by `open_results`, and straight from the files by pandas, polars and DuckDB, as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep_runner import open_results
from sweep_runner.cli.main import main
from sweep_runner.errors import RequestError
from tests.support.evaluated import write_evaluated_sweep


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_evaluated_sweep(root, ("basket", "golf"))
    write_evaluated_sweep(root, ("one", "two"), name="other", num_others=1)
    return root


def test_tables_come_as_arrow_and_pandas(root: Path) -> None:
    results = open_results(root)
    assert results.names == ["balls", "other"]
    assert len(results.sweeps()) == 2
    assert len(results.trials()) == 8
    assert results.trials("other").to_pandas()["lr"].tolist() == [0.1, 0.05, pytest.approx(0.1 / 3)]
    assert results.epochs("balls", trial=2)["epoch"].to_pylist() == [1, 2, 3, 4, 5]
    assert len(results.predictions("balls", trial=0)) == 400
    assert {"precision", "f1"} <= set(results.classes(["balls", "other"]).column_names)
    assert len(results.confusions("other")) > 0
    assert "balls, other" in repr(results)


def test_queries_of_ones_own_have_names(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "queries").mkdir()
    (root / "queries" / "count.sql").write_text("-- How many trials.\nselect count(*) as n from trials\n")
    assert open_results(root).query("@count").to_pylist() == [{"n": 8}]
    assert main(["query", "--saved", "--results", str(root)]) == 0
    assert "@count\tHow many trials." in capsys.readouterr().out
    assert main(["query", "@count", "--results", str(root)]) == 0
    assert capsys.readouterr().out == "n\n8\n"
    assert main(["query", "@cuont", "--results", str(root)]) == 2
    assert "did you mean @count?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["best", "confused", "failures", "hard-examples", "time", "worst-classes"])
def test_shipped_queries_run(root: Path, name: str) -> None:
    assert open_results(root).query(f"@{name}").num_columns > 2


def test_the_list_says_what_every_column_means(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--list", "--results", str(root)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["table", "column", "type", "meaning"]
    assert [line[:2] for line in lines if not line[3]] == []


def test_what_is_not_there_is_told(root: Path) -> None:
    with pytest.raises(RequestError, match="no such folder"):
        open_results(root / "nothing")
    with pytest.raises(RequestError, match="no sweep 'bals'"):
        open_results(root).trials("bals")


def test_other_tools_read_the_files(root: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    assert len(pandas.read_parquet(root / "balls/tables/trials")) == 5
    assert len(polars.read_parquet(root / "balls/tables/epochs/*.parquet")) == 25
    assert polars.from_arrow(open_results(root).trials()).height == 8
    assert len(duckdb.sql(f"select * from '{root}/*/tables/trials/*.parquet'").df()) == 8
    trials = open_results(root).trials("balls")
    assert duckdb.sql("select max(lr) from trials").fetchall() == [(0.1,)]
    assert len(trials) == 5
