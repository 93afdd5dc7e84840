"""Sweeps of the synthetic trainable, in this process (a keeper with its study and recorder) or as `sweep` commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from sweep_runner.cli.main import main
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Study
from sweep_runner.spec.model import SweepSpec
from trainables.contract import EpochReport
from trainables.synthetic import SyntheticConfig, curve

SPEC: dict[str, Any] = {
    "name": "small",
    "trainable": "synthetic",
    "fixed": {"epochs": 4},
    "space": {"lr": {"low": 1.0e-4, "high": 1.0, "log": True}},
    "search": {"sampler": "random", "trials": 6, "seed": 3},
    "resources": {"max_concurrent": 2},
    "dashboard": False,
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the top-level keys of `changes` in their place."""
    return {**base, **changes}


def spec_writer(folder: Path) -> Callable[..., Path]:
    """Writes `sweep.yaml` there, of the synthetic trainable: SPEC with some keys in place of its own."""

    def write(**changes: Any) -> Path:
        path = folder / "sweep.yaml"
        path.write_text(yaml.safe_dump(merged(SPEC, changes), sort_keys=False))
        return path

    return write


@contextlib.contextmanager
def open_keeper(spec: SweepSpec, root: Path, max_live: int = 2) -> Iterator[Keeper]:
    """A keeper over what is on disk, as a driver that has just started has it."""
    root.mkdir(exist_ok=True)
    paths = SweepPaths(root)

    recorder = Recorder(paths, spec.objective, list(spec.space), {}, flush_interval_s=3600)
    recorder.record(SweepChanged(time=time.time(), state="RUNNING"))
    try:
        with Study.open(paths.study, spec) as study:
            yield Keeper(spec, paths, study, recorder, max_live)
    finally:
        recorder.close()


def log_of(root: Path) -> list[dict[str, Any]]:
    """The lines of a sweep's log."""
    return [json.loads(line) for line in (root / "log.jsonl").read_text().splitlines()]


def report(assignment: Assignment, epoch: int) -> Message:
    """What a worker says after an epoch of the synthetic trainable."""
    value = curve(SyntheticConfig.model_validate(dict(assignment.config)), epoch, assignment.seed)
    return Message(
        trial=assignment.trial, attempt=assignment.attempt, report=EpochReport(epoch, {"val_accuracy": value})
    )


def drive(keeper: Keeper) -> None:
    """Two workers that take turns, until nothing is left."""
    working: list[tuple[Assignment, int]] = []
    while True:
        while (assignment := keeper.next()) is not None:
            working.append((assignment, assignment.recorded_epochs))
        if not working:
            assert keeper.finished
            return
        assignment, epoch = working.pop(0)
        if epoch == assignment.config["epochs"]:
            keeper.on_message(
                assignment.trial, Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
            )
        elif keeper.on_message(assignment.trial, report(assignment, epoch + 1)):
            working.append((assignment, epoch + 1))


def recorded(root: Path) -> tuple[dict[tuple[int, int], float], dict[int, dict[str, Any]]]:
    """Rows and ends (as events) of a sweep's log; fails on a row or an end that is there twice."""
    rows: dict[tuple[int, int], float] = {}
    ends: dict[int, dict[str, Any]] = {}
    for event in log_of(root):
        if event["kind"] == "epoch":
            assert (event["trial"], event["epoch"]) not in rows
            rows[event["trial"], event["epoch"]] = event["metrics"]["val_accuracy"]
        elif event["kind"] == "end":
            assert event["trial"] not in ends
            ends[event["trial"]] = event
    return rows, ends


def outcome(root: Path) -> tuple[dict[tuple[int, int], float], dict[int, tuple[str, Any]]]:
    """What two runs of one sweep have in common: rows, and the trials' states and params."""
    rows, ends = recorded(root)
    return rows, {trial: (end["state"], end["params"]) for trial, end in ends.items()}


def pauses(root: Path) -> list[tuple[int, int, str]]:
    """Every pause (trial, epoch, reason) of a sweep's log, in order; fails on one that is there twice."""
    found = [(event["trial"], event["epoch"], event["reason"]) for event in log_of(root) if event["kind"] == "pause"]
    assert len(found) == len(set(found))
    return found


def sweep(
    *arguments: str | Path, cwd: Path, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a `sweep` command to its end."""
    return subprocess.run(
        sweep_command(*arguments),
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def sweep_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `sweep`, but in this process: for commands that neither start Ray nor are sent signals."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, arguments)])
    out.seek(0)
    return subprocess.CompletedProcess(arguments, code, out.read(), err.getvalue())


def sweep_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "sweep_runner", *map(str, arguments)]
