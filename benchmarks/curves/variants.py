"""Ways of searching that were tried and are not the default, so that their figures can be repeated: see docs/search.md.

`python -m benchmarks.curves --engines "guided + promotion" VARIANT ... --sets SET ... --seeds 0 40`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.curves.engines import REDUCTION, GuidedPromotion
from benchmarks.curves.replay import After, Engine, Job
from benchmarks.curves.sources import Curves
from sweep_runner.search.guide import Seen
from sweep_runner.spec.strategies import GuidedOptions

_BUDGET = 20
"""Trainings that a search with a known budget has."""


class PredictedPromotion(GuidedPromotion):
    """The best third of each network by the predicted end, own value at the rung included, continue."""

    _known = (0, 0, 0)
    _predicted: Mapping[int, float] | None = None

    def _passes(self, trial: int) -> bool:
        rivals = _reached(self, trial, self._rung)
        predicted = self._ends()
        if predicted is None or len(rivals) < REDUCTION:
            return super()._passes(trial)
        ahead = sum(predicted[other] > predicted[trial] for other in rivals)
        return ahead < max(1, len(rivals) // REDUCTION)

    def _ends(self) -> Mapping[int, float] | None:
        """Each trial's predicted end; predicted anew when a trial is new, has reached the rung, or its end."""
        known = (
            len(self._params),
            sum(self._rung in values for values in self._values.values()),
            sum(self._epochs in values for values in self._values.values()),
        )
        if known != self._known:
            self._known = known
            trials = {number: values for number, values in self._values.items() if values}
            seen = [Seen(self._params[number], values, self._epochs in values) for number, values in trials.items()]
            surrogate = self._guide._surrogate(seen)
            if surrogate is None:
                self._predicted = None
            else:
                mean, _ = surrogate.predict(self._guide._rows([trial.params for trial in seen]))
                self._predicted = dict(zip(trials, mean.tolist(), strict=True))
        return self._predicted


class AdaptiveRung(GuidedPromotion):
    """The worse half of a network waits at a ninth already, where values there are found to order its trials well."""

    def __init__(self, curves: Curves, seed: int) -> None:
        super().__init__(curves, seed)
        self._early = math.ceil(curves.epochs / REDUCTION**2)
        self._waiting: set[int] = set()

    def next(self) -> Job:
        passed = [trial for trial in self._waiting if self._passes_early(trial)]
        if passed and not any(self._passes(trial) for trial in self._paused):
            trial = max(passed, key=lambda one: self._values[one][self._early])
            self._waiting.remove(trial)
            return Job(trial, self._params[trial])
        return super().next()

    def report(self, trial: int, epoch: int, value: float) -> After:
        after = super().report(trial, epoch, value)
        if epoch != self._early or epoch == self._rung or self._passes_early(trial):
            return after
        self._waiting.add(trial)
        return "pause"

    def _passes_early(self, trial: int) -> bool:
        come_far = _reached(self, trial, self._rung)
        early = _reached(self, trial, self._early)
        if not self._trusts([come_far[one] for one in come_far], [early[one] for one in come_far]):
            return True
        return sum(value > early[trial] for value in early.values()) < max(1, len(early) // 2)

    def _trusts(self, at_rung: list[float], early: list[float]) -> bool:
        """Five trials or more, whose ranks at a ninth and at the rung correlate by 0.8 or more."""
        if len(at_rung) < 5:
            return False
        ranks = np.array([np.argsort(np.argsort(values)) for values in (at_rung, early)], dtype=np.float64)
        return bool(np.atleast_2d(np.corrcoef(ranks))[0, 1] >= 0.8)


class CarefulRung(AdaptiveRung):
    """The same, where none of the best third at the rung has been among the worse half at a ninth."""

    def _trusts(self, at_rung: list[float], early: list[float]) -> bool:
        if len(at_rung) < 4:
            return False
        best = sorted(range(len(at_rung)), key=lambda one: -at_rung[one])[: max(1, len(at_rung) // REDUCTION)]
        return all(sum(value > early[one] for value in early) < len(early) / 2 for one in best)


class KnownBudget(GuidedPromotion):
    """The last fifth of a known budget goes to paused trials only, those nearest to continuing first."""

    _spent = 0

    def report(self, trial: int, epoch: int, value: float) -> After:
        self._spent += 1
        return super().report(trial, epoch, value)

    def end(self, trial: int, value: float) -> None:
        self._spent += 1
        super().end(trial, value)

    def next(self) -> Job:
        if self._spent < 0.8 * _BUDGET * self._epochs or not self._paused:
            return super().next()

        def place(trial: int) -> float:
            values = _reached(self, trial, self._rung)
            ahead = sum(value > values[trial] for value in values.values())
            return (ahead + 1) / max(1, len(values) // REDUCTION)

        trial = min(self._paused, key=lambda one: (place(one), one))
        self._paused.remove(trial)
        return Job(trial, self._params[trial])


class BetterOfTwo(GuidedPromotion):
    """No trial continues while it is the only one of its network at the rung."""

    def __init__(self, curves: Curves, seed: int) -> None:
        super().__init__(curves, seed, recipes=[])

    def _passes(self, trial: int) -> bool:
        return len(_reached(self, trial, self._rung)) > 1 and super()._passes(trial)


class MoreUniform(GuidedPromotion):
    """Half of the candidates come from the whole space; one proposal in ten is uniform, as ever."""

    def __init__(self, curves: Curves, seed: int) -> None:
        super().__init__(curves, seed, recipes=[])
        self._guide._candidates._uniform_share = 0.5


def _reached(search: GuidedPromotion, trial: int, epoch: int) -> Mapping[int, float]:
    """The values at an epoch of those of a trial's network that have reached it."""
    network = search._params[trial].get("model")
    return {
        other: search._values[other][epoch]
        for other, params in enumerate(search._params)
        if params.get("model") == network and epoch in search._values[other]
    }


VARIANTS: Mapping[str, Callable[[Curves, int], Engine]] = {
    "promotion by the predicted end": PredictedPromotion,
    "adaptive rung, by rank correlation": AdaptiveRung,
    "adaptive rung, careful": CarefulRung,
    "known budget of 20": KnownBudget,
    "192 candidates": lambda curves, seed: GuidedPromotion(curves, seed, options=GuidedOptions(candidates=192)),
    "no usual values, better of two": BetterOfTwo,
    "no usual values, half of the candidates uniform": MoreUniform,
    "no usual values, half of the proposals uniform": lambda curves, seed: GuidedPromotion(
        curves, seed, recipes=[], options=GuidedOptions(uniform=0.5)
    ),
}
