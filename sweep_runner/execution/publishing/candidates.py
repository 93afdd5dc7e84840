"""Which model a sweep publishes: that of a single trial, or one that is made of several.

All are judged in one place, on val, in one order. What is made of several takes the place of what it is compared with
only where the 95 % interval of the paired difference lies above 0, and it keeps the limits.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.evaluation.combining import Kind, Recipe, made_checkpoint, made_config
from sweep_runner.execution.publishing.answering import chosen
from sweep_runner.execution.publishing.package_origin import published_origin
from sweep_runner.results.answering import ranked
from sweep_runner.results.candidates import SINGLE, Candidate, asked_for
from sweep_runner.results.events import CandidateJudged, CandidateTested
from sweep_runner.results.pairing import Significance, paired
from sweep_runner.results.parts import evaluation_path, read_predictions, write_part
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.rightness import groups_of, scores
from sweep_runner.results.schemas import evaluation_table
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.goals import over_in_words
from sweep_runner.spec.model import SOUP_CHECKPOINTS
from sweep_runner.spec.plan import Plan
from trainables.checkpoints import attempt_folders, checkpoint_of_epoch
from trainables.combining import Combines, Member
from trainables.intervals import Share, share

if TYPE_CHECKING:
    from sweep_runner.execution.evaluation.finalize import FinalResult, FinalTask

Run = Callable[[Sequence["FinalTask"], Callable[[], bool]], list["FinalResult"]]
MakeTask = Callable[[Mapping[str, Any], Path], "FinalTask"]
"""Makes the task that makes, evaluates and exports a candidate: of its recipe, into a staging folder."""


@dataclass(frozen=True)
class Wanted:
    """A candidate that the sweep file asks for.

    Attributes:
        kind: how it is made.
        members: the trials whose checkpoints may take part, the one that it is to be better than first, then the best.
        asked: see `Candidate`.
    """

    kind: Kind
    members: tuple[TrialSummary, ...]
    asked: str


def wanted(plan: Plan, paths: SweepPaths, state: SweepState, single: TrialSummary) -> list[Wanted]:
    """The candidates that the sweep file asks for, in the order in which they are judged.

    Args:
        plan: the sweep.
        paths: of its folder.
        state: ended, with its answer on record.
        single: the trial whose model is published without them.
    """
    export = plan.spec.export
    if not export.soup and not export.ensemble:
        return []
    others = [each for each in ranked(state) if each.trial != single.trial]
    kept = [each for each in (single, *others) if is_kept(paths, each)]
    settings = {
        "soup": export.soup,  # an ensemble is judged against it
        "ensemble": export.ensemble,
        "limits": {name: limit.max for name, limit in plan.spec.limits.items()},
    }

    def of(kind: Kind, members: Sequence[TrialSummary]) -> Wanted:
        return Wanted(kind, tuple(members), asked_for([label(each) for each in members], settings))

    soup = [of("soup", kept)] if export.soup else []
    return [*soup, *([of("ensemble", kept[: export.ensemble])] if export.ensemble else [])]


def refuse_soup(plan: Plan, paths: SweepPaths, state: SweepState) -> None:
    """Raises where the kept checkpoints of a sweep that has ended make no soup.

    Raises:
        RequestError: says why, trial by trial.
    """
    from sweep_runner.execution.build import build_trainable
    from sweep_runner.execution.evaluation.combining import mates

    single = chosen(plan, state)
    if single is None:
        raise RequestError(f"the sweep {paths.name!r} has no trial with a result: there is nothing to average")
    (soup,) = (each for each in wanted(plan, paths, state, single) if each.kind == "soup")
    hint = f"A sweep with export: {{soup: auto}} keeps {SOUP_CHECKPOINTS} checkpoints; keep.best sets another number."
    if len(soup.members) < 2:
        there = f"one trial has its checkpoint on disk ({single.trial})" if soup.members else "no checkpoint is on disk"
        raise RequestError(f"{paths.name}: {there}, and a soup is made of two or more", hint=hint)
    trainable = build_trainable(plan.spec.trainable, plan.spec.data, str(paths.data))
    assert isinstance(trainable, Combines), "the check of the sweep file has seen to it"
    members = [
        Member(each.trial, each.seed or 0, plan.make_config(each.params), paths.trial(each.trial))
        for each in soup.members
    ]
    fitting, left_out = mates(trainable, members)
    if len(fitting) < 2:
        listed = "; ".join(f"trial {trial} has {why}" for trial, why in left_out.items())
        raise RequestError(
            f"{paths.name}: no kept checkpoint can be averaged with that of trial {single.trial}: {listed}", hint=hint
        )


def is_judged(plan: Plan, paths: SweepPaths, state: SweepState, single: TrialSummary) -> bool:
    """Whether all that the sweep file asks for is on record, for the trials that there are.

    What is to be published has its checkpoint besides, or is the published package already.
    """
    for each in wanted(plan, paths, state, single):
        candidate = _on_record(state, each)
        if candidate is None:
            return False
        is_there = (published_origin(paths) or {}).get("candidate") == origin_of(candidate)
        if candidate.published and not is_there and made_checkpoint(paths.candidate(each.kind)) is None:
            return False
    return True


def published(plan: Plan, paths: SweepPaths, state: SweepState, single: TrialSummary) -> Candidate | None:
    """What is published instead of a single trial's model; None: that model is."""
    for each in wanted(plan, paths, state, single):
        candidate = _on_record(state, each)
        if candidate is not None and candidate.published:
            return candidate
    return None


def judge(
    plan: Plan,
    paths: SweepPaths,
    recorder: Recorder,
    single: TrialSummary,
    make_task: MakeTask,
    run: Run,
    staging: Callable[[], Path],
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> list[str]:
    """Makes the candidates that the sweep file asks for, judges them, and puts on record which is published.

    Args:
        plan: the sweep.
        paths: of its folder.
        recorder: open.
        single: the trial whose model is published without them.
        make_task: see above.
        run: what evaluates and exports.
        staging: makes an empty folder for the results.
        say: told what happens.
        stopped: whether the user wants it to end.

    Returns:
        What went wrong; a resume tries that again.
    """
    due = wanted(plan, paths, recorder.state, single)
    if not due or is_judged(plan, paths, recorder.state, single):
        return []
    errors: list[str] = []
    found = [Candidate(name=SINGLE, trials=(label(single),), share=_share(_of_trial(paths, single.trial)))]
    found[0] = dataclasses.replace(found[0], metrics=_on_val(single.final_metrics), published=True)
    for each in due:
        if stopped():
            return errors
        say(f"making the {each.kind} of up to {len(each.members)} kept checkpoints")
        folder = staging()
        try:
            (result,) = run([make_task(recipe_of(plan, paths, each), folder)], stopped)
            if result.error:
                errors.append(f"{each.kind}: {result.error}")
                continue
            found.append(_judged(plan, paths, each, result, folder, found))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    winner = next(candidate for candidate in reversed(found) if candidate.published)
    for candidate in found:
        told = dataclasses.replace(candidate, published=candidate.name == winner.name)
        if candidate.published and candidate.name not in (winner.name, SINGLE):
            told = dataclasses.replace(told, reason=f"{candidate.reason}; the {winner.name} is better than it")
        recorder.record(CandidateJudged(time=time.time(), candidate=candidate.name, values=told.to_json()))
    return errors


def recipe_of(plan: Plan, paths: SweepPaths, each: Wanted) -> dict[str, Any]:
    """What is to be made, as a task has it."""
    members = [
        {
            "trial": member.trial,
            "epoch": member.best_epoch,
            "seed": member.seed,
            "config": plan.spec.config_of(member.params),
            "checkpoint": str(checkpoint),
        }
        for member in each.members
        if (checkpoint := checkpoint_of(paths, member)) is not None  # a damaged one is as if it were gone
    ]
    objective = plan.spec.objective
    recipe = Recipe(each.kind, members, str(paths.candidate(each.kind)), objective.metric, objective.mode)
    return dataclasses.asdict(recipe)


def record_test(
    paths: SweepPaths, recorder: Recorder, candidate: Candidate, result: FinalResult, staging: Path
) -> None:
    """Puts the evaluation on test of what is published on record."""
    if "test" not in result.metrics:
        return
    _keep_predictions(paths, candidate.name, "test", staging)
    recorder.record(
        CandidateTested(
            time=time.time(),
            candidate=candidate.name,
            made_of=candidate.trials,
            num_examples=result.num_examples["test"],
            metrics=result.metrics["test"],
        )
    )


def origin_of(candidate: Candidate) -> dict[str, Any]:
    """What a package says of how it was made."""
    return {"kind": candidate.name, "made_of": list(candidate.trials)}


def config_of(paths: SweepPaths, candidate: Candidate) -> tuple[Path, dict[str, Any]]:
    """Checkpoint and config of what was made.

    Raises:
        SweepError: it is not there any more.
    """
    checkpoint = made_checkpoint(paths.candidate(candidate.name))
    if checkpoint is None:
        raise SweepError(
            f"{paths.candidate(candidate.name)}: the checkpoint of the {candidate.name} is gone or damaged"
        )
    return checkpoint, made_config(checkpoint)


def label(summary: TrialSummary) -> str:
    """A trial at its best epoch, `trial:epoch`."""
    return f"{summary.trial}:{summary.best_epoch}"


def is_kept(paths: SweepPaths, summary: TrialSummary) -> bool:
    """Whether the checkpoint of a trial's best epoch is there; whether it is whole takes reading all of it."""
    name = f"epoch-{summary.best_epoch or 0:05d}"
    return any((each / "checkpoints" / name).is_dir() for each in attempt_folders(paths.trial(summary.trial)))


def checkpoint_of(paths: SweepPaths, summary: TrialSummary) -> Path | None:
    """The checkpoint of a trial's best epoch; None where it is not kept."""
    if summary.best_epoch is None:
        return None
    found = checkpoint_of_epoch(paths.trial(summary.trial), summary.best_epoch)
    return found.folder if found is not None else None


def _on_record(state: SweepState, each: Wanted) -> Candidate | None:
    values = state.candidates.get(each.kind)
    candidate = None if values is None else Candidate.read(values)
    return candidate if candidate is not None and candidate.asked == each.asked else None


def _judged(
    plan: Plan, paths: SweepPaths, each: Wanted, result: FinalResult, folder: Path, found: Sequence[Candidate]
) -> Candidate:
    """A candidate with what holds of it, against the one that would be published without it."""
    assert result.made is not None
    made = result.made
    whole = Candidate(
        name=each.kind, asked=each.asked, trials=tuple(made["members"]), left_out=made["left_out"], reason=made["why"]
    )
    if "val" not in result.metrics:  # nothing came of it
        kinds: dict[str, list[str]] = {}
        for trial, why in whole.left_out.items():
            kinds.setdefault(why.partition(":")[0], []).append(trial)
        left = "".join(f"; left out: trial {', '.join(trials)} ({why})" for why, trials in kinds.items())
        return dataclasses.replace(whole, trials=(), reason=f"{made['why']}{left}")
    predictions = _keep_predictions(paths, each.kind, "val", folder)
    _keep_package(paths, each.kind, folder)
    rival = next(other for other in reversed(found) if other.published)
    theirs = _of_trial(paths, each.members[0].trial) if rival.name == SINGLE else _of_candidate(paths, rival.name)
    told = paired("val", theirs, predictions) if theirs is not None else "its rival has no predictions on val"
    whole = dataclasses.replace(
        whole, metrics=dict(result.metrics["val"]), share=_share(predictions), facts=dict(result.facts)
    )
    if isinstance(told, str):
        return dataclasses.replace(whole, reason=f"{made['why']}; not published: {told}")
    over = over_in_words(plan.spec.limits, result.facts, tuple(result.facts)) if result.facts else ""
    better = told.low > 0
    why = f"over a limit: {over}" if over else _in_words(told, rival.name)
    return dataclasses.replace(
        whole,
        against=rival.name,
        difference=told.difference,
        low=told.low,
        high=told.high,
        published=better and not over,
        reason=f"{made['why']}; {'published' if better and not over else 'not published'}: {why}",
    )


def _in_words(told: Significance, rival: str) -> str:
    points, low, high = (100 * value for value in (told.difference, told.low, told.high))
    interval = f"{points:+.1f} points of accuracy on val against the {rival} (95 %: {low:+.1f} to {high:+.1f})"
    return interval if told.low > 0 else f"{interval}, which may be chance"


def _keep_predictions(paths: SweepPaths, name: str, split: str, staging: Path) -> pa.Table:
    import pyarrow.parquet as pq

    table = evaluation_table(paths.name, None, split, pq.read_table(staging / f"predictions-{split}.parquet"))
    write_part(paths.candidate_predictions(name, split), table)
    return table


def _keep_package(paths: SweepPaths, name: str, staging: Path) -> None:
    from sweep_runner.execution.evaluation.finalize import publish

    if (staging / "package").is_dir():
        target = paths.export(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(staging / "package", target)


def _of_trial(paths: SweepPaths, trial: int) -> pa.Table | None:
    return read_predictions(evaluation_path(paths.table("predictions"), trial, "val"))


def _of_candidate(paths: SweepPaths, name: str) -> pa.Table | None:
    return read_predictions(paths.candidate_predictions(name, "val"))


def _share(predictions: pa.Table | None) -> Share | None:
    return None if predictions is None or not len(predictions) else share(scores(predictions), groups_of(predictions))


def _on_val(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("val_")}
