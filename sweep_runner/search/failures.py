"""Lets a sampler learn from trials that failed, which Optuna's samplers overlook."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

RETRY_OF = "retry_of"
"""Trial attribute: the number of the Optuna trial that this one tries again."""


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


class AvoidsFailures(WrappedSampler):
    """Shows failed trials to a sampler as infeasible ones.

    tpe models where trials were, good and bad. A region in which every trial fails (a learning rate that
    diverges) is empty to it, hence interesting: in a space with one choice of three that always fails, 19 of
    20 proposals were that choice; shown as infeasible it is 3 of 20.
    """

    def __init__(self, inner: BaseSampler) -> None:
        super().__init__(inner)
        self._shown: dict[int, FrozenTrial] = {}

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

    def _view(self, study: Study) -> Study:
        return cast(Study, _View(study, self._shown))


class _View:
    """An Optuna study in which failed trials are infeasible, and trials that were tried again are gone.

    Samplers get a study's trials through `_get_trials`; Optuna's own hyperband replaces it just so.
    """

    def __init__(self, study: Study, shown: dict[int, FrozenTrial]) -> None:
        self._study = study
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = self._study._get_trials(deepcopy=False, use_cache=use_cache)
        tried_again = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}
        seen = [self._as_infeasible(trial) for trial in trials if trial.number not in tried_again]
        chosen = [trial for trial in seen if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _as_infeasible(self, trial: FrozenTrial) -> FrozenTrial:
        if trial.state != TrialState.FAIL:
            return trial
        if trial.number not in self._shown:
            shown = copy.copy(trial)
            shown.state = TrialState.PRUNED
            shown.system_attrs = {**trial.system_attrs, "constraints:ran_to_its_end": 1.0}
            self._shown[trial.number] = shown
        return self._shown[trial.number]
