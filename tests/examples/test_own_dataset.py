"""The example of a dataset: listed, divided by groups, trained on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.write_pictures import write_pictures
from sweep_runner.cli.main import main
from tests.support.documents import ROOT
from trainables.image.index import ImageIndex

SWEEP = "examples/own_dataset.yaml"
Check = Callable[[], int]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "pictures")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def check(pictures: Path) -> Check:
    return lambda: main(["data", "check", SWEEP, "--set", f"data.root={pictures}", "--json"])


def rows(pictures: Path) -> list[dict[str, str]]:
    with (pictures / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_picture_of_the_table_is_an_example(
    pictures: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["flower", "temple"]
    assert sum(found["examples"].values()) == len(rows(pictures)) > 200
    assert found["defects"] == {}
    assert found["warnings"] == []


def test_a_picture_that_is_missing_is_named_and_left_out(
    pictures: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    name = rows(pictures)[3]["file"]
    (pictures / name).unlink()
    assert check() == 0
    assert json.loads(capsys.readouterr().out)["defects"] == {name: "listed in labels.csv, but missing"}


@pytest.mark.parametrize(
    ("table", "told"),
    [(None, "there is no"), ("file,label\na.png,1\n", "no column group"), ("file,label,group\n", "or no row")],
)
def test_a_table_that_cannot_be_used(
    pictures: Path, check: Check, capsys: pytest.CaptureFixture[str], table: str | None, told: str
) -> None:
    (pictures / "labels.csv").unlink()
    if table is not None:
        (pictures / "labels.csv").write_text(table)
    assert check() == 2
    assert told in capsys.readouterr().err


def test_a_trial_trains_and_keeps_groups_together(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"data.root={pictures}", "fixed.epochs=1", "space.model=[mlp6]"]
    command = ["trial", SWEEP, "--folder", str(tmp_path / "trial")]
    assert main([*command, *(part for setting in settings for part in ("--set", setting))]) == 0
    assert "val_accuracy" in capsys.readouterr().out
    table = ImageIndex.load(tmp_path / "trial" / "data" / "index.arrow").table
    splits: dict[str, set[str]] = {}
    for row in table.select(["group", "split"]).to_pylist():
        splits.setdefault(row["group"], set()).add(row["split"])
    assert set(splits) == {row["group"] for row in rows(pictures)}
    assert all(len(found) == 1 for found in splits.values())
