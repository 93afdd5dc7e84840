"""Which hyperparameters matter, as far as a sweep's trials can tell.

The measure is PED-ANOVA (Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces"): how the settings of the best quarter of the trials differ from those of all. Trials that were
stopped or paused early count among all. They have no final value, so it is told only while the best quarter ran to
their ends. Trials drawn anew give the interval; values dealt out anew among the settings give what chance would show.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep_runner.report.trial_study import RAN_TO_ITS_END

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

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
    dice = np.random.default_rng(0)
    shares = _shares(study, trials, names)
    drawn, by_chance = [], []
    for _ in range(_DRAWS):
        drawn.append(_shares(study, [trials[row] for row in dice.integers(len(trials), size=len(trials))], names))
        values = [trials[row].value for row in dice.permutation(len(trials))]
        by_chance.append(_shares(study, trials, names, values))
    found = []
    for name in names:
        low, high = np.quantile([one[name] for one in drawn], (0.05, 0.95))
        usual, chance = statistics.median(one[name] for one in drawn), [one[name] for one in by_chance]
        known = usual > float(np.quantile(chance, 0.95)) and low > statistics.median(chance)
        found.append(Importance(name, shares[name], float(low), float(high), known))
    return sorted(found, key=lambda one: -one.share)


def _shares(
    study: optuna.Study,
    trials: Sequence[FrozenTrial],
    names: Sequence[str],
    values: Sequence[float | None] | None = None,
) -> dict[str, float]:
    import optuna

    fresh = optuna.create_study(direction=study.direction)
    fresh.add_trials(
        [
            optuna.trial.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                value=trial.value if values is None else values[row],
            )
            for row, trial in enumerate(trials)
        ]
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_BEST, evaluate_on_local=False)
    try:
        found = optuna.importance.get_param_importances(fresh, evaluator=evaluator, params=list(names))
    except (ValueError, RuntimeError):
        found = {}  # all values are equal, or all trials drawn have the same setting
    return {name: found.get(name, 0.0) for name in names}
