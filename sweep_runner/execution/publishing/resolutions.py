"""The same weights at other resolutions, judged on val against the one that they were trained at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep_runner.errors import RequestError
from sweep_runner.execution.build import build
from sweep_runner.results.pairing import Significance, paired
from sweep_runner.results.rightness import groups_of, scores
from sweep_runner.spec.plan import Plan
from trainables.combining import Combines
from trainables.cpus import num_cpus
from trainables.errors import TrainableError
from trainables.facts import NUM_FLOPS, ONNX_LATENCY
from trainables.intervals import Share, share

FACTORS = (0.75, 1.0, 1.25)
_STEP = 4
"""Pixels: resolutions are rounded to these."""


@dataclass(frozen=True)
class Point:
    """One resolution.

    Attributes:
        resolution: in pixels.
        accuracy: on val.
        against: the difference to the resolution of training, on the same examples; None: it is that one.
        num_flops: of one picture; None: not known.
        latency_ms: of one picture on one thread; None: not measured.
    """

    resolution: int
    accuracy: Share
    against: Significance | None = None
    num_flops: float | None = None
    latency_ms: float | None = None


def resized_config(plan: Plan, config: dict[str, Any], data_folder: Path, resolution: int) -> dict[str, Any]:
    """A trial's config with another resolution.

    Raises:
        RequestError: its network takes no such pictures, or the trainable has no resolution.
    """
    trainable, made = build(plan.spec.trainable, plan.spec.data, str(data_folder), config)
    if not isinstance(trainable, Combines):
        raise RequestError(f"trainable {plan.spec.trainable!r} has no models of another resolution")
    try:
        resized: dict[str, Any] = trainable.at_resolution(made, resolution).model_dump(mode="json")
    except TrainableError as error:
        raise RequestError(str(error)) from error
    return resized


def points(
    plan: Plan,
    config: dict[str, Any],
    data_folder: Path,
    checkpoint: Path,
    wanted: Sequence[int],
    say: Callable[[str], None],
) -> list[Point]:
    """Judges a checkpoint at several resolutions, ascending; the one of training is among them.

    Args:
        plan: the sweep.
        config: of the trial, before the trainable's defaults.
        data_folder: where `prepare` left its files.
        checkpoint: of the trial.
        wanted: the resolutions; none: `FACTORS` of the one of training.
        say: told what happens.

    Raises:
        RequestError: the network takes no other pictures, or there is no val.
    """
    trainable, made = build(plan.spec.trainable, plan.spec.data, str(data_folder), config)
    if not isinstance(trainable, Combines):
        raise RequestError(f"trainable {plan.spec.trainable!r} has no models of another resolution")
    own = trainable.resolution(made)
    sides = sorted({own, *(wanted or (max(_STEP, round(own * factor / _STEP) * _STEP) for factor in FACTORS))})
    evaluated = {}
    for side in sides:
        say(f"evaluating on val at {side} px")
        try:
            resized = trainable.at_resolution(made, side)
        except TrainableError as error:
            raise RequestError(str(error)) from error
        evaluation = trainable.evaluate(resized, checkpoint, "val", num_cpus())
        if evaluation is None:
            raise RequestError("the sweep has no val split to judge by")
        evaluated[side] = (evaluation.predictions, trainable.measure(resized, (NUM_FLOPS, ONNX_LATENCY), num_cpus()))
    found = []
    for side, (predictions, facts) in evaluated.items():
        told = None if side == own else paired("val", evaluated[own][0], predictions)
        assert not isinstance(told, str), "the same examples"
        accuracy = share(scores(predictions), groups_of(predictions))
        found.append(Point(side, accuracy, told, facts.get(NUM_FLOPS), facts.get(ONNX_LATENCY)))
    return found


def verdict(found: Sequence[Point]) -> str:
    """Whether one of the resolutions is better, or cheaper and not worse, in words."""
    own = next(point for point in found if point.against is None)
    better = [point for point in found if point.against is not None and point.against.low > 0]
    if better:
        best = max(better, key=lambda point: point.accuracy.value)
        return f"{best.resolution} px is better on val than {own.resolution} px by more than chance"
    alike = [
        point
        for point in found
        if point.against is not None and point.resolution < own.resolution and point.against.high >= 0
    ]
    if alike:
        least = min(alike, key=lambda point: point.resolution)
        assert least.against is not None
        return (
            f"{least.resolution} px is cheaper, and on val does not differ significantly from {own.resolution} px: it "
            f"may be up to {max(0.0, -100 * least.against.low):.1f} points worse"
        )
    return f"none is better, or cheaper and as good: keep {own.resolution} px"
