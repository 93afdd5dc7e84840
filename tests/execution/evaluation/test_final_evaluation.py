"""A real sweep to its end: who is evaluated on what, and that everything afterwards says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.findings import read_findings
from sweep_runner.results.paths import SweepPaths
from tests.support.sweeps import log_of, sweep

SPEC = """
name: tiny
data: {dataset: digits, limit: 200}
fixed: {epochs: 2, input_resolution: 16, color: grayscale, model: mlp6, pretrained: false, width: 32}
space: {lr: [1.0e-6, 2.0e-6, 1.0e-3, 2.0e-3]}
baselines:
  slow: {lr: 2.0e-6}
  crawling: {lr: 1.0e-6}
search: {sampler: grid, trials: 4}
keep: {best: 1}
resources: {max_concurrent: 2}
dashboard: false
"""


@pytest.mark.ray
def test_baselines_are_evaluated_on_val_and_only_the_best_on_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path / "results"))

    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    first = sweep("run", "tiny.yaml", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    root = tmp_path / "results" / "tiny"
    assert read_findings(SweepPaths(root)).details["examples"], "what was found in the data is kept with the sweep"
    evaluated = [(record["trial"], record["split"]) for record in log_of(root) if record["kind"] == "final"]
    (best,) = {trial for trial, split in evaluated if split == "test"}
    assert best not in (0, 1), "at such a rate the baselines learn next to nothing"
    assert sorted(evaluated) == sorted([(best, "val"), (best, "test"), (0, "val"), (1, "val")])
    kept = {path.parts[-4] for path in root.glob("trials/*/attempt-*/checkpoints/epoch-*")}
    assert kept == {"0", "1", str(best)}, "keep.best is 1, and baselines stay"

    def rows(table: str, trial: int, split: str) -> list[dict[str, Any]]:
        return list(pq.read_table(root / "tables" / table / f"part-{trial:05d}-{split}.parquet").to_pylist())

    trial = json.loads(run("query", "--format", "json", f"select * from trials where trial = {best}"))[0]
    confusions = rows("confusions", best, "test")
    right = sum(row["count"] for row in confusions if row["actual"] == row["predicted"])
    assert right / sum(row["count"] for row in confusions) == pytest.approx(trial["test_accuracy"])
    assert trial["val_accuracy"] == pytest.approx(trial["best_val_accuracy"])
    pairs = "select actual, predicted, count from confusions where actual <> predicted order by count desc limit 3"
    assert len(json.loads(run("query", "--format", "json", pairs))) == 3

    # The published model, on the very same split, says the same.
    found = json.loads(run("evaluate", "tiny", "tiny", "--json"))
    assert found["num_examples"] == trial["test_num_examples"]
    for metric in ("accuracy", "macro_f1", "log_loss", "calibration_error", "top5_accuracy"):
        assert found["metrics"][f"test_{metric}"] == pytest.approx(trial[f"test_{metric}"], abs=1e-4)

    drawn = [Path(line).name for line in run("plots", "tiny", "--compare", "slow", "crawling").splitlines()]
    assert "compare-slow-crawling-val-confusion.png" in drawn
    assert "nothing" not in run("plots", "tiny")

    # Nothing is done twice.
    before = len(log_of(root))
    assert sweep("resume", "tiny", cwd=tmp_path).returncode == 0
    assert [record["kind"] for record in log_of(root)[before:]] == ["sweep", "sweep"]
