"""Trials that several processes train together in a sweep: what is recorded, and what a dead or hung one leads to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.sweeps import log_of, sweep

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1"}

TOGETHER = '''
import json
import os
import signal
import time

import psutil
from pydantic import BaseModel, ConfigDict

from trainables.contract import EpochReport, NoData, Trainable
from trainables.errors import Diverged


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 3
    what: str = "fine"


class Together(Trainable[Config, NoData]):
    """Each worker leaves what it was told; some of them come to harm in epoch 2 of the first attempt."""

    config_class = Config
    supports_workers = True

    def train(self, config, handle):
        told = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")}
        listening = [c.laddr.ip for c in psutil.Process().net_connections() if c.status == "LISTEN"]
        told |= {"rank": handle.rank, "num_workers": handle.num_workers, "pid": os.getpid(), "listening": listening}
        (handle.folder / f"told-{handle.rank}.json").write_text(json.dumps(told))
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            (handle.folder / f"epoch-{epoch}-{handle.rank}").touch()
            if epoch == 2 and handle.attempt == 1 and handle.rank == 1:
                self.harm(config.what)
            score = (6 if config.what == "is bad" else 1) + epoch / 10
            handle.report(EpochReport(epoch, {"score": score}), save=lambda folder: self.save(folder, handle))

    def harm(self, what):
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if what == "raises":
            raise RuntimeError("the flux is off")
        if what == "diverges":
            raise Diverged("the flux is infinite")

    def save(self, folder, handle):
        (folder / "rank").write_text(str(handle.rank))
'''


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    (tmp_path / "mine.py").write_text(TOGETHER)

    def start(**changes: object) -> tuple[int, str]:
        spec = {
            "name": "small",
            "trainable": "mine:Together",
            "objective": {"metric": "score", "mode": "max"},
            "dashboard": False,
            "export": {"formats": []},
            **changes,
        }
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
        done = sweep("run", "sweep.yaml", "--json", cwd=tmp_path)
        return done.returncode, done.stderr

    return start


@pytest.mark.ray
def test_workers_of_a_trial_share_its_fate_and_nobody_elses(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """One sweep for all of it: Ray is started once."""
    whats = ["fine", "killed", "stopped", "raises", "diverges", "is bad"]
    code, said = run(
        space={"what": whats, "workers": [1, 2]},
        baselines={
            "alone": {"what": "fine", "workers": 1},
            **{what: {"what": what, "workers": 2} for what in whats},
        },
        search={"sampler": "random", "trials": 1 + len(whats)},
        pruner={"kind": "threshold", "upper": 6.05},
        resources={"cpus": 0.5, "max_concurrent": 2, "max_failures": 1, "worker_timeout_s": 8},
    )
    assert code == 1, said
    assert "Traceback" not in said
    root = tmp_path / "results" / "small"
    trials = {row["name"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    reasons = {event["trial"]: event["reason"] for event in log_of(root) if event["kind"] == "failure"}

    def folder(name: str, attempt: int = 1) -> Path:
        return root / "trials" / str(trials[name]["trial"]) / f"attempt-{attempt}"

    def told(name: str) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(folder(name).glob("told-*.json"))]

    # Each trial has its own number of them, and each worker knows which it is.
    assert [one["num_workers"] for one in told("alone")] == [1]
    assert trials["alone"]["device"] == "cpu"
    assert [(one["rank"], one["RANK"]) for one in told("fine")] == [(0, "0"), (1, "1")]
    assert {(one["num_workers"], one["WORLD_SIZE"]) for one in told("fine")} == {(2, "2")}
    assert {one["MASTER_ADDR"] for one in told("fine")} == {"127.0.0.1"}
    assert {address for one in told("fine") for address in one["listening"]} <= LOOPBACK
    assert (trials["fine"]["workers"], trials["fine"]["device"]) == (2, "2 × cpu")
    assert {path.read_text() for path in folder("fine").glob("checkpoints/*/rank")} == {"0"}, "rank 0 alone writes"

    # A dead or hung one ends the attempt of all; the trial goes on from its checkpoint in the next.
    for name in ("killed", "stopped", "raises"):
        assert (trials[name]["state"], trials[name]["attempt"]) == ("COMPLETED", 2), trials[name]
        assert "rank 1 of 2" in reasons[trials[name]["trial"]]
        assert not (folder(name, 2) / "checkpoints" / "epoch-00001").exists()
    assert "process died" in reasons[trials["killed"]["trial"]]
    assert "resources.worker_timeout_s" in reasons[trials["stopped"]["trial"]]
    assert "RuntimeError: the flux is off" in reasons[trials["raises"]["trial"]]
    assert "the flux is off" in (folder("raises") / "error.txt").read_text()
    assert not any(psutil.pid_exists(one["pid"]) for one in told("stopped"))

    # What is of the trial ends it for all of them.
    assert (trials["diverges"]["state"], trials["diverges"]["reason"]) == ("FAILED", "diverged: the flux is infinite")
    assert trials["is bad"]["state"] == "PRUNED"
    assert sorted(path.name for path in folder("is bad").glob("epoch-*")) == ["epoch-1-0", "epoch-1-1"]
