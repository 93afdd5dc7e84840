"""The example of a trainable: it trains, resumes exactly, and runs as a sweep."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.own_trainable import DigitsData, DigitsNet, NetConfig
from sweep_runner.cli.main import main
from tests.support.documents import ROOT, blocks
from tests.support.sweeps import sweep
from trainables.checkpoints import checkpoint_of_epoch
from trainables.local import LocalHandle

SWEEP = ROOT / "examples" / "own_trainable.yaml"


@pytest.fixture
def net(tmp_path: Path) -> DigitsNet:
    made = DigitsNet(DigitsData(), tmp_path / "data")
    made.prepare({})
    return made


def test_it_learns(net: DigitsNet, tmp_path: Path) -> None:
    handle = LocalHandle(tmp_path / "trial", seed=1)
    net.train(NetConfig(epochs=4, lr=0.3), handle)
    assert [report.epoch for report in handle.reports] == [1, 2, 3, 4]
    assert handle.reports[-1].metrics["val_accuracy"] > 0.85


def test_a_resumed_trial_equals_one_that_was_not_interrupted(net: DigitsNet, tmp_path: Path) -> None:
    straight, first = LocalHandle(tmp_path / "straight", seed=1), LocalHandle(tmp_path / "resumed", seed=1)
    net.train(NetConfig(epochs=4, momentum=0.9), straight)
    net.train(NetConfig(epochs=2, momentum=0.9), first)
    second = LocalHandle(tmp_path / "resumed", seed=1, attempt=2)
    net.train(NetConfig(epochs=4, momentum=0.9), second)
    assert [report.epoch for report in second.reports] == [3, 4]
    assert first.reports + second.reports == straight.reports


def test_its_evaluation_has_a_row_an_example_and_a_row_a_class(net: DigitsNet, tmp_path: Path) -> None:
    handle = LocalHandle(tmp_path / "trial", seed=1)
    config = NetConfig(epochs=1)
    net.train(config, handle)
    checkpoint = checkpoint_of_epoch(tmp_path / "trial", 1)
    assert checkpoint is not None
    found = net.evaluate(config, checkpoint.folder, "val")
    assert found is not None
    assert found.metrics == {"val_accuracy": handle.reports[-1].metrics["val_accuracy"]}
    assert found.num_examples == len(found.predictions) == sum(found.classes["support"].to_pylist())
    assert found.classes["class"].to_pylist() == [str(digit) for digit in range(10)]


def test_what_cannot_work_is_found_before_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", "examples/own_trainable.yaml", "--set", "space.momentum=[0, 0.9]"]) == 2
    told = capsys.readouterr().err.strip()
    assert "nesterov needs a momentum above 0" in told
    page = (ROOT / "docs" / "own-trainable.md").read_text(encoding="utf-8")
    assert told in page


def test_the_block_on_testing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (block,) = [block for block in blocks("python") if "/tmp/own-test" in block.text and not block.file]
    exec(compile(block.text.replace("/tmp/own-test", str(tmp_path)), "own-trainable.md", "exec"), {})


def test_a_trial_without_ray_goes_on_where_it_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    command = ["trial", "examples/own_trainable.yaml", "--folder", str(tmp_path / "trial")]
    assert main([*command, "--set", "fixed.epochs=1"]) == 0
    assert main([*command, "--set", "fixed.epochs=2"]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == ["epoch 1", "epoch 2"]
    assert "continuing after epoch 1" in captured.err


@pytest.mark.ray
def test_the_sweep_runs(tmp_path: Path) -> None:
    done = sweep("run", SWEEP, "--set", "search.trials=6", "--set", "dashboard=false", "--results", tmp_path, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    tables = tmp_path / "own-trainable" / "tables"
    trials = {row["trial"]: row for row in pq.read_table(tables / "trials").to_pylist()}
    assert len(trials) == 6
    assert trials[0]["name"] == "plain"
    best = [row for row in trials.values() if row["test_accuracy"] is not None]
    assert len(best) == 1
    assert best[0]["test_accuracy"] > 0.9
    predictions = pq.read_table(tables / "predictions").to_pylist()
    assert {row["split"] for row in predictions} == {"val", "test"}
    # The baseline and the other kept trials are evaluated on val; the test split is looked at by one trial only.
    assert {row["trial"] for row in predictions if row["split"] == "val"} >= {0, best[0]["trial"]}
    assert {row["trial"] for row in predictions if row["split"] == "test"} == {best[0]["trial"]}
