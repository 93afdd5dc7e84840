"""A real sweep with folds: killed and resumed, told as means, and its model trained anew on everything but test."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.faults import Driver
from tests.support.sweeps import log_of, sweep

SPEC = """
name: tiny
data: {dataset: digits, limit: 120, split: {folds: 3}}
fixed: {epochs: 6, input_resolution: 16, color: grayscale, model: mlp6, pretrained: false, width: 16}
space: {lr: [1.0e-3, 1.0e-2]}
search: {sampler: grid, trials: 2}
limits: {num_parameters: 1.0e+9} # held against the model that is trained anew
resources: {max_concurrent: 1}
dashboard: false
"""


@pytest.mark.ray
def test_a_sweep_with_folds_is_killed_and_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "results" / "tiny"
    driver = Driver("run", "tiny.yaml", "--results", tmp_path / "results", cwd=tmp_path)
    while driver.process.poll() is None and not (
        (root / "log.jsonl").exists() and any(row["kind"] == "epoch" for row in log_of(root))
    ):
        time.sleep(0.01)
    driver.kill()
    done = sweep("resume", "tiny", "--results", tmp_path / "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "retrained on train and val" in done.stderr

    reported = [(row["trial"], row["epoch"]) for row in log_of(root) if row["kind"] == "epoch"]
    assert sorted(reported) == [(trial, epoch) for trial in (0, 1) for epoch in range(1, 7)]
    trials = {row["trial"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    best = max(trials.values(), key=lambda row: row["best_val_accuracy"])
    assert best["val_num_examples"] == 120
    assert best["test_num_examples"] == 120
    assert best["val_accuracy"] == pytest.approx(best["best_val_accuracy"], abs=1e-5)

    rows = pq.read_table(root / "tables" / "predictions" / f"part-{best['trial']:05d}-val.parquet").to_pylist()
    assert len({row["example"] for row in rows}) == len(rows) == 120
    right = {fold: [row["labels"] == row["predicted"] for row in rows if row["fold"] == fold] for fold in (1, 2, 3)}
    means = [float(np.mean(each)) for each in right.values()]
    assert best["best_val_accuracy"] == pytest.approx(np.mean(means), abs=1e-5)
    assert best["best_val_accuracy_std"] == pytest.approx(np.std(means, ddof=1), abs=1e-5)

    card = json.loads((root / "best" / "model.json").read_text())
    assert card["origin"]["refit"]["epochs"] == best["best_epoch"]
    assert card["data"]["num_examples"] == {"train": 120, "val": 0, "test": 120}
    assert "in 3 folds" in (root / "best" / "README.md").read_text()
