"""`search.stop` and `search.confirm`, checked against the rest of the sweep file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sweep_runner.errors import Problem
from sweep_runner.spec.document import KeyPath, Places
from sweep_runner.spec.ending import Confirm, Stop
from sweep_runner.spec.model import SweepSpec
from trainables.contract import Trainable
from trainables.quantities import duration_text

_LEAST_S = 60.0
"""Of a trainable whose model is evaluated or exported: what is kept for the end alone takes a third of that."""


def check_ending(
    spec: SweepSpec, trainable: type[Trainable[Any, Any]], places: Places, problems: list[Problem], warnings: list[str]
) -> None:
    """Adds what is wrong with the ends of a search, and what the user should know of them."""
    stop, confirm = spec.search.stop, spec.search.confirm
    if stop is not None:
        problems += [
            Problem(message, places.where(("search", "stop", key)), hint)
            for key, message, hint in _wrong(spec, stop, trainable)
        ]
        warnings += _of_stop(spec, stop, trainable)
    warnings += _of_several(spec)
    if confirm is not None:
        if (problem := _same_seed(spec, places)) is not None:
            problems.append(problem)
        warnings += _of_confirm(spec, confirm)


def _wrong(spec: SweepSpec, stop: Stop, trainable: type[Trainable[Any, Any]]) -> Iterator[tuple[str, str, str]]:
    if stop.at is None:
        return
    metric = spec.objective.metric
    least, most = trainable.bounds(metric)
    if least <= stop.at <= most:
        return
    rule = (
        f"between {least:g} and {most:g}"
        if math.isfinite(least) and math.isfinite(most)
        else (f"at least {least:g}" if math.isfinite(least) else f"at most {most:g}")
    )
    percent = least <= stop.at / 100 <= most and most == 1
    hint = f"Did you mean {stop.at / 100:g}?" if percent else ""
    yield "at", f"search.stop.at is {stop.at:g}: {metric} is always {rule}", hint


def _of_stop(spec: SweepSpec, stop: Stop, trainable: type[Trainable[Any, Any]]) -> Iterator[str]:
    if stop.no_gain is not None and stop.no_gain >= spec.search.trials:
        yield (f"search.stop.no_gain is {stop.no_gain}: it cannot end a search of {spec.search.trials} trials early")
    has_end = trainable.evaluate is not Trainable.evaluate or trainable.export is not Trainable.export
    if stop.after is not None and stop.after < _LEAST_S and has_end:
        yield (
            f"search.stop.after is {duration_text(stop.after)}: about half of it is reserved for evaluating and "
            f"exporting the best model; the rest may be too short for one trial"
        )


def _of_several(spec: SweepSpec) -> Iterator[str]:
    """With several objectives the first one decides, as it does which model is published."""
    stop = spec.search.stop
    rules = {
        "search.stop.at": stop is not None and stop.at is not None,
        "search.stop.no_gain": stop is not None and stop.no_gain is not None,
        "search.confirm": spec.search.confirm is not None,
    }
    named = [name for name, given in rules.items() if given]
    if spec.objective.also and named:
        verb = "looks" if len(named) == 1 else "look"
        yield f"{', '.join(named)} {verb} at the first objective alone, {spec.objective.metric}"


def _same_seed(spec: SweepSpec, places: Places) -> Problem | None:
    """Repetitions differ by their seed: it must not be set."""
    for section, values in (("fixed", spec.fixed), ("space", spec.space)):
        if values.get("seed") is not None:
            at: KeyPath = (section, "seed")
            return Problem(
                f"{section}.seed is set: search.confirm repeats trials with other seeds, but all would have this one",
                places.where(at),
                "Remove seed: every trial has its own, derived from search.seed.",
            )
    return None


def _of_confirm(spec: SweepSpec, confirm: Confirm) -> Iterator[str]:
    if confirm.top > spec.search.trials:
        yield (
            f"search.confirm.top is {confirm.top}: the sweep has {spec.search.trials} trials, so every trial with a "
            f"result is repeated"
        )
