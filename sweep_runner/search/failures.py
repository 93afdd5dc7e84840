"""Lets a sampler learn from trials that failed, which Optuna's samplers overlook."""

from __future__ import annotations

import abc
import copy
import math
from bisect import insort
from collections.abc import Container, Sequence
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweep_runner.search.repeatable import unit_hash

RETRY_OF = "retry_of"
"""Trial attribute: the number of the Optuna trial that this one tries again."""
CONFIRMS = "confirms"
"""Trial attribute: the trial (by its number in the sweep) that this one runs again: no sampler sees it."""
PAUSED = "paused"
"""Trial attribute: true while a trial, which runs as far as Optuna knows, waits at a rung."""
GOALS = "goals"
"""Trial attribute: what a trial that stopped early has of each of several objectives."""
MOST_MODELLED = 300
"""On how many finished trials a proposal is modelled. tpe calls 25 of them good, however many there are."""

_NUM_BEST = 50


class WrappedSampler(BaseSampler):
    """Does what the inner sampler does."""

    def __init__(self, inner: BaseSampler) -> None:
        self._inner = inner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


class SeesOtherwise(WrappedSampler, abc.ABC):
    """Draws from another view of the study than the study's own."""

    @abc.abstractmethod
    def _view(self, study: Study) -> Study:
        """What the inner sampler is shown in place of the study."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._view(study), trial, param_name, param_distribution)


class AvoidsFailures(SeesOtherwise):
    """Shows failed trials to a sampler as infeasible ones, and of very many trials not all.

    tpe models where trials were, good and bad. A region in which every trial fails (a learning rate that
    diverges) is empty to it, hence interesting: in a space with one choice of three that always fails, 19 of
    20 proposals were that choice; shown as infeasible it is 3 of 20.
    """

    def __init__(self, inner: BaseSampler, most: int = MOST_MODELLED) -> None:
        super().__init__(inner)
        self._shown = Shown(most)

    def _view(self, study: Study) -> Study:
        return cast(Study, _View(study, self._shown))


class CountsStopped(SeesOtherwise):
    """Shows pruned and paused trials to a sampler that counts completed ones only, with the last value that they have.

    gp, cma-es and nsga-ii of Optuna look at completed trials. Beside a pruner that stops nine of ten they would draw by
    chance for the whole sweep. What was stopped early was no good, and has a value that says so. What was not trained
    because it is over a limit (or lacks memory) has the worst value so far, and for a sampler that knows constraints
    (`constrained`), how far over it is.
    """

    def __init__(self, inner: BaseSampler, *, constrained: bool = False) -> None:
        super().__init__(inner)
        self._constrained = constrained

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(self._view(study), trial)

    def _view(self, study: Study) -> Study:
        return cast(Study, _AllCompleted(study, self._constrained))


class SeveralGoals(CountsStopped):
    """Shows tpe the trials of a study with several objectives: those that failed or are over a limit as infeasible.

    tpe orders pruned trials by the one objective that it takes a study to have: these are shown as completed.
    """

    def _view(self, study: Study) -> Study:
        return cast(Study, _AllCompleted(study, constrained=True, failed_too=True, most=MOST_MODELLED))


class _AllCompleted:
    """An Optuna study in which what was pruned or is paused has run to its end.

    Args:
        study: as it is.
        constrained: whether infeasible trials keep their violations.
        failed_too: failed trials, and those that lack a value, are shown as infeasible ones.
        most: of so many finished trials an even selection is shown; None: all.
    """

    def __init__(self, study: Study, constrained: bool, failed_too: bool = False, most: int | None = None) -> None:
        self._study = study
        self._constrained = constrained
        self._failed_too = failed_too
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        every = self._study._get_trials(deepcopy=False, use_cache=use_cache)
        recorded = [trial for trial in every if CONFIRMS not in trial.user_attrs]
        several = len(self._study.directions) > 1
        trials = [_as_completed(trial, several) for trial in self._selected(recorded)]
        worst = _worst(trials, self._study.directions)
        trials = [self._infeasible(trial, worst) for trial in trials]
        chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _selected(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        if self._failed_too:  # a failed trial that was tried again: the new one stands for it
            retried = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}
            trials = [trial for trial in trials if trial.number not in retried]
        finished = [trial.number for trial in trials if trial.state.is_finished()]
        if self._most is None or len(finished) <= self._most:
            return trials
        kept = set(sorted(finished, key=lambda number: unit_hash("shown", number))[: self._most])
        return [trial for trial in trials if not trial.state.is_finished() or trial.number in kept]

    def _infeasible(self, trial: FrozenTrial, worst: list[float] | None) -> FrozenTrial:
        if trial.state not in (TrialState.PRUNED, TrialState.FAIL):
            return trial
        violated = any(violation > 0 for violation in trial.constraints.values())
        if not violated and not self._failed_too:
            return trial
        shown = copy.copy(trial)
        if not violated:
            shown.system_attrs = {**trial.system_attrs, "constraints:ran_to_its_end": 1.0}
        if self._failed_too:
            shown.state = TrialState.PRUNED
        elif worst is not None:
            shown.state, shown.values = TrialState.COMPLETE, worst
            if not self._constrained:
                kept = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")}
                shown.system_attrs = kept
        return shown


def _worst(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[float] | None:
    """The worst value so far of each objective; None while there is none."""
    values = [trial.values for trial in trials if trial.state == TrialState.COMPLETE and trial.values]
    if not values:
        return None
    return [
        min(column) if direction == StudyDirection.MAXIMIZE else max(column)
        for column, direction in zip(zip(*values, strict=True), directions, strict=True)
    ]


def _as_completed(trial: FrozenTrial, several: bool) -> FrozenTrial:
    is_paused = trial.state == TrialState.RUNNING and trial.user_attrs.get(PAUSED)
    if not is_paused and trial.state != TrialState.PRUNED:
        return trial
    if any(violation > 0 for violation in trial.constraints.values()):
        return trial
    last = trial.last_step
    values: Sequence[float] = trial.user_attrs.get(GOALS, ())
    if not several and last is not None:
        values = [trial.intermediate_values[last]]
    if not values or not all(math.isfinite(value) for value in values):
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.COMPLETE
    shown.values = list(values)
    return shown


class _View:
    """An Optuna study as `Shown` has it.

    Samplers get a study's trials through `_get_trials`; Optuna's own hyperband replaces it just so.
    """

    def __init__(self, study: Study, shown: Shown) -> None:
        self._study = study
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = self._study._get_trials(deepcopy=False, use_cache=use_cache)
        seen = self._shown.of(trials, maximize=self._study.direction == StudyDirection.MAXIMIZE)
        chosen = [trial for trial in seen if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen


class Shown:
    """Which trials a sampler sees, and as what. Depends on nothing but the trials, also after a restart.

    Failed trials are infeasible, paused ones are pruned with the values that they have (as running ones they would
    count as bad), and trials that were tried again are gone, as are repetitions of others. Of very many, the best are
    shown and an even selection of the others (those whose number has the lowest hashes): what a proposal costs grows
    with the trials that it is modelled on. All that is kept here is to not look at a finished trial twice.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._finished: dict[int, FrozenTrial] = {}  # by number, as shown
        self._best: list[tuple[float, float, float, int]] = []  # see `_rank`; ascending
        self._by_chance: list[tuple[float, int]] = []  # hash and number, ascending
        self._unfinished: list[int] = []
        self._num_seen = 0

    def of(self, trials: Sequence[FrozenTrial], *, maximize: bool) -> list[FrozenTrial]:
        """What is shown of all trials of a study (in their order), by number.

        Args:
            trials: those of the call before, as they are now, and perhaps more.
            maximize: which way is better.
        """
        news = [*self._unfinished, *range(self._num_seen, len(trials))]
        self._unfinished = []
        for number in news:
            trial = trials[number]
            if CONFIRMS in trial.user_attrs:
                continue
            if number >= self._num_seen and RETRY_OF in trial.user_attrs:
                self._forget(trial.user_attrs[RETRY_OF])
            if trial.state.is_finished():
                self._finish(trial, maximize)
            else:
                self._unfinished.append(number)
        self._num_seen = len(trials)
        if len(self._finished) <= self._most:
            numbers = set(self._finished)
        else:
            numbers = {number for _, number in self._by_chance[: self._most - _NUM_BEST]}
            numbers |= {number for *_, number in self._best[:_NUM_BEST]}
        return [
            self._finished[number] if number in self._finished else _unfinished(trials[number])
            for number in sorted(numbers.union(self._unfinished))
        ]

    def _finish(self, trial: FrozenTrial, maximize: bool) -> None:
        if trial.state == TrialState.FAIL:
            shown = copy.copy(trial)
            shown.state = TrialState.PRUNED
            shown.system_attrs = {**trial.system_attrs, "constraints:ran_to_its_end": 1.0}
        else:
            shown = trial
        self._finished[trial.number] = shown
        insort(self._by_chance, (unit_hash("shown", trial.number), trial.number))
        if not any(violation > 0 for violation in shown.constraints.values()):
            insort(self._best, _rank(shown, maximize))

    def _forget(self, number: int) -> None:
        """A failed trial that was tried again: the new one stands for it."""
        del self._finished[number]
        self._by_chance.remove((unit_hash("shown", number), number))


def _unfinished(trial: FrozenTrial) -> FrozenTrial:
    if not trial.user_attrs.get(PAUSED):
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.PRUNED
    return shown


def _rank(trial: FrozenTrial, maximize: bool) -> tuple[float, float, float, int]:
    """What sorts trials as tpe does: completed ones by value, then pruned ones by how far they came."""
    sign = -1.0 if maximize else 1.0
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return (0, sign * trial.value, 0.0, trial.number)
    last = trial.last_step
    if last is None:
        return (2, 0.0, 0.0, trial.number)
    value = trial.intermediate_values[last]
    return (1, -last, math.inf if math.isnan(value) else sign * value, trial.number)
