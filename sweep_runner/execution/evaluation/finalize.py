"""Evaluates and exports one checkpoint. Needs the trainable (and torch): runs where the trials run."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.execution.build import build
from sweep_runner.execution.evaluation.combining import Recipe, make
from sweep_runner.execution.evaluation.refit import refit
from sweep_runner.execution.evaluation.scaling import scaling
from sweep_runner.results.parts import read_predictions
from sweep_runner.results.rightness import groups_of, scores
from trainables.contract import Trainable
from trainables.errors import TrainableError
from trainables.formats import FormatsWanted
from trainables.intervals import share
from trainables.machine import OtherWork, machine_name
from trainables.own_modules import find_own_modules

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class FinalTask:
    """What is to be evaluated and exported.

    Attributes:
        trainable: built-in name or `package.module:attribute`.
        data: the sweep file's data section.
        data_folder: where `Trainable.prepare` left its files.
        config: of the trial, before the trainable's defaults.
        checkpoint: the folder of the best epoch.
        refit_folder: where the model is trained anew on train and val, which then is what is tested and exported;
            None: the checkpoint is.
        staging: empty folder for the results.
        splits: to evaluate; `test` only if it was not touched before for this trial.
        export: whether to write the model package.
        info: what the package says of its origin.
        num_threads: CPU threads.
        import_paths: put behind `sys.path`.
        facts: what is to be measured of the package.
        limits: the most of some of them: a package that is over one is not published, and not tested.
        temperature: whether the model that is exported divides its logits by one.
        predictions: where the model's predictions of earlier evaluations are, by split: a temperature is fitted on val.
        recipe: the checkpoint is made first, of several others: a `Recipe` as a mapping; None: it is there.
        formats: the fields of a `FormatsWanted`: what the package is to hold beside the model as it was trained.
    """

    trainable: str
    data: Mapping[str, Any]
    data_folder: str
    config: Mapping[str, Any]
    checkpoint: str
    staging: str
    splits: Sequence[str]
    export: bool
    info: Mapping[str, Any]
    num_threads: int
    import_paths: Sequence[str] = ()
    refit_folder: str | None = None
    facts: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    temperature: bool = False
    predictions: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    formats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FinalResult:
    """What came out.

    Attributes:
        metrics: of each evaluated split.
        num_examples: of each evaluated split.
        verified: what `Trainable.export` verified; None when there is no package.
        error: why evaluation or export did not succeed, in words; empty when all went well.
        facts: what was measured of the package.
        machine: on which it was.
        is_over: whether the package is over a limit; then nothing was evaluated.
        made: of what the checkpoint was made, as `Made.to_json` tells it; None: it was there.
        formats: what came of each further format, in words.
    """

    metrics: Mapping[str, Mapping[str, float]]
    num_examples: Mapping[str, int]
    verified: Mapping[str, Any] | None
    error: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    machine: str = ""
    is_over: bool = False
    made: Mapping[str, Any] | None = None
    formats: Sequence[str] = ()


Finalizer = Callable[[Sequence[FinalTask], Callable[[], bool]], list[FinalResult]]
"""Runs tasks, and looks now and then whether it is to stop; what is not done then ends with an error."""


def finalize(task: FinalTask) -> FinalResult:
    """Evaluates and exports one checkpoint, into `task.staging`.

    Files there: `predictions-<split>.parquet`, `classes-<split>.parquet`, `confusions-<split>.parquet` (if the
    trainable tells them), `package/`.
    """
    import pyarrow.parquet as pq

    find_own_modules(task.import_paths)
    staging, checkpoint = Path(task.staging), Path(task.checkpoint)
    trainable, config = build(task.trainable, task.data, task.data_folder, task.config)
    metrics: dict[str, Mapping[str, float]] = {}
    counts: dict[str, int] = {}
    verified: Mapping[str, Any] | None = None
    facts: Mapping[str, float] = {}
    sure = dict(task.info.get("intervals", {}))
    error = machine = ""
    told: Mapping[str, Any] | None = None
    formats: Sequence[str] = ()
    model = checkpoint
    try:
        if task.recipe is not None:
            made = make(trainable, Recipe(**task.recipe), task.num_threads)
            told, config = made.to_json(), made.config
            if made.checkpoint is None:
                return FinalResult(metrics={}, num_examples={}, verified=None, made=told)
            model = checkpoint = made.checkpoint
        if task.refit_folder is not None and (task.export or "test" in task.splits):
            model = refit(trainable, config, checkpoint, Path(task.refit_folder), task.info, task.num_threads)
        # Of the model to publish: a trial with folds has no single one before.
        if task.limits and task.export:
            facts = _facts_as_exported(trainable, config, model, task)
            if any(facts.get(fact, math.inf) > most for fact, most in task.limits.items()):
                return FinalResult(
                    metrics={}, num_examples={}, verified=None, facts=facts, machine=machine_name(), is_over=True
                )
        for split in task.splits:
            judged = model if split == "test" else checkpoint  # val was trained on
            evaluation = trainable.evaluate(config, judged, split, task.num_threads)
            if evaluation is None:
                continue
            pq.write_table(evaluation.predictions, staging / f"predictions-{split}.parquet")
            pq.write_table(evaluation.classes, staging / f"classes-{split}.parquet")
            if evaluation.confusions is not None:
                pq.write_table(evaluation.confusions, staging / f"confusions-{split}.parquet")
            metrics[split], counts[split] = dict(evaluation.metrics), evaluation.num_examples
            if f"{split}_accuracy" in evaluation.metrics:
                found = evaluation.predictions
                sure[f"{split}_accuracy"] = str(share(scores(found), groups_of(found)))
        if task.export:
            package = staging / "package"
            package.mkdir()
            final = dict(task.info.get("final_metrics", {}))
            for each in metrics.values():
                final.update(each)
            info = {**task.info, "final_metrics": final, "intervals": sure}
            if task.temperature:
                info["temperature"] = scaling(*(_predictions(task, split) for split in ("val", "test")))
            if task.recipe is not None and told is not None:
                info["candidate"] = {"kind": task.recipe["kind"], "made_of": told["members"]}
            verified = trainable.export(config, model, package, info, task.num_threads)
            if verified is not None and task.facts:
                others = OtherWork()
                facts = facts or trainable.measure_package(package, task.facts)
                machine = machine_name(loaded=others.is_much)
                trainable.note_facts(package, facts, machine)
            if verified is not None and task.formats:
                formats = trainable.add_formats(config, package, FormatsWanted(**task.formats), task.num_threads)
    except TrainableError as problem:
        error = str(problem)
    except OSError as problem:
        error = f"{problem.strerror or problem}: {problem.filename or staging}"
    return FinalResult(
        metrics=metrics,
        num_examples=counts,
        verified=verified,
        error=error,
        facts=facts,
        machine=machine or machine_name(),
        made=told,
        formats=formats,
    )


def _predictions(task: FinalTask, split: str) -> pa.Table | None:
    """Those of this evaluation, else of an earlier one."""
    earlier = [Path(task.predictions[split])] if split in task.predictions else []
    for path in (Path(task.staging) / f"predictions-{split}.parquet", *earlier):
        if (table := read_predictions(path)) is not None:
            return table
    return None


def _facts_as_exported(
    trainable: Trainable[Any, Any], config: Any, checkpoint: Path, task: FinalTask
) -> Mapping[str, float]:
    """What a model takes as it would be published, seen before it is tested: test is for the one that is."""
    with tempfile.TemporaryDirectory(dir=task.staging, prefix="tried-") as folder:
        package = Path(folder)
        if trainable.export(config, checkpoint, package, task.info, task.num_threads) is None:
            return {}
        return dict(trainable.measure_package(package, task.facts))


def publish(package: Path, target: Path) -> None:
    """Puts a package in its place; the one before stays until then, and goes after."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    package.rename(target)
    shutil.rmtree(old, ignore_errors=True)
