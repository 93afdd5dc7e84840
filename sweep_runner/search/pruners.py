"""Pruners: pure functions from the recorded values to a reason to stop, or None.

A decision depends on nothing but what was recorded, so asking again after a crash gives the same answer, and
anybody can replay the decisions of a finished sweep from its rows. Optuna's own successive halving and
hyperband write into the study while they decide: killed at the wrong moment they decide otherwise the second
time. Values that are NaN count as worse than any number.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sweep_runner.errors import RequestError
from sweep_runner.search.repeatable import unit_hash
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import corner_values
from sweep_runner.spec.strategies import (
    PRUNERS,
    Hyperband,
    Median,
    Patient,
    Percentile,
    Promotion,
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
    case = _case(mode, values, number, epoch, completed)
    return None if case is None else _function(options)(options, case)


def _function(options: Pruner) -> Callable[[Any, Case], str | None]:
    return _named(PRUNERS[type(options)])


@lru_cache
def _named(name: str) -> Callable[[Any, Case], str | None]:
    found: Callable[[Any, Case], str | None] = pkgutil.resolve_name(name)
    return found


@dataclass(frozen=True)
class Rung:
    """One comparison of a trial with its rivals, as successive halving makes it.

    Attributes:
        epoch: of the rung.
        mode: which way is better.
        value: the trial's.
        rivals: trial → value: those that had reached the rung by then.
        num_kept: how many of all of them go on.
        passed: whether the trial did.
        again: the trial had reached the rung before, and is compared with those that came since, too.
    """

    epoch: int
    mode: Literal["min", "max"]
    value: float
    rivals: Mapping[int, float]
    num_kept: int
    passed: bool
    again: bool = False

    @property
    def place(self) -> int:
        """From 1: behind as many rivals as are better."""
        better = (value > self.value if self.mode == "max" else value < self.value for value in self.rivals.values())
        return 1 + sum(better)

    @property
    def threshold(self) -> float | None:
        """The worst value of a rival that goes on in the trial's place; None when there are too few rivals for one."""
        return nth_best(self.rivals.values(), self.num_kept, self.mode)


def nth_best(values: Iterable[float], position: int, mode: Literal["min", "max"]) -> float | None:
    """The value at a position (from 1), best first; None when there are not so many numbers among them."""
    numbers = sorted((one for one in values if not math.isnan(one)), reverse=mode == "max")
    return numbers[position - 1] if len(numbers) >= position else None


def rungs_passed(options: Pruner, mode: Literal["min", "max"], values: Values, number: int, epoch: int) -> list[Rung]:
    """The comparisons that `decide` makes of a trial after an epoch, the deciding one last; none for other pruners.

    Args:
        options, mode, values, number, epoch: as for `decide`; a patient pruner's inner one is asked.
    """
    asked = options.inner if isinstance(options, Patient) else options
    case = _case(mode, values, number, epoch)
    if case is None:
        return []
    if isinstance(asked, Hyperband):
        return list(_comparisons(*_within_bracket(asked, number), case))
    return list(_comparisons(asked, None, case)) if isinstance(asked, SuccessiveHalving) else []


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


def _case(
    mode: Literal["min", "max"], values: Values, number: int, epoch: int, completed: Collection[int] = ()
) -> Case | None:
    """None when the trial has no value at the epoch."""
    own = {step: value for step, value in values.get(number, {}).items() if step <= epoch}
    return Case(mode, values, completed, number, epoch, own) if epoch in own else None


def never(options: Any, case: Case) -> str | None:
    return None


def successive_halving(options: SuccessiveHalving, case: Case) -> str | None:
    return _reason_to_stop(_comparisons(options, None, case), options.reduction_factor)


IsRival = Callable[[int], bool]


def _comparisons(options: SuccessiveHalving, is_rival: IsRival | None, case: Case) -> Iterator[Rung]:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934), stopping instead of pausing.

    A trial that reaches a rung goes on when it is among the best 1/reduction_factor of those that have
    reached it so far. While fewer than reduction_factor have, the best one goes on, as Optuna does. With `recheck` it
    is compared at all rungs so far, not against a new one alone: who passed a rung when few had reached it, and would
    not today, makes room, as it would where trials are paused at a rung. What follows the first rung that it does not
    pass is not looked at.
    """
    previous = 0 if options.recheck else max((step for step in case.own if step < case.epoch), default=0)
    for epoch in _rungs(options, case.epoch):
        if epoch > previous:
            rung = _compare(options.reduction_factor, epoch, case, is_rival)
            yield rung
            if not rung.passed:
                return


def _rungs(options: SuccessiveHalving, last_epoch: int) -> Iterator[int]:
    rung = options.min_epochs * options.reduction_factor**options.min_early_stopping_rate
    while rung <= last_epoch:
        yield rung
        rung *= options.reduction_factor


def _compare(reduction_factor: int, epoch: int, case: Case, is_rival: IsRival | None) -> Rung:
    reached = min(step for step in case.own if step >= epoch)
    value = case.own[reached]
    # The one loop over all trials, a rung each, that a report costs: kept lean, for sweeps of thousands.
    rivals = {
        number: rival
        for number, steps in case.values.items()
        if (rival := steps[epoch] if epoch in steps else _first_after(epoch, steps)) is not None
        and number != case.number
        and (is_rival is None or is_rival(number))
    }
    num_kept = max(1, (len(rivals) + 1) // reduction_factor)
    # (A rival that is not a number compares as false, hence is not better.)
    ahead = [one for one in rivals.values() if (one > value if case.mode == "max" else one < value)]
    passed = len(ahead) < num_kept and not math.isnan(value)
    return Rung(epoch, case.mode, value, rivals, num_kept, passed, again=reached < case.epoch)


def _reason_to_stop(comparisons: Iterable[Rung], reduction_factor: int) -> str | None:
    rung = next((one for one in comparisons if not one.passed), None)
    if rung is None:
        return None
    place = f"rung at epoch {rung.epoch}"
    if math.isnan(rung.value):
        return f"{place}: the value is not a number"
    assert rung.threshold is not None, "who does not pass has enough rivals ahead"
    num_trials = len(rung.rivals) + 1
    share = {2: "half", 3: "third", 4: "quarter"}.get(reduction_factor, f"1/{reduction_factor}")
    among = (
        f"the best {share} of {num_trials} trials" if num_trials >= reduction_factor else f"the best of {num_trials}"
    )
    verdict = "is no longer" if rung.again else "is not"
    return f"{place}: {_show(rung.value)} {verdict} among {among} (needs {_show(rung.threshold)})"


def _first_after(rung: int, steps: Mapping[int, float]) -> float | None:
    """The value with which a trial reached a rung at whose epoch it reported nothing; None if it did not reach it."""
    if not steps or max(steps) < rung:
        return None
    return steps[min(step for step in steps if step > rung)]


def hyperband(options: Hyperband, case: Case) -> str | None:
    """Hyperband (Li et al. 2018, jmlr.org/papers/v18/16-558) over asynchronous successive halving.

    A trial's number alone decides its bracket; trials compete within their bracket.
    """
    reason = _reason_to_stop(_comparisons(*_within_bracket(options, case.number), case), options.reduction_factor)
    return f"bracket {bracket_of(options, case.number)}, {reason}" if reason else None


def _within_bracket(options: Hyperband, number: int) -> tuple[SuccessiveHalving, IsRival]:
    """The halving of a trial's bracket, and which trials are in it."""
    bracket = bracket_of(options, number)
    halving = SuccessiveHalving(
        kind="successive_halving",
        min_epochs=options.min_epochs,
        reduction_factor=options.reduction_factor,
        min_early_stopping_rate=bracket,
        recheck=options.recheck,
    )
    return halving, lambda other: bracket_of(options, other) == bracket


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


def percentile(options: Percentile | Median, case: Case) -> str | None:
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


def threshold(options: Threshold, case: Case) -> str | None:
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


def patient(options: Patient, case: Case) -> str | None:
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
    reason = f"no improvement since epoch {steps[split - 1]}: {_show(recent)} after {_show(before)}"
    if options.inner is None:
        return reason
    inner = _function(options.inner)(options.inner, case)
    return f"{reason}; {inner}" if inner else None


def resolve(spec: SweepSpec, default_epochs: int | None = None) -> Pruner:
    """The sweep's pruner options with everything filled in that comes from elsewhere in the sweep.

    Args:
        spec: the sweep.
        default_epochs: of the trainable, for a sweep that says nothing of epochs.

    Raises:
        RequestError: hyperband or promotion does not know the most epochs, or they are below the first rung.
    """
    most_epochs = _most_epochs(spec, default_epochs)
    pruner = spec.pruner
    if isinstance(pruner, Patient) and isinstance(pruner.inner, Hyperband):
        return pruner.model_copy(update={"inner": _with_max_epochs(pruner.inner, most_epochs)})
    if isinstance(pruner, Promotion):
        return _with_first_rung(pruner, spec, most_epochs)
    return _with_max_epochs(pruner, most_epochs) if isinstance(pruner, Hyperband) else pruner


def _with_first_rung(options: Promotion, spec: SweepSpec, most_epochs: int | None) -> Promotion:
    filled = options.filled_in(spec.space, most_epochs)
    if filled.min_epochs is None:
        raise RequestError("pruner.min_epochs: promotion needs the first rung", hint="set it, or fixed.epochs")
    return filled


def _with_max_epochs(options: Hyperband, most_epochs: int | None) -> Hyperband:
    max_epochs = options.max_epochs or most_epochs
    if max_epochs is None:
        raise RequestError(
            "pruner.max_epochs: hyperband needs the maximum number of epochs", hint="set it, or fixed.epochs"
        )
    if max_epochs < options.min_epochs:
        raise RequestError(f"pruner.min_epochs {options.min_epochs} exceeds the maximum number of epochs, {max_epochs}")
    return options.model_copy(update={"max_epochs": max_epochs})


def _most_epochs(spec: SweepSpec, default: int | None) -> int | None:
    candidates = corner_values(spec.space["epochs"]) if "epochs" in spec.space else [spec.fixed.get("epochs", default)]
    numbers = [value for value in candidates if isinstance(value, int) and not isinstance(value, bool)]
    return max(numbers, default=None)


def _show(value: float) -> str:
    return f"{value:.4g}"
