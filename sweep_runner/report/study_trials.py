"""The trials of a study that figures show: those with a value."""

from __future__ import annotations

import math

import optuna
from optuna.trial import FrozenTrial


def valued_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials with a finite value."""
    return [
        trial for trial in study.get_trials(deepcopy=False) if trial.value is not None and math.isfinite(trial.value)
    ]


def value_of(trial: FrozenTrial) -> float:
    """The value of one of `valued_trials`."""
    assert trial.value is not None
    return trial.value


def number_of(trial: FrozenTrial) -> int:
    """The trial's number in the sweep, by which people know it."""
    return int(trial.user_attrs.get("trial", trial.number))
