"""The sampler `guided` for a study: shows `guide` the trials, and takes the values of its proposal one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from sweep_runner.search.distributions import Params, decode_all, encode, same_configuration_key
from sweep_runner.search.failures import Shown
from sweep_runner.search.guide import Guide, Seen
from sweep_runner.search.repeatable import IndexOf, Repeatable
from sweep_runner.spec.space import Scalar, Space
from sweep_runner.spec.strategies import GuidedOptions

MOST_MODELLED = 120
"""On how many finished trials a proposal is modelled: keeps it below a tenth of a second in sweeps of thousands."""


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class Guided(Repeatable):
    """See the module. A parameter that the proposal lacks (a trial whose suggestion was cut off) is drawn by chance."""

    def __init__(
        self,
        seed: int,
        index_of: IndexOf,
        space: Space,
        fixed: Mapping[str, Any],
        recipes: Sequence[Params],
        options: GuidedOptions,
    ) -> None:
        """See `Guide`; `index_of` as for every repeatable sampler."""
        super().__init__(seed, index_of)
        self._space = space
        self._guide = Guide(space, fixed, recipes, seed, options)
        self._shown = Shown(MOST_MODELLED)
        self._keys: dict[int, str] = {}  # configurations of trials that do not change any more
        self._proposal: tuple[int, Params] | None = None

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        index = self._index_of(trial.number)
        if index < 0:
            return self._random_value(index, param_name, param_distribution)
        if self._proposal is None or self._proposal[0] != trial.number:
            self._proposal = (trial.number, self._propose(study, trial.number, index))
        proposed = self._proposal[1]
        if param_name not in proposed:
            return self._random_value(index, param_name, param_distribution)
        return encode(self._space[param_name], proposed[param_name])

    def value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        raise AssertionError("a proposal depends on the trials: see sample_independent")

    def _propose(self, study: Study, number: int, index: int) -> Params:
        trials = study._get_trials(deepcopy=False, use_cache=False)
        maximize = study.direction == StudyDirection.MAXIMIZE
        others = [trial for trial in self._shown.of(trials, maximize=maximize) if trial.number != number]
        sign = 1.0 if maximize else -1.0
        known = {self._key(trial) for trial in trials if trial.number != number}
        # The matrices are small: threads that wait for one another would cost ten times the arithmetic.
        with _blas().limit(limits=1, user_api="blas"):
            return self._guide.propose(index, [self._seen(trial, sign) for trial in others], known)

    def _key(self, trial: FrozenTrial) -> str:
        if trial.number not in self._keys:
            key = same_configuration_key(decode_all(self._space, trial.params))
            if not trial.state.is_finished():
                return key
            self._keys[trial.number] = key
        return self._keys[trial.number]

    def _seen(self, trial: FrozenTrial, sign: float) -> Seen:
        values = {step: sign * value for step, value in trial.intermediate_values.items() if math.isfinite(value)}
        if trial.state == TrialState.COMPLETE and trial.value is not None and not values:
            values = {1: sign * trial.value}  # ended without a report on the way
        failed = any(violation > 0 for violation in trial.constraints.values())
        diverged = bool(trial.intermediate_values) and not values
        return Seen(
            decode_all(self._space, trial.params),
            {} if failed else values,
            completed=trial.state == TrialState.COMPLETE and bool(values),
            failed=failed or diverged,
        )
