"""Which hyperparameters matter, as far as a sweep's trials can tell.

The measure is PED-ANOVA (Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces"): how the settings of the best quarter of the trials differ from those of all. Trials that were
stopped or paused early count among all. They have no final value, so it is told only while the best quarter ran to
their ends. Trials drawn anew give the interval; values dealt out anew among the settings give what chance would show.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep_runner.report.trial_study import RAN_TO_ITS_END

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, TrialState

FEWEST_TRIALS, FEWEST_COMPLETED = 12, 4
_BEST = 0.25
_DRAWS = 40


@dataclass(frozen=True)
class Importance:
    """Of one hyperparameter.

    Attributes:
        name: the hyperparameter's.
        share: of what tells good trials from others; all shares are 1 together.
        low, high: the middle 90 % of what trials drawn anew give.
        known: chance alone would hardly show as much.
    """

    name: str
    share: float
    low: float
    high: float
    known: bool


def measure(study: optuna.Study, names: Sequence[str]) -> list[Importance] | str:
    """The importances, highest first; or why they cannot be known.

    Args:
        study: of `study_of`.
        names: hyperparameters that all trials have, each with more than one value.
    """
    trials = study.get_trials(deepcopy=False)
    completed = sum(trial.user_attrs[RAN_TO_ITS_END] for trial in trials)
    if len(names) < 2:
        return "Fewer than two hyperparameters that all trials have differ between them: there is nothing to compare."
    if len(trials) < FEWEST_TRIALS or completed < FEWEST_COMPLETED:
        return (
            f"Not known: {len(trials)} trials have a value, and {completed} of them completed. "
            f"{FEWEST_TRIALS} and {FEWEST_COMPLETED} are the minimum for an estimate of importance."
        )
    best = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=study.direction.name == "MAXIMIZE")
    early = [trial for trial in best[: max(1, round(_BEST * len(best)))] if not trial.user_attrs[RAN_TO_ITS_END]]
    if early:
        return f"Not known: of the best quarter of the trials {len(early)} stopped or paused early."
    # One object of each range: Optuna compares those that are not the same trial by trial.
    ranges = {name: trials[0].distributions[name] for name in names}
    trials = [_changed(trial, distributions=ranges) for trial in trials]
    dice = np.random.default_rng(0)
    evaluator = _Evaluator(study.direction, names)
    shares = evaluator.shares(trials)
    drawn, by_chance = [], []
    for _ in range(_DRAWS):
        drawn.append(evaluator.shares([trials[row] for row in dice.integers(len(trials), size=len(trials))]))
        values = [trials[row].value for row in dice.permutation(len(trials))]
        by_chance.append(
            evaluator.shares([_changed(trial, value=value) for trial, value in zip(trials, values, strict=True)])
        )
    found = []
    for name in names:
        low, high = np.quantile([one[name] for one in drawn], (0.05, 0.95))
        usual, chance = statistics.median(one[name] for one in drawn), [one[name] for one in by_chance]
        known = usual > float(np.quantile(chance, 0.95)) and low > statistics.median(chance)
        found.append(Importance(name, shares[name], float(low), float(high), known))
    return sorted(found, key=lambda one: -one.share)


class _Evaluator:
    """PED-ANOVA of trials that are handed over.

    Optuna's takes a study, whose storage copies each trial deeply when it is added: most of a large report's time went
    there. This study stays empty and answers with the trials themselves.

    Args:
        direction: whether high values are good.
        names: of the hyperparameters.
    """

    def __init__(self, direction: optuna.study.StudyDirection, names: Sequence[str]) -> None:
        import optuna

        class Drawn(optuna.Study):
            trials_now: list[FrozenTrial]

            def get_trials(
                self, deepcopy: bool = True, states: Container[TrialState] | None = None
            ) -> list[FrozenTrial]:
                return self.trials_now

        storage = optuna.storages.InMemoryStorage()
        self._study = Drawn(optuna.create_study(storage=storage, direction=direction).study_name, storage)
        self._evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST, evaluate_on_local=False)
        self._names = list(names)

    def shares(self, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        """Of each hyperparameter; the same trial may be there several times."""
        import optuna

        self._study.trials_now = list(trials)
        try:
            found = optuna.importance.get_param_importances(self._study, evaluator=self._evaluator, params=self._names)
        except (ValueError, RuntimeError):
            found = {}  # all values are equal, or all trials drawn have the same setting
        return {name: found.get(name, 0.0) for name in self._names}


def _changed(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """The trial with other attributes."""
    other = copy.copy(trial)
    for name, value in changes.items():
        setattr(other, name, value)
    return other
