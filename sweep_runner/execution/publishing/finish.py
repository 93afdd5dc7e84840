"""After the search: kept trials are evaluated on val, the best one on test, and its model is verified and published.

Test is for the one model that the sweep ends with; the choice fell on val, where all kept ones can be compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep_runner.execution.evaluation.finalize import Finalizer, FinalTask, publish
from sweep_runner.execution.evaluation.measuring import due_for_measuring, record_facts
from sweep_runner.execution.evaluation.refit import drop_other_refits
from sweep_runner.execution.keeper.gate import apply_limits
from sweep_runner.execution.publishing.answering import answer_on_record, chosen, record_answer
from sweep_runner.execution.publishing.candidates import is_judged, judge, origin_of, published, record_test
from sweep_runner.execution.publishing.further_formats import formats_due
from sweep_runner.execution.publishing.package_origin import published_origin
from sweep_runner.execution.publishing.tasks import (
    SPLITS,
    checkpoint_of,
    kept_trials,
    make_staging,
    record_evaluations,
    task_of_candidate,
    task_of_trial,
)
from sweep_runner.results.candidates import Candidate
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.plan import Plan
from trainables.contract import Trainable
from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES


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
    return _Finishing(plan, paths, recorder, run, say, stopped).finish()


@dataclass(frozen=True)
class _Finishing:
    """The end of one sweep; its fields are the arguments of `finish_search`."""

    plan: Plan
    paths: SweepPaths
    recorder: Recorder
    run: Finalizer
    say: Callable[[str], None]
    stopped: Callable[[], bool]

    def finish(self) -> Finish:
        """See `finish_search`."""
        apply_limits(self.plan, self.recorder)
        if (done := finished(self.plan, self.paths, self.recorder.state)) is not None:
            return done
        errors = self._evaluate_kept()
        if self.stopped():
            return Finish(None, tuple(errors))
        refused: list[str] = []
        while self.recorder.state.best() is not None:
            tell_answer(self.plan, self.paths, self.recorder)
            best = chosen(self.plan, self.recorder.state)
            assert best is not None, "there is a best one"
            unmade = self._judge_candidates(best)
            if self.stopped():
                return Finish(None, (*errors, *unmade))
            finish = self._finish_best(best)
            if not finish.over:
                errors += unmade
                break
            refused.append(f"trial {best.trial} exceeds a limit after export and is not published: {finish.over}")
            self.say(f"trial {best.trial} exceeds a limit after export ({finish.over}); the next best trial is used")
        else:
            return Finish(None, (*refused, _no_best(self.recorder.state)), failed=True)
        if self.stopped():
            return replace(finish, notes=(*refused, *finish.notes))
        return Finish(finish.package, (*refused, *finish.notes, *errors), failed=finish.failed or bool(errors))

    def _judge_candidates(self, single: TrialSummary) -> list[str]:
        """Makes and judges what may be published instead of a single trial's model; notes on what did not come out."""

        def make_task(recipe: Mapping[str, Any], staging: Path) -> FinalTask:
            state = self.recorder.state
            checkpoint = next((Path(each["checkpoint"]) for each in recipe["members"]), self.paths.root)
            task = task_of_trial(self.plan, self.paths, state, single, checkpoint, staging, ("val",), True)
            facts = tuple(fact for fact in (NUM_PARAMETERS, NUM_FLOPS, ONNX_BYTES) if fact in self.plan.trainable.facts)
            if recipe["kind"] != "soup":  # which is of its trial's architecture, whose latency is known
                facts = tuple(dict.fromkeys((*facts, *task.facts)))
            info = {**task.info, "metrics": {}, "final_metrics": {}, "answer": []}
            # Further formats are of the model that is published.
            return replace(task, recipe=recipe, info=info, facts=facts, predictions={}, limits={}, formats={})

        return judge(
            self.plan,
            self.paths,
            self.recorder,
            single,
            make_task,
            self.run,
            lambda: make_staging(self.paths),
            self.say,
            self.stopped,
        )

    def _evaluate_kept(self) -> list[str]:
        """Evaluates every trial with a checkpoint on val; notes on what did not come out."""
        trials = self.recorder.state.trials
        staging = make_staging(self.paths)
        try:
            tasks = {}
            for number, checkpoint in _kept_due(self.plan, self.paths, self.recorder.state).items():
                folder = staging / str(number)
                folder.mkdir()
                tasks[number] = task_of_trial(
                    self.plan, self.paths, self.recorder.state, trials[number], checkpoint, folder, ("val",), False
                )
            if not tasks:
                return []
            self.say(f"evaluating {len(tasks)} kept trial{'s' if len(tasks) > 1 else ''} on val")
            notes = []
            for number, result in zip(tasks, self.run(list(tasks.values()), self.stopped), strict=True):
                record_evaluations(self.recorder, trials[number], result, staging / str(number))
                if result.error:
                    name = f" ({trials[number].name})" if trials[number].name else ""
                    notes.append(f"trial {number}{name}: {result.error}")
            return notes
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _finish_best(self, best: TrialSummary) -> Finish:
        state, original = self.recorder.state, best
        made = published(self.plan, self.paths, state, original)
        splits, export = _due(self.plan, self.paths, state, original, made)
        there = _is_published(self.paths, original, made, self.plan.spec.export.temperature) and not export
        if not splits and not export:
            return Finish(self.paths.best if there else None)
        checkpoint = checkpoint_of(self.paths, original)
        if checkpoint is None:
            note = f"trial {original.trial} has no checkpoint of epoch {original.best_epoch}: no model to publish"
            return Finish(None, (note,), failed=True)
        if self.plan.spec.export.refit and (export or "test" in splits):
            epochs = f"{original.best_epoch} epoch{'s' if original.best_epoch != 1 else ''}"
            self.say(f"training trial {original.trial} again on train and val, {epochs} (export.refit)")
        else:
            model = f"trial {original.trial}" if made is None else f"the {made.name}"
            self.say(f"evaluating {model}" + (" and exporting its model" if export else ""))
        staging = make_staging(self.paths)
        try:
            task = task_of_trial(self.plan, self.paths, state, original, checkpoint, staging, splits, export)
            if made is not None:
                task = task_of_candidate(made, self.paths, state, task)
            (result,) = self.run([task], self.stopped)
            if result.is_over:
                record_facts(self.plan, self.recorder, original.trial, result)
                apply_limits(self.plan, self.recorder)
                return Finish(None, over=self.recorder.state.trials[original.trial].over_limit)
            if made is None:
                record_evaluations(self.recorder, original, result, staging)
            else:
                record_test(self.paths, self.recorder, made, result, staging)
            notes = (result.error,) if result.error else ()
            if result.verified is not None:
                publish(staging / "package", self.paths.best)
                drop_other_refits(self.paths, keep=original.trial)
                there = True
                if made is None:
                    record_facts(self.plan, self.recorder, original.trial, result)
                notes += (result.verified["note"],) if "note" in result.verified else ()
                for line in result.formats:
                    self.say(line)
            elif export and not result.error:
                notes = (f"trainable {self.plan.spec.trainable!r} gave no model package to publish",)
            return Finish(self.paths.best if there else None, notes, failed=bool(result.error))
        finally:
            shutil.rmtree(staging, ignore_errors=True)


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
        record_answer(
            plan, paths, recorder, lambda trial: checkpoint_of(paths, recorder.state.trials[trial]) is not None
        )


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
    found = {number: checkpoint_of(paths, state.trials[number]) for number in sorted(due)}
    return {
        number: checkpoint
        for number, checkpoint in found.items()
        if checkpoint is not None and not state.trials[number].has_final("val")
    }


def _is_published(paths: SweepPaths, best: TrialSummary, made: Candidate | None, temperature: bool) -> bool:
    """Whether the package is of this trial, at its best epoch: a paused trial may have gone on to a better one. Or of
    what is published instead."""
    origin = published_origin(paths)
    if origin is None or int(origin["trial"]) != best.trial or origin.get("epoch") != best.best_epoch:
        return False
    if bool(origin.get("temperature")) != temperature:
        return False  # `export.temperature` was changed since
    return origin.get("candidate") == (None if made is None else origin_of(made))
