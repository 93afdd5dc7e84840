"""What is evaluated and exported at the end of a sweep: tasks, the folder that they work in, the record of results."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from sweep_runner.execution.evaluation.finalize import FinalResult, FinalTask
from sweep_runner.execution.evaluation.measuring import wanted_facts
from sweep_runner.execution.publishing.answering import answer_on_record
from sweep_runner.execution.publishing.candidates import config_of, origin_of
from sweep_runner.execution.publishing.further_formats import formats_wanted
from sweep_runner.results.candidates import Candidate, tested_metrics
from sweep_runner.results.events import FinalEvaluated
from sweep_runner.results.parts import evaluation_path
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import RANKED, SweepState, TrialSummary
from sweep_runner.spec.plan import Plan
from trainables.checkpoints import checkpoint_of_epoch
from trainables.cpus import num_cpus
from trainables.own_modules import folders_of_own_modules

SPLITS = ("val", "test")


def checkpoint_of(paths: SweepPaths, summary: TrialSummary) -> Path | None:
    if summary.best_epoch is None or summary.state not in RANKED:
        return None
    checkpoint = checkpoint_of_epoch(paths.trial(summary.trial), summary.best_epoch)
    return checkpoint.folder if checkpoint else None


def kept_trials(paths: SweepPaths, state: SweepState) -> list[int]:
    """The trials with a checkpoint of their best epoch on disk, numbers ascending."""
    return [number for number in sorted(state.trials) if checkpoint_of(paths, state.trials[number]) is not None]


def task_of_trial(
    plan: Plan,
    paths: SweepPaths,
    state: SweepState,
    summary: TrialSummary,
    checkpoint: Path,
    staging: Path,
    splits: Sequence[str],
    export: bool,
) -> FinalTask:
    environment = json.loads(paths.environment.read_bytes())
    origin: dict[str, Any] = {
        "sweep": plan.spec.name,
        "trial": summary.trial,
        "name": summary.name,
        "epoch": summary.best_epoch,
        "seed": summary.seed,
        "metrics": dict(summary.best_metrics),
        "data_fingerprint": state.data_fingerprint,
        "versions": environment.get("versions", {}),
        "git_commit": environment.get("git_commit"),
        "test_uses": state.test_uses + ("test" in splits),
    }
    # Judged before the model was chosen; on test, too, when it is exported another time.
    judged = [split for split in SPLITS if summary.has_final(split) and split not in splits]
    if judged:
        origin["final_metrics"] = {
            name: value
            for name, value in summary.final_metrics.items()
            if name.partition("_")[0] in judged and not name.endswith("_num_examples")
        }
    if (answer := answer_on_record(plan, state)) is not None:
        origin["answer"] = list(answer.lines())
        if summary.trial in answer.shares:
            origin["intervals"] = {"val_accuracy": str(answer.shares[summary.trial])}
    refits = bool(plan.spec.export.refit) and (export or "test" in splits)
    if refits:
        origin["refit"] = {"splits": ["train", "val"], "epochs": summary.best_epoch}
    return FinalTask(
        trainable=plan.spec.trainable,
        data=plan.spec.data,
        data_folder=str(paths.data),
        config=plan.spec.config_of(summary.params),
        checkpoint=str(checkpoint),
        staging=str(staging),
        splits=splits,
        export=export,
        info=origin,
        num_threads=num_cpus(),
        import_paths=folders_of_own_modules(plan.spec.trainable, plan.spec.data),
        refit_folder=str(paths.refit(summary.trial, summary.best_epoch or 0)) if refits else None,
        temperature=plan.spec.export.temperature,
        predictions={split: str(evaluation_path(paths.table("predictions"), summary.trial, split)) for split in SPLITS},
        facts=wanted_facts(plan) if export else (),
        limits={limit.fact(name): limit.max for name, limit in plan.spec.limits.items()} if export else {},
        formats=formats_wanted(plan.spec.export, plan.trainable.facts, test=True) if export else {},
    )


def task_of_candidate(made: Candidate, paths: SweepPaths, state: SweepState, task: FinalTask) -> FinalTask:
    """The task for what is published instead of a single trial's model."""
    checkpoint, config = config_of(paths, made)
    tested = {name: value for name, value in tested_metrics(state, made).items() if name != "test_num_examples"}
    info = {
        **task.info,
        "candidate": origin_of(made),
        "metrics": {},
        "final_metrics": {**made.metrics, **tested},
        "answer": [made.reason],
        "intervals": {} if made.share is None else {"val_accuracy": str(made.share)},
    }
    predictions = {split: str(paths.candidate_predictions(made.name, split)) for split in SPLITS}
    return replace(task, checkpoint=str(checkpoint), config=config, info=info, predictions=predictions, limits={})


def record_evaluations(recorder: Recorder, summary: TrialSummary, result: FinalResult, staging: Path) -> None:
    import pyarrow.parquet as pq

    trial = summary.trial
    for split, metrics in result.metrics.items():
        predictions = pq.read_table(staging / f"predictions-{split}.parquet")
        classes = pq.read_table(staging / f"classes-{split}.parquet")
        confusions = staging / f"confusions-{split}.parquet"
        recorder.record_evaluation(
            trial, split, predictions, classes, pq.read_table(confusions) if confusions.exists() else None
        )
        recorder.record(
            FinalEvaluated(
                time=time.time(),
                trial=trial,
                split=split,
                num_examples=result.num_examples[split],
                metrics=metrics,
                epoch=summary.best_epoch,
            )
        )


def make_staging(paths: SweepPaths) -> Path:
    remove_staging(paths)
    staging = paths.root / f".final-{os.getpid()}"
    staging.mkdir()
    return staging


def remove_staging(paths: SweepPaths) -> None:
    """Removes what a process left that was killed while it evaluated or exported, or just after."""
    for left in paths.root.glob(".final-*"):
        # Another `sweep export` may be at work beside this one.
        if left.name == f".final-{os.getpid()}" or not psutil.pid_exists(int(left.name.rpartition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)


def partial_of(target: Path) -> Path:
    """Where a package is made that then takes the place of `target`; what killed processes have left there goes."""
    for left in target.parent.glob(f".{target.name}.*"):
        number = left.name.rpartition(".")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    return target.with_name(f".{target.name}.{os.getpid()}")
