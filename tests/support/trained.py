"""A small sweep whose trials are trained in this process, without Ray, and recorded; and how it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sweep_runner.execution.evaluation.finalize import FinalResult, FinalTask, finalize
from sweep_runner.execution.publishing.finish import Finish, finish_search
from sweep_runner.results.environment import capture_environment
from sweep_runner.results.events import EpochReported, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.plan import Plan
from trainables.local import LocalHandle

DIGITS: dict[str, Any] = {
    "name": "small",
    "data": {"dataset": "digits", "limit": 300},
    "fixed": {
        "epochs": 2, "input_resolution": 16, "color": "grayscale", "model": "simple_cnn3", "batch_norm": True,
        "pretrained": False, "width": 8,
        "finetune": "scratch", "mixed_precision": "no", "seed": 3,
    },
    "space": {"lr": [0.001, 0.002, 0.003]},
    "search": {"sampler": "grid", "trials": 3},
    "export": {"latency": False},
}  # fmt: skip
"""Every trial starts from the same random weights, and has batch normalisation."""


def train_sweep(results: Path, spec: Mapping[str, Any], params: Sequence[Mapping[str, Any]]) -> SweepPaths:
    """Trains a trial for each of the params; every one keeps the checkpoint of its best epoch."""
    paths = SweepPaths(results / str(spec["name"]))
    paths.root.mkdir(parents=True)
    paths.spec.write_text(yaml.safe_dump(dict(spec)))
    paths.environment.write_text(json.dumps(capture_environment(["sweep", "run"])))
    plan = load_plan(paths.spec)
    paths.data.mkdir()
    trainable = plan.trainable(plan.data, paths.data)
    prepared = trainable.prepare(plan.candidates)
    with Recorder(paths, plan.spec.objective, list(plan.spec.space), {}) as recorder:
        recorder.record(
            SweepChanged(time=1.0, state="RUNNING", data_fingerprint=prepared.fingerprint, digests=prepared.digests)
        )
        for trial, values in enumerate(params):
            recorder.record(TrialStarted(time=2.0, trial=trial, attempt=1, seed=trial, params=values, num_threads=1))

            def on_report(report: Any, trial: int = trial) -> None:
                recorder.record(
                    EpochReported(
                        time=3.0,
                        trial=trial,
                        attempt=1,
                        epoch=report.epoch,
                        metrics=report.metrics,
                        outcomes=report.outcomes,
                    )
                )

            handle = LocalHandle(
                paths.trial(trial), number=trial, seed=trial, metric=plan.spec.objective.metric, on_report=on_report
            )
            trainable.train(plan.make_config(values), handle)
            recorder.record(TrialEnded(time=4.0, trial=trial, attempt=1, state="COMPLETED"))
        recorder.record(SweepChanged(time=5.0, state="COMPLETED"))
    return paths


def run_here(tasks: Sequence[FinalTask], stopped: Any) -> list[FinalResult]:
    """Final evaluations in this process."""
    return [finalize(task) for task in tasks]


def plan_of(paths: SweepPaths, *overrides: str) -> Plan:
    """The sweep's plan, with keys set anew."""
    return load_plan(paths.spec, overrides)


def finish(paths: SweepPaths, plan: Plan, run: Any = run_here) -> Finish:
    """Ends a sweep, or goes on with its end."""
    with Recorder(paths, plan.spec.objective, list(plan.spec.space), {}) as recorder:
        return finish_search(plan, paths, recorder, run, lambda text: None)
