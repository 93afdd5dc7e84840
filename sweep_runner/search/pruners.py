"""Pruners: pure functions from the recorded values to a reason to stop, or None.

A decision depends on nothing but what was recorded, so asking again after a crash gives the same answer, and
anybody can replay the decisions of a finished sweep from its rows. Optuna's own successive halving and
hyperband write into the study while they decide: killed at the wrong moment they decide otherwise the second
time. Values that are NaN count as worse than any number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sweep_runner.errors import RequestError
from sweep_runner.search.repeatable import unit_hash
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import corner_values
from sweep_runner.spec.strategies import (
    Hyperband,
    Median,
    Patient,
    Percentile,
    Pruner,
    SuccessiveHalving,
    Threshold,
)

Values = Mapping[int, Mapping[int, float]]
"""Trial number → epoch → the objective's value at that epoch."""


def decide(
    options: Pruner,
    mode: Literal["min", "max"],
    values: Values,
    number: int,
    epoch: int,
    completed: Collection[int] = (),
) -> str | None:
    """Whether a trial is to stop after an epoch. Do not ask at a trial's last epoch: nothing is left to save.

    Args:
        options: of the pruner, as `resolve` gives them.
        mode: which way is better.
        values: all trials' values recorded so far, those of this trial up to `epoch` included.
        number: the trial in question.
        epoch: the epoch that it has just reported.
        completed: the trials that ran to their end so far; median and percentile compare with these only.

    Returns:
        The reason in words, for the user; None to go on.
    """
    own = {step: value for step, value in values.get(number, {}).items() if step <= epoch}
    if epoch not in own:
        return None
    return PRUNERS[options.kind](options, Case(mode, values, completed, number, epoch, own))


@dataclass(frozen=True)
class Rung:
    """One comparison of a trial with its rivals, as successive halving makes it.

    Attributes:
        epoch: of the rung.
        value: the trial's.
        rivals: trial → value: those that had reached the rung by then.
        num_kept: how many of all of them go on.
        threshold: the worst value that goes on; None when the trial alone was there.
        passed: whether the trial did.
    """

    epoch: int
    value: float
    rivals: Mapping[int, float]
    num_kept: int
    threshold: float | None
    passed: bool


def rungs_passed(options: Pruner, mode: Literal["min", "max"], values: Values, number: int, epoch: int) -> list[Rung]:
    """The comparisons that `decide` makes of a trial after an epoch, the deciding one last; none for other pruners.

    Args:
        options, mode, values, number, epoch: as for `decide`; a patient pruner's inner one is asked.
    """
    halving = options.inner if isinstance(options, Patient) else options
    own = {step: value for step, value in values.get(number, {}).items() if step <= epoch}
    bracket = None
    if isinstance(halving, Hyperband):
        bracket = bracket_of(halving, number)
        hyperband, halving = halving, _halving_of(halving, bracket)
    if not isinstance(halving, SuccessiveHalving) or epoch not in own:
        return []
    previous = max((step for step in own if step < epoch), default=0)
    found = []
    for rung in _rungs(halving, epoch):
        if rung <= previous:
            continue
        rivals = {
            other: value
            for other, steps in values.items()
            if other != number
            and (bracket is None or bracket_of(hyperband, other) == bracket)
            and (value := steps[rung] if rung in steps else _first_after(rung, steps)) is not None
        }
        num_kept = max(1, (len(rivals) + 1) // halving.reduction_factor)
        case = Case(mode, values, (), number, epoch, own)
        num_better = sum(case.better(rival, own[epoch]) for rival in rivals.values())
        numbers = sorted((v for v in rivals.values() if not math.isnan(v)), reverse=mode == "max")
        threshold = numbers[num_kept - 1] if len(numbers) >= num_kept else None
        passed = num_better < num_kept and not math.isnan(own[epoch])
        found.append(Rung(rung, own[epoch], rivals, num_kept, threshold, passed))
        if not passed:
            break
    return found


@dataclass(frozen=True)
class Case:
    """What a pruner looks at.

    Attributes:
        mode, values, completed, number, epoch: see `decide`.
        own: the trial's values up to `epoch`.
    """

    mode: Literal["min", "max"]
    values: Values
    completed: Collection[int]
    number: int
    epoch: int
    own: Mapping[int, float]

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better; a NaN is worse than any number."""
        if math.isnan(one) or math.isnan(other):
            return not math.isnan(one) and math.isnan(other)
        return one > other if self.mode == "max" else one < other

    def best(self, values: Collection[float]) -> float:
        """The best of the values; NaN when there is no number among them."""
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return math.nan
        return max(numbers) if self.mode == "max" else min(numbers)

    def is_due(self, warmup_epochs: int, interval_epochs: int) -> bool:
        """Whether a decision falls on this epoch: the first one reported in each interval after the warm-up."""
        if self.epoch <= warmup_epochs:
            return False
        first = warmup_epochs + 1
        interval_start = first + (self.epoch - first) // interval_epochs * interval_epochs
        return not any(interval_start <= step < self.epoch for step in self.own)


def _never(options: Any, case: Case) -> str | None:
    return None


def _successive_halving(
    options: SuccessiveHalving, case: Case, is_rival: Callable[[int], bool] | None = None
) -> str | None:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934), stopping instead of pausing.

    A trial that reaches a rung goes on when it is among the best 1/reduction_factor of those that have
    reached it so far. While fewer than reduction_factor have, the best one goes on, as Optuna does.
    """
    previous = max((step for step in case.own if step < case.epoch), default=0)
    for rung in _rungs(options, case.epoch):
        if rung > previous:
            reason = _halve(options.reduction_factor, rung, case, is_rival)
            if reason:
                return reason
    return None


def _rungs(options: SuccessiveHalving, last_epoch: int) -> Iterator[int]:
    rung = options.min_epochs * options.reduction_factor**options.min_early_stopping_rate
    while rung <= last_epoch:
        yield rung
        rung *= options.reduction_factor


def _halve(reduction_factor: int, rung: int, case: Case, is_rival: Callable[[int], bool] | None) -> str | None:
    value = case.own[case.epoch]
    place = f"rung at epoch {rung}"
    if math.isnan(value):
        return f"{place}: the value is not a number"
    # The one loop over all trials that a report costs: kept lean, for sweeps of thousands.
    rivals = [
        rival
        for number, steps in case.values.items()
        if (rival := steps[rung] if rung in steps else _first_after(rung, steps)) is not None
        and number != case.number
        and (is_rival is None or is_rival(number))
    ]
    num_trials = len(rivals) + 1
    num_kept = max(1, num_trials // reduction_factor)
    # (A rival that is not a number compares as false, hence is not better.)
    better = [rival for rival in rivals if rival > value] if case.mode == "max" else [r for r in rivals if r < value]
    if len(better) < num_kept:
        return None
    needed = sorted(better, reverse=case.mode == "max")[num_kept - 1]
    share = {2: "half", 3: "third", 4: "quarter"}.get(reduction_factor, f"1/{reduction_factor}")
    among = (
        f"the best {share} of {num_trials} trials" if num_trials >= reduction_factor else f"the best of {num_trials}"
    )
    return f"{place}: {_show(value)} is not among {among} (needs {_show(needed)})"


def _first_after(rung: int, steps: Mapping[int, float]) -> float | None:
    """The value with which a trial reached a rung at whose epoch it reported nothing; None if it did not reach it."""
    if not steps or max(steps) < rung:
        return None
    return steps[min(step for step in steps if step > rung)]


def _hyperband(options: Hyperband, case: Case) -> str | None:
    """Hyperband (Li et al. 2018, jmlr.org/papers/v18/16-558) over asynchronous successive halving.

    A trial's number alone decides its bracket; trials compete within their bracket.
    """
    bracket = bracket_of(options, case.number)
    halving = _halving_of(options, bracket)
    reason = _successive_halving(halving, case, lambda number: bracket_of(options, number) == bracket)
    return f"bracket {bracket}, {reason}" if reason else None


def _halving_of(options: Hyperband, bracket: int) -> SuccessiveHalving:
    return SuccessiveHalving(
        kind="successive_halving",
        min_epochs=options.min_epochs,
        reduction_factor=options.reduction_factor,
        min_early_stopping_rate=bracket,
    )


def bracket_of(options: Hyperband, number: int) -> int:
    """The bracket of a trial: 0 halves from the first rung on, each further one skips a rung more.

    Brackets are filled in Hyperband's proportions (n = ⌈(s_max + 1) / (s + 1) · η^s⌉ trials in bracket s).
    """
    assert options.max_epochs is not None, "resolve the options first"
    return _bracket(options.min_epochs, options.max_epochs, options.reduction_factor, number)


@lru_cache(maxsize=100_000)
def _bracket(min_epochs: int, max_epochs: int, reduction_factor: int, number: int) -> int:
    weights = _bracket_weights(min_epochs, max_epochs, reduction_factor)
    position = unit_hash("hyperband", number) * sum(weights)
    for bracket, weight in enumerate(weights):
        position -= weight
        if position < 0:
            return bracket
    return len(weights) - 1


def _bracket_weights(min_epochs: int, max_epochs: int, reduction_factor: int) -> list[int]:
    largest = 0
    # In whole numbers: floor(log(243, 3)) is 4 in floating point.
    while min_epochs * reduction_factor ** (largest + 1) <= max_epochs:
        largest += 1
    return [math.ceil((largest + 1) * reduction_factor**s / (s + 1)) for s in range(largest, -1, -1)]


def _percentile(options: Percentile | Median, case: Case) -> str | None:
    """As Optuna's PercentilePruner: best so far against the completed trials' values at this epoch."""
    percentile = options.percentile if isinstance(options, Percentile) else 50.0
    if not case.completed or len(case.completed) < options.startup_trials:
        return None
    if not case.is_due(options.warmup_epochs, options.interval_epochs):
        return None
    best = case.best(case.own.values())
    if math.isnan(best):
        return f"epoch {case.epoch}: no value so far is a number"
    rivals = [case.values[other][case.epoch] for other in case.completed if case.epoch in case.values.get(other, {})]
    numbers = [rival for rival in rivals if not math.isnan(rival)]
    if len(rivals) < options.min_trials or not numbers:
        return None
    cut = float(np.percentile(numbers, 100 - percentile if case.mode == "max" else percentile))
    if not case.better(cut, best):
        return None
    if isinstance(options, Median):
        bar = f"the median {_show(cut)}"
    else:
        bar = f"the best {percentile:g} % (from {_show(cut)})"
    return f"epoch {case.epoch}: best so far {_show(best)} is worse than {bar} of {len(numbers)} completed trials"


def _threshold(options: Threshold, case: Case) -> str | None:
    if not case.is_due(options.warmup_epochs, options.interval_epochs):
        return None
    value = case.own[case.epoch]
    if math.isnan(value):
        return f"epoch {case.epoch}: the value is not a number"
    if options.lower is not None and value < options.lower:
        return f"epoch {case.epoch}: {_show(value)} is below the threshold {_show(options.lower)}"
    if options.upper is not None and value > options.upper:
        return f"epoch {case.epoch}: {_show(value)} is above the threshold {_show(options.upper)}"
    return None


def _patient(options: Patient, case: Case) -> str | None:
    """As Optuna's PatientPruner: the best of the last patience + 1 epochs is worse than the best before."""
    steps = sorted(case.own)
    if len(steps) <= options.patience + 1:
        return None
    split = len(steps) - options.patience - 1
    before = case.best([case.own[step] for step in steps[:split]])
    recent = case.best([case.own[step] for step in steps[split:]])
    margin = -options.min_delta if case.mode == "max" else options.min_delta
    if not case.better(before + margin, recent):
        return None
    reason = f"no gain since epoch {steps[split - 1]}: {_show(recent)} after {_show(before)}"
    if options.inner is None:
        return reason
    inner = PRUNERS[options.inner.kind](options.inner, case)
    return f"{reason}; {inner}" if inner else None


PRUNERS: dict[str, Callable[[Any, Case], str | None]] = {
    "none": _never,
    "successive_halving": _successive_halving,
    "hyperband": _hyperband,
    "percentile": _percentile,
    "median": _percentile,
    "threshold": _threshold,
    "patient": _patient,
}


def resolve(spec: SweepSpec, default_epochs: int | None = None) -> Pruner:
    """The sweep's pruner options with everything filled in that comes from elsewhere in the sweep.

    Args:
        spec: the sweep.
        default_epochs: of the trainable, for a sweep that says nothing of epochs.

    Raises:
        RequestError: hyperband does not know the most epochs, or they are below the first rung.
    """
    most_epochs = _most_epochs(spec, default_epochs)
    pruner = spec.pruner
    if isinstance(pruner, Patient) and isinstance(pruner.inner, Hyperband):
        return pruner.model_copy(update={"inner": _with_max_epochs(pruner.inner, most_epochs)})
    return _with_max_epochs(pruner, most_epochs) if isinstance(pruner, Hyperband) else pruner


def _with_max_epochs(options: Hyperband, most_epochs: int | None) -> Hyperband:
    max_epochs = options.max_epochs or most_epochs
    if max_epochs is None:
        raise RequestError("pruner.max_epochs: hyperband must know the most epochs", hint="set it, or fixed.epochs")
    if max_epochs < options.min_epochs:
        raise RequestError(f"pruner.min_epochs {options.min_epochs} is above the most epochs, {max_epochs}")
    return options.model_copy(update={"max_epochs": max_epochs})


def _most_epochs(spec: SweepSpec, default: int | None) -> int | None:
    candidates = corner_values(spec.space["epochs"]) if "epochs" in spec.space else [spec.fixed.get("epochs", default)]
    numbers = [value for value in candidates if isinstance(value, int) and not isinstance(value, bool)]
    return max(numbers, default=None)


def _show(value: float) -> str:
    return f"{value:.4g}"
