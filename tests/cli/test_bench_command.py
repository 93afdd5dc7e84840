"""`sweep bench` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.main import main
from tests.support.cli import Refused
from trainables.facts import STANDARD, LatencySetting
from trainables.image.deployment import latency


def test_a_row_for_each_batch_size_and_number_of_threads(color_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", str(color_model), "--batch", "1", "--batch", "4", "--threads", "1", "--threads", "2"]
    assert main([*command, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [(row["batch"], row["threads"]) for row in rows] == [(1, 1), (4, 1), (1, 2), (4, 2)]
    for row in rows:
        assert row["device"] == "CPU"
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["median_ms"], rel=0.01)
        assert row["runs"] >= 5
    assert "ONNX Runtime" in err  # of which machine the figures are
    assert "CPU" in err


def test_all_threads_of_one_cpu_are_measured_once(
    color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "num_cpus", lambda: 1)
    assert main(["bench", str(color_model), "--format", "parquet", "-o", str(tmp_path / "b.parquet")]) == 0
    table = pq.read_table(tmp_path / "b.parquet")
    assert table["batch"].to_pylist() == [1, 32]
    # Each name has its figure all the same: tables of several machines have the same columns.
    facts = latency.latency_facts(color_model, STANDARD)
    assert facts["onnx_latency_all_threads_ms"] == facts["onnx_latency_ms"] > 0
    assert facts["onnx_latency_batch32_p95_ms"] >= facts["onnx_latency_batch32_ms"]


def test_names_say_how_a_latency_was_measured() -> None:
    assert LatencySetting().fact == "onnx_latency_ms"
    assert LatencySetting(batch=8, threads=2).p95_fact == "onnx_latency_batch8_2_threads_p95_ms"
    assert LatencySetting(threads="all").fact == "onnx_latency_all_threads_ms"
    assert str(LatencySetting(batch=32)) == "32 images at a time, one thread"


def test_what_cannot_be_measured_is_refused(refused: Refused, color_model: Path, tmp_path: Path) -> None:
    assert "a number from 1 to 1024, or all" in refused("bench", str(color_model), "--threads", "many")
    assert "no such file or folder" in refused("bench", "nothing")
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    assert "not a usable ONNX file" in refused("bench", str(tmp_path))
