"""A sweep that has ended, with learning curves and final evaluations, made without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweep_runner.results.answer import Answer, ranking
from sweep_runner.results.events import Answered, EpochReported, FinalEvaluated, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from trainables.image.measures.scores import score


def write_evaluated_sweep(
    results: Path,
    classes: Sequence[str],
    *,
    name: str = "balls",
    multilabel: bool = False,
    epochs: int = 5,
    baselines: Sequence[str] = ("adam-max", "sgd-avg"),
    num_others: int = 3,
    metrics: Sequence[str] = ("train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    examples: int = 400,
    published: int | None = None,
) -> SweepPaths:
    """The baselines are the first trials; all later ones are better. The last is evaluated on val and test, the
    baselines on val.

    Args:
        published: the trial that is preferred to the last one, and evaluated on test instead of it.
    """
    paths = SweepPaths(results / name)
    paths.root.mkdir(parents=True)
    paths.spec.write_text(f"name: {name}\n")
    names = [*baselines, *[None] * num_others]
    random = np.random.default_rng(0)
    with Recorder(paths, Objective(), ["lr"], {}, flush_interval_s=3600) as recorder:
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))
        for number, baseline in enumerate(names):
            recorder.record(
                TrialStarted(
                    time=2.0, trial=number, attempt=1, seed=1, params={"lr": 0.1 / (number + 1)}, name=baseline
                )
            )
            level = 0.5 + 0.4 * number / len(names)
            for epoch in range(1, epochs + 1):
                rise = level * (1 - np.exp(-epoch / 2)) + random.normal(0, 0.01)
                values = {"train_accuracy": rise + 0.05, "val_accuracy": rise}
                values |= {"train_loss": 1.6 * (1 - rise) + 0.1, "val_loss": 1.8 * (1 - rise) + 0.2}
                reported = {metric: float(values[metric]) for metric in metrics}
                recorder.record(EpochReported(time=3.0, trial=number, attempt=1, epoch=epoch, metrics=reported))
            recorder.record(TrialEnded(time=4.0, trial=number, attempt=1, state="COMPLETED", duration_s=2.0))
            last = len(names) - 1
            tested = last if published is None else published
            splits = ("val", "test") if number == tested else ("val",) if baseline or number == last else ()
            for split in splits:
                _evaluate(recorder, number, split, classes, multilabel, examples, sharpness=2 + 4 * level)
        if published is not None:
            ranked = recorder.state.ranked()
            answer = Answer(
                winner=len(names) - 1,
                ranked=ranking((each.trial, each.best_epoch) for each in ranked),
                evaluated=tuple(each.trial for each in ranked if each.has_final("val")),
                prefer="smaller",
                chosen=published,
                why_chosen=f"prefer: smaller: trial {published} is published",
            )
            recorder.record(Answered(time=5.0, answer=answer.to_json()))
        recorder.record(SweepChanged(time=5.0, state="COMPLETED"))
    return paths


def _evaluate(
    recorder: Recorder,
    trial: int,
    split: str,
    classes: Sequence[str],
    multilabel: bool,
    examples: int,
    sharpness: float,
) -> None:
    random = np.random.default_rng(trial)
    shape = (examples, len(classes))
    logits = random.normal(size=shape).astype(np.float32)
    if multilabel:
        rates = np.linspace(0.5, 0.02, len(classes))
        targets = (random.random(shape) < rates).astype(np.float32)
        logits = (logits + sharpness / 2 * targets - 2).astype(np.float32)
    else:
        share = np.linspace(2, 0.5, len(classes))
        targets = random.choice(len(classes), examples, p=share / share.sum())
        logits[np.arange(examples), targets] += sharpness / 2
        # Neighbours are taken for each other.
        logits[np.arange(examples), (targets + 1) % len(classes)] += 1
    names = [f"{number}.jpg" for number in range(examples)]
    found = score(split, names, targets, logits, classes, multilabel)
    recorder.record_evaluation(trial, split, found.predictions, found.classes, found.confusions)
    recorder.record(FinalEvaluated(time=6.0, trial=trial, split=split, num_examples=examples, metrics=found.metrics))
