"""A real sweep with `gpus: auto` on a GPU that is not there: Ray is told of one, and a stand-in answers for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.sweeps import log_of, sweep

TRAINABLE = '''
import time

from pydantic import BaseModel, ConfigDict

from trainables.contract import EpochReport, NoData, Trainable


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 4
    lr: float = 0.1


class Small(Trainable[Config, NoData]):
    """Leaves the GPU idle: each one more at a time adds as many images per second."""

    config_class = Config

    def train(self, config, handle):
        for epoch in range(1, config.epochs + 1):
            time.sleep(0.5)
            figures = {"images_per_s": 1_000.0, "epoch_s": 0.5, "peak_memory_bytes": 1 << 30}
            handle.report(EpochReport(epoch, {"score": config.lr} | figures))
'''
NVIDIA_SMI = """\
#!/bin/sh
case "$*" in *utilization.gpu,memory.used,memory.total*) echo "12, 1024, 24576" ;; *) exit 9 ;; esac
"""
ONE_GPU = '{"GPU": 1, "CPU": 2}'


@pytest.mark.ray
def test_trials_come_to_share_a_gpu_and_an_extended_sweep_begins_there(
    write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(TRAINABLE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(NVIDIA_SMI)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", ONE_GPU)
    file = write_spec(
        trainable="mine:Small",
        fixed={},
        space={"lr": {"low": 0.1, "high": 1.0}},
        objective={"metric": "score", "mode": "max"},
        search={"sampler": "random", "trials": 12},
        resources={"cpus": 1, "gpus": "auto"},
    )

    done = sweep("run", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "GPU: 2 trials at a time per GPU (images/s per GPU: 1,000 with 1)" in done.stderr
    assert "2,000 with 2; the CPUs allow no more: 2 at a time are best" in done.stderr

    said = sweep("explain", "small", cwd=tmp_path)
    assert "trials that shared a GPU" in said.stdout
    assert "2 at a time are best" in said.stdout
    decisions = [event for event in log_of(tmp_path / "results" / "small") if event["kind"] == "gpus"]
    assert [each["per_gpu"] for each in decisions] == [2, 2]
    assert (decisions[-1]["settled"], decisions[-1]["gpu_bytes"]) == (True, 24 << 30)

    more = sweep("extend", "small", "--trials", "2", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "GPU: 2 trials at a time per GPU, as found before" in more.stderr
    trials = pq.read_table(tmp_path / "results" / "small" / "tables" / "trials").to_pylist()
    assert {row["gpus"] for row in trials} == {0.5}
    at_once = [row for row in trials if any(_overlap(row, other) for other in trials if other is not row)]
    assert len(at_once) >= 5, "they ran side by side"
    begun = [row for row in trials if row["started"].timestamp() < decisions[0]["time"]]
    assert begun
    assert not any(_overlap(row, other) for row in begun for other in begun if other is not row), "alone till then"


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["started"] < other["ended"] and other["started"] < one["ended"])
