"""`sweep submit` and `sweep jobs` against a real Ray cluster, which requires a token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.ray_head import RayHead, ray_head
from tests.support.sweeps import SPEC, log_of, merged, outcome, sweep, sweep_command

OWN = '''
from trainables.synthetic import Synthetic

class Own(Synthetic):
    """Only the project's folder has it."""

    def train(self, config, handle):
        if config.optimizer == "fails":
            raise RuntimeError("the flux is off")
        super().train(config, handle)
'''


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as folder, ray_head(Path(folder), cpus=4) as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a trainable of its own, files for it, and things that have no business on a cluster."""
    folder = tmp_path / "project"
    (folder / "sweeps").mkdir(parents=True)
    (folder / "results" / "old").mkdir(parents=True)
    (folder / "results" / "old" / "model.onnx").write_bytes(bytes(200_000))
    (folder / "own.py").write_text(OWN)
    (folder / ".env").write_text("SECRET=1")
    write(folder, "good", search={"sampler": "random", "trials": 2})
    write(folder, "bad", fixed={"epochs": 2, "optimizer": "fails"}, search={"sampler": "random", "trials": 1})
    write(folder, "long", fixed={"epochs": 500, "epoch_s": 0.2}, search={"sampler": "random", "trials": 2})
    return folder


def write(folder: Path, name: str, **changes: Any) -> None:
    spec = merged(
        SPEC, {"name": name, "trainable": "own:Own", "resources": {"max_failures": 0, "max_concurrent": 1}, **changes}
    )
    (folder / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(spec))


def command(head: RayHead, cwd: Path, *arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    done = sweep(
        *arguments, "--address", head.url, cwd=cwd, **{"RAY_AUTH_TOKEN_PATH": str(head.token_file), **environment}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def listed(head: RayHead, cwd: Path) -> dict[str, dict[str, Any]]:
    code, out, _ = command(head, cwd, "jobs", "ls", "--json")
    assert code == 0
    return {job["sweep"]: job for job in json.loads(out)}


@pytest.mark.ray
def test_sweeps_are_sent_followed_listed_and_stopped(head: RayHead, project: Path, tmp_path: Path) -> None:
    results = tmp_path / "shared"

    # Three at a time: one that would go on for long, one whose trial fails, one that goes well and is followed.
    ids = {}
    for name in ("long", "bad"):
        code, job, told = command(head, project, "submit", f"sweeps/{name}.yaml", "--results", results, "--quiet")
        assert code == 0, told
        ids[name] = job.strip()
        assert ids[name].startswith(f"{name}-")
    code, out, told = command(head, project, "submit", "sweeps/good.yaml", "--results", results, "--follow")
    assert code == 0, out + told
    assert "good: 2 trials (2 completed)" in out
    assert "SUCCEEDED" in told
    assert len(outcome(results / "good")[0]) == 2 * 4

    # A job whose trial failed has failed, and so does the command that followed it.
    code, out, told = command(head, project, "jobs", "logs", ids["bad"], "--follow")
    assert code == 1, out + told
    assert "the flux is off" in out
    assert "FAILED: exit code 1: something failed" in told

    # One that runs: followed, left, looked at, stopped.
    job = ids["long"]
    following = subprocess.Popen(
        [*sweep_command("jobs", "logs", job, "--follow", "--address", head.url)],
        cwd=project,
        env={**os.environ, "RAY_AUTH_TOKEN_PATH": str(head.token_file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    while "Running entrypoint" not in (line := following.stdout.readline()):
        assert line, "it ended"
    log = results / "long" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or '"epoch"' not in log.read_text():
        assert time.monotonic() < deadline, command(head, project, "jobs", "logs", job)
        time.sleep(0.2)
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=60)
    assert following.returncode == 130
    assert f"sweep jobs stop {job} --address {head.url}" in told
    assert listed(head, project)["long"]["state"] == "RUNNING", "leaving it does not end it"

    code, _, told = command(head, project, "jobs", "stop", job)
    assert (code, "STOPPED" in told) == (0, True), told
    jobs = listed(head, project)
    assert {name: (each["state"], each["exit_code"]) for name, each in jobs.items()} == {
        "good": ("SUCCEEDED", 0),
        "bad": ("FAILED", 1),
        "long": ("STOPPED", None),
    }
    assert jobs["good"]["file"] == "sweeps/good.yaml"
    assert jobs["good"]["results"] == str(results)
    assert [event for event in log_of(results / "long") if event["kind"] == "sweep"][-1]["state"] == "INTERRUPTED"
    code, out, _ = command(head, project, "jobs", "logs", job)
    assert (code, "sweep resume long" in out) == (0, True)
    code, _, told = command(head, project, "jobs", "stop", job)
    assert (code, "had ended before" in told) == (0, True)
    code, _, told = command(head, project, "jobs", "logs", job, "--follow")
    assert code == 130, "as `sweep run` that was stopped"

    code, out, told = command(head, project, "jobs", "stop", "nothing-of-the-kind")
    assert (code, "no job 'nothing-of-the-kind'" in told) == (2, True), told


@pytest.mark.ray
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RAY_AUTH_TOKEN": "wrong"}, ["refuses the token", "in RAY_AUTH_TOKEN", "403"]),
        (
            {"RAY_AUTH_TOKEN_PATH": "", "XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"},
            ["requires a token", "401"],
        ),
        ({"RAY_AUTH_TOKEN_PATH": "/nonexistent"}, ["/nonexistent", "cannot be read"]),
    ],
    ids=["wrong", "none", "no file"],
)
def test_without_the_token_nobody_is_let_in(
    head: RayHead, tmp_path: Path, environment: dict[str, str], words: list[str]
) -> None:
    code, out, told = command(head, tmp_path, "jobs", "ls", **environment)
    assert (code, out) == (2, "")
    for word in words:
        assert word in told
