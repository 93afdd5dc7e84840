"""After the search: kept trials are evaluated on val, the best one on test, and its model is verified and published.

Test is for the one model that the sweep ends with; the choice fell on val, where all kept ones can be compared.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.evaluation.finalize import Finalizer, FinalResult, FinalTask, finalize, publish
from sweep_runner.execution.evaluation.measuring import due_for_measuring, record_facts, wanted_facts
from sweep_runner.execution.evaluation.refit import drop_other_refits
from sweep_runner.execution.keeper.gate import apply_limits
from sweep_runner.execution.publishing.answering import answer_on_record, chosen, record_answer
from sweep_runner.execution.publishing.candidates import config_of, is_judged, judge, origin_of, published, record_test
from sweep_runner.execution.publishing.further_formats import formats_due, formats_wanted
from sweep_runner.execution.publishing.package_origin import published_origin
from sweep_runner.execution.publishing.resolutions import resized_config
from sweep_runner.results.candidates import Candidate, tested_metrics
from sweep_runner.results.events import FinalEvaluated
from sweep_runner.results.parts import evaluation_path
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import RANKED, SweepState, TrialSummary
from sweep_runner.spec.plan import Plan
from trainables.checkpoints import checkpoint_of_epoch
from trainables.contract import Trainable
from trainables.cpus import num_cpus
from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES
from trainables.own_modules import folders_of_own_modules


@dataclass(frozen=True)
class Finish:
    """What the end of a sweep brought.

    Attributes:
        package: the published model, None without one.
        notes: what the user should know of it.
        failed: whether something of it went wrong; a resume tries that again.
        over: the limits that the best trial's model breaks as exported: another one is the best.
    """

    package: Path | None
    notes: tuple[str, ...] = ()
    failed: bool = False
    over: str = ""


SPLITS = ("val", "test")


def finish_search(
    plan: Plan,
    paths: SweepPaths,
    recorder: Recorder,
    run: Finalizer,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Finish:
    """Evaluates the kept trials where that is not done yet, tells what the answer is worth, publishes the best model.

    Args:
        plan: the sweep.
        paths: of its folder.
        recorder: open.
        run: what evaluates and exports.
        say: told what happens.
        stopped: whether the user wants it to end; looked at now and then.
    """
    apply_limits(plan, recorder)
    if (done := finished(plan, paths, recorder.state)) is not None:
        return done
    errors = _evaluate_kept(plan, paths, recorder, run, say, stopped)
    if stopped():
        return Finish(None, tuple(errors))
    refused: list[str] = []
    while recorder.state.best() is not None:
        tell_answer(plan, paths, recorder)
        best = chosen(plan, recorder.state)
        assert best is not None, "there is a best one"
        unmade = _judge_candidates(best, plan, paths, recorder, run, say, stopped)
        if stopped():
            return Finish(None, (*errors, *unmade))
        finish = _finish_best(best, plan, paths, recorder, run, say, stopped)
        if not finish.over:
            errors += unmade
            break
        refused.append(f"trial {best.trial} exceeds a limit after export and is not published: {finish.over}")
        say(f"trial {best.trial} exceeds a limit after export ({finish.over}); the next best trial is used")
    else:
        return Finish(None, (*refused, _no_best(recorder.state)), failed=True)
    if stopped():
        return replace(finish, notes=(*refused, *finish.notes))
    return Finish(finish.package, (*refused, *finish.notes, *errors), failed=finish.failed or bool(errors))


def _judge_candidates(
    single: TrialSummary,
    plan: Plan,
    paths: SweepPaths,
    recorder: Recorder,
    run: Finalizer,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[str]:
    """Makes and judges what may be published instead of a single trial's model; notes on what did not come out."""

    def make_task(recipe: Mapping[str, Any], staging: Path) -> FinalTask:
        state = recorder.state
        checkpoint = next((Path(each["checkpoint"]) for each in recipe["members"]), paths.root)
        task = _task(plan, paths, state, single, checkpoint, staging, ("val",), True)
        facts = tuple(fact for fact in (NUM_PARAMETERS, NUM_FLOPS, ONNX_BYTES) if fact in plan.trainable.facts)
        if recipe["kind"] != "soup":  # which is of its trial's architecture, whose latency is known
            facts = tuple(dict.fromkeys((*facts, *task.facts)))
        info = {**task.info, "metrics": {}, "final_metrics": {}, "answer": []}
        # Further formats are of the model that is published.
        return replace(task, recipe=recipe, info=info, facts=facts, predictions={}, limits={}, formats={})

    return judge(plan, paths, recorder, single, make_task, run, lambda: _staging(paths), say, stopped)


def _no_best(state: SweepState) -> str:
    """Why there is no best model, in words."""
    over = [number for number, summary in sorted(state.trials.items()) if summary.over_limit]
    if not over:
        return "no trial has a result, so there is no best model"
    first = state.trials[over[0]].over_limit
    return (
        f"no trial is within the limits, so there is no best model. {len(over)} of {len(state.trials)} trials exceed "
        f"them, for example trial {over[0]}: {first}. Raise the limits (--set limits.NAME=MORE with sweep resume, "
        "then sweep retry for trials that were not trained), or put smaller models into the space"
    )


def tell_answer(plan: Plan, paths: SweepPaths, recorder: Recorder) -> None:
    """Puts on record what the answer is worth, where a trial has a result and that is not done yet."""
    if recorder.state.best() is not None:
        record_answer(plan, paths, recorder, lambda trial: _checkpoint(paths, recorder.state.trials[trial]) is not None)


def finished(plan: Plan, paths: SweepPaths, state: SweepState) -> Finish | None:
    """What `finish_search` comes to where nothing is left to evaluate or to publish; None when something is."""
    original = chosen(plan, state)
    if original is None:
        return Finish(None, (_no_best(state),), failed=True)
    splits, export = _due(plan, paths, state, original, published(plan, paths, state, original))
    if (
        splits
        or export
        or not is_judged(plan, paths, state, original)
        or _kept_due(plan, paths, state)
        or (plan.spec.export.prefer and answer_on_record(plan, state) is None)
        or due_for_measuring(plan, state, kept_trials(paths, state))
    ):
        return None
    made = published(plan, paths, state, original)
    return Finish(paths.best if _is_published(paths, original, made, plan.spec.export.temperature) else None)


def _due(
    plan: Plan, paths: SweepPaths, state: SweepState, best: TrialSummary, made: Candidate | None
) -> tuple[list[str], bool]:
    """On which splits the best model is still to be evaluated, and whether it is to be published.

    Args:
        plan: the sweep.
        paths: of its folder.
        state: as it is recorded.
        best: the trial.
        made: what is published instead of its model, if anything.
    """
    evaluates = plan.trainable.evaluate is not Trainable.evaluate
    splits = [split for split in SPLITS if evaluates and not best.has_final(split)]
    if made is not None:
        splits = [] if made.name in state.tested or not evaluates else ["test"]
    has_package = plan.trainable.export is not Trainable.export
    is_published = _is_published(paths, best, made, plan.spec.export.temperature)
    if is_published and bool((published_origin(paths) or {}).get("refit")) != bool(plan.spec.export.refit):
        # `export.refit` was changed since: the figures on test are of the model that was published then.
        is_published, splits = False, [split for split in SPLITS if evaluates and split in (*splits, "test")]
    due = not is_published or formats_due(plan.spec.export, paths.best)
    return splits, bool(plan.spec.export.formats) and has_package and due


def _kept_due(plan: Plan, paths: SweepPaths, state: SweepState) -> dict[int, Path]:
    """The trials with a checkpoint that are still to be evaluated on val, and their checkpoints: the best and baselines
    stay, and so do the best few others."""
    if plan.trainable.evaluate is Trainable.evaluate:
        return {}  # it evaluates nothing
    due = {each.trial if each.copy_of is None else each.copy_of for each in state.ranked()}
    found = {number: _checkpoint(paths, state.trials[number]) for number in sorted(due)}
    return {
        number: checkpoint
        for number, checkpoint in found.items()
        if checkpoint is not None and not state.trials[number].has_final("val")
    }


def _finish_best(
    best: TrialSummary,
    plan: Plan,
    paths: SweepPaths,
    recorder: Recorder,
    run: Finalizer,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> Finish:
    state, original = recorder.state, best
    made = published(plan, paths, state, original)
    splits, export = _due(plan, paths, state, original, made)
    there = _is_published(paths, original, made, plan.spec.export.temperature) and not export
    if not splits and not export:
        return Finish(paths.best if there else None)
    checkpoint = _checkpoint(paths, original)
    if checkpoint is None:
        note = f"trial {original.trial} has no checkpoint of epoch {original.best_epoch}: no model to publish"
        return Finish(None, (note,), failed=True)
    if plan.spec.export.refit and (export or "test" in splits):
        epochs = f"{original.best_epoch} epoch{'s' if original.best_epoch != 1 else ''}"
        say(f"training trial {original.trial} again on train and val, {epochs} (export.refit)")
    else:
        model = f"trial {original.trial}" if made is None else f"the {made.name}"
        say(f"evaluating {model}" + (" and exporting its model" if export else ""))
    staging = _staging(paths)
    try:
        task = _task(plan, paths, state, original, checkpoint, staging, splits, export)
        if made is not None:
            task = _task_of(made, paths, state, task)
        (result,) = run([task], stopped)
        if result.is_over:
            record_facts(plan, recorder, original.trial, result)
            apply_limits(plan, recorder)
            return Finish(None, over=recorder.state.trials[original.trial].over_limit)
        if made is None:
            _record(recorder, original, result, staging)
        else:
            record_test(paths, recorder, made, result, staging)
        notes = (result.error,) if result.error else ()
        if result.verified is not None:
            publish(staging / "package", paths.best)
            drop_other_refits(paths, keep=original.trial)
            there = True
            if made is None:
                record_facts(plan, recorder, original.trial, result)
            notes += (result.verified["note"],) if "note" in result.verified else ()
            for line in result.formats:
                say(line)
        elif export and not result.error:
            notes = (f"trainable {plan.spec.trainable!r} gave no model package to publish",)
        return Finish(paths.best if there else None, notes, failed=bool(result.error))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _evaluate_kept(
    plan: Plan,
    paths: SweepPaths,
    recorder: Recorder,
    run: Finalizer,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[str]:
    """Evaluates every trial with a checkpoint on val; notes on what did not come out."""
    trials = recorder.state.trials
    staging = _staging(paths)
    try:
        tasks = {}
        for number, checkpoint in _kept_due(plan, paths, recorder.state).items():
            folder = staging / str(number)
            folder.mkdir()
            tasks[number] = _task(plan, paths, recorder.state, trials[number], checkpoint, folder, ("val",), False)
        if not tasks:
            return []
        say(f"evaluating {len(tasks)} kept trial{'s' if len(tasks) > 1 else ''} on val")
        notes = []
        for number, result in zip(tasks, run(list(tasks.values()), stopped), strict=True):
            _record(recorder, trials[number], result, staging / str(number))
            if result.error:
                name = f" ({trials[number].name})" if trials[number].name else ""
                notes.append(f"trial {number}{name}: {result.error}")
        return notes
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def export_trial(
    plan: Plan,
    paths: SweepPaths,
    state: SweepState,
    trial: int,
    target: Path,
    resolution: int | None = None,
    formats: Mapping[str, Any] | None = None,
) -> FinalResult:
    """Exports one trial's model into `target`, in this process and without touching the test split.

    With another resolution than it was trained at it is evaluated on val there, and says so. `formats` are wanted
    beside the model itself, as `formats_wanted` gives them; by default those of the sweep file.

    Raises:
        RequestError: the trial has no checkpoint, or its trainable no package.
        SweepError: the exported model does not agree with the trained one.
    """
    summary = state.trials[trial]
    checkpoint = _checkpoint(paths, summary)
    if resolution is not None and plan.spec.export.refit:
        raise RequestError(
            f"--resolution {resolution}: with export.refit the model is trained anew on train and val, and no examples "
            "are left to judge it by at another resolution"
        )
    if checkpoint is None:
        kept = [number for number in state.trials if _checkpoint(paths, state.trials[number]) is not None]
        raise RequestError(
            f"{paths.name}: trial {trial} has no checkpoint on disk (only those of the best trials are kept)",
            hint=f"trials with a checkpoint: {', '.join(map(str, kept)) or 'none'}",
        )
    staging = _staging(paths)
    try:
        if formats is None:
            formats = formats_wanted(plan.spec.export, plan.trainable.facts, test=False)
        # A model that was asked for by its number may be over a limit.
        task = replace(_task(plan, paths, state, summary, checkpoint, staging, (), True), limits={}, formats=formats)
        if resolution is not None:
            resized = resized_config(plan, plan.spec.config_of(summary.params), paths.data, resolution)
            info = {**task.info, "metrics": {}, "final_metrics": {}, "answer": [], "intervals": {}}
            info |= {"resolution": resolution}
            task = replace(task, config=resized, splits=("val",), info=info, predictions={})
        result = finalize(task)
        if result.error:
            raise SweepError(result.error)
        if result.verified is None:
            raise RequestError(f"trainable {plan.spec.trainable!r} has no model package to export")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staging / "package", target)
        return result
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_published(paths: SweepPaths, best: TrialSummary, made: Candidate | None, temperature: bool) -> bool:
    """Whether the package is of this trial, at its best epoch: a paused trial may have gone on to a better one. Or of
    what is published instead."""
    origin = published_origin(paths)
    if origin is None or int(origin["trial"]) != best.trial or origin.get("epoch") != best.best_epoch:
        return False
    if bool(origin.get("temperature")) != temperature:
        return False  # `export.temperature` was changed since
    return origin.get("candidate") == (None if made is None else origin_of(made))


def _task_of(made: Candidate, paths: SweepPaths, state: SweepState, task: FinalTask) -> FinalTask:
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


def _checkpoint(paths: SweepPaths, summary: TrialSummary) -> Path | None:
    if summary.best_epoch is None or summary.state not in RANKED:
        return None
    checkpoint = checkpoint_of_epoch(paths.trial(summary.trial), summary.best_epoch)
    return checkpoint.folder if checkpoint else None


def kept_trials(paths: SweepPaths, state: SweepState) -> list[int]:
    """The trials with a checkpoint of their best epoch on disk, numbers ascending."""
    return [number for number in sorted(state.trials) if _checkpoint(paths, state.trials[number]) is not None]


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


def _staging(paths: SweepPaths) -> Path:
    remove_staging(paths)
    staging = paths.root / f".final-{os.getpid()}"
    staging.mkdir()
    return staging


def _task(
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


def _record(recorder: Recorder, summary: TrialSummary, result: FinalResult, staging: Path) -> None:
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
