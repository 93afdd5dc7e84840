"""`deploy/slurm/sweep.sbatch` on a real Slurm, which is started here."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.documents import ROOT
from tests.support.slurm import Slurm, missing, slurm
from tests.support.sweeps import SPEC, log_of, merged, outcome

pytestmark = [pytest.mark.ray, pytest.mark.skipif(bool(missing()), reason=missing())]

SCRIPT = ROOT / "deploy" / "slurm" / "sweep.sbatch"


@pytest.fixture(scope="module")
def running() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, slurm(Path(folder)) as started:
        yield started


class Project:
    """A folder with a sweep file, and results on storage that all nodes share."""

    def __init__(self, slurm: Slurm, folder: Path, **changes: object) -> None:
        self.slurm = slurm
        self.folder = folder
        self.results = folder / "results"
        self.sweep = self.results / "small"
        (folder / "small.yaml").write_text(yaml.safe_dump(merged(SPEC, dict(changes))))

    def sbatch(self, nodes: int) -> str:
        """Sends the job; returns its number."""
        # All of Ray on loopback; a cluster of several nodes is not to be had so, but all have one address here.
        alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if nodes == 1 else {"RAY_NODE_ADDRESS": "127.0.0.1"}
        environment = {
            **alone,
            "SWEEP_RESULTS": str(self.results),
            "SWEEP_DEPLOY": str(SCRIPT.parents[1]),
            "SWEEP_HEAD_ADDRESS": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{self.slurm.environment['PATH']}",
            "TMPDIR": str(self.slurm.scratch),
        }
        exports = ",".join(["ALL", *(f"{key}={value}" for key, value in environment.items())])
        options = ["--parsable", f"--export={exports}", "--cpus-per-task=1", f"--nodes={nodes}"]
        return self.slurm("sbatch", *options, SCRIPT, "small.yaml", cwd=self.folder)

    def log(self, job: str) -> Path:
        return self.folder / f"sweep-{job}.log"

    def epochs(self) -> int:
        """How many are recorded."""
        if not (self.sweep / "log.jsonl").exists():
            return 0
        return sum(event["kind"] == "epoch" for event in log_of(self.sweep))

    def ends(self) -> list[str]:
        """How each run of the sweep ended."""
        return [
            event["state"]
            for event in log_of(self.sweep)
            if event["kind"] == "sweep" and event["state"] in ("COMPLETED", "FAILED", "INTERRUPTED")
        ]


def test_a_job_that_is_cancelled_ends_in_order_and_leaves_nothing(running: Slurm, tmp_path: Path) -> None:
    project = Project(running, tmp_path, fixed={"epochs": 400, "epoch_s": 0.5})
    job = project.sbatch(nodes=1)
    running.wait_for(job, lambda state: state != "PENDING" and project.epochs() >= 2, project.log(job))
    running("scancel", job)
    assert running.wait_for(job, lambda state: state in ("CANCELLED", "COMPLETED"), project.log(job)) == "CANCELLED"
    running.wait_for(job, lambda _: project.ends(), project.log(job))
    assert project.ends() == ["INTERRUPTED"]
    running.wait_for(job, lambda _: running("squeue", "--noheader") == "", project.log(job))
    assert "sweep resume small" in project.log(job).read_text()
    assert [*(project.results / ".ray-tokens").iterdir(), *running.scratch.iterdir()] == []


def test_a_wrong_file_is_told_before_a_node_is_used(running: Slurm, tmp_path: Path) -> None:
    project = Project(running, tmp_path, fixed={"epochs": 0, "epoks": 2})
    job = project.sbatch(nodes=1)
    assert running.wait_for(job, lambda state: state in ("COMPLETED", "FAILED"), project.log(job)) == "FAILED"
    assert running.state(job)[1] == "2:0"
    assert "2 problems" in project.log(job).read_text()
    assert not project.results.exists()


@pytest.mark.cluster
def test_two_nodes_share_the_trials_through_a_requeue_and_a_time_limit(running: Slurm, tmp_path: Path) -> None:
    project = Project(running, tmp_path, fixed={"epochs": 20, "epoch_s": 0.5}, resources={"max_concurrent": "auto"})
    job = project.sbatch(nodes=2)
    running.wait_for(job, lambda state: state != "PENDING" and project.epochs() >= 4, project.log(job))
    assert "2 trials at a time" in project.log(job).read_text()
    running("scontrol", "requeue", job)
    running.wait_for(job, lambda _: project.ends(), project.log(job))
    running.start_now(job, project.log(job))
    before = project.epochs()
    running.wait_for(job, lambda state: state == "RUNNING" and project.epochs() >= before + 4, project.log(job))
    running("scancel", "--batch", "--signal=USR1", job)  # as --signal does, some time before the limit
    running.wait_for(job, lambda _: len(project.ends()) == 2, project.log(job))
    running.start_now(job, project.log(job))
    ended = running.wait_for(job, lambda state: state in ("COMPLETED", "FAILED"), project.log(job), timeout_s=300)
    assert (ended, running.state(job)[1]) == ("COMPLETED", "0:0"), project.log(job).read_text()
    assert project.ends() == ["INTERRUPTED", "INTERRUPTED", "COMPLETED"]
    rows, trials = outcome(project.sweep)
    assert (len(rows), {state for state, _ in trials.values()}) == (6 * 20, {"COMPLETED"})
    assert [*(project.results / ".ray-tokens").iterdir(), *running.scratch.iterdir()] == []
