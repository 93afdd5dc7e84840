"""Importance is told where the trials can tell it, and "not known" is said otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable

import optuna
import pytest

from sweep_runner.report.charts.params import importances
from sweep_runner.report.charts.plot import Shown
from sweep_runner.report.param_order import known_importances
from sweep_runner.report.trial_study import RAN_TO_ITS_END
from tests.support.drawn import labels


def study_of(number: int, completed: Callable[[float], bool] = lambda x: True) -> optuna.Study:
    """x decides the value, y and the kind do not, and the optimizer is always the same."""
    dice = random.Random(0)
    study = optuna.create_study(direction="maximize")
    number_of = optuna.distributions.FloatDistribution(0.0, 1.0)
    kind = optuna.distributions.CategoricalDistribution(("a", "b"))
    for _ in range(number):
        params = {"x": dice.random(), "y": dice.random(), "kind": dice.choice("ab"), "optimizer": "adam"}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={
                    "x": number_of,
                    "y": number_of,
                    "kind": kind,
                    "optimizer": optuna.distributions.CategoricalDistribution(("adam",)),
                },
                value=params["x"] + dice.gauss(0, 0.02),
                user_attrs={RAN_TO_ITS_END: completed(params["x"])},
            )
        )
    return study


def _shown(study: optuna.Study) -> Shown | str:
    return importances(study, known_importances(study))


def test_what_matters_is_told_with_an_interval_and_the_rest_is_not_known() -> None:
    found = {one.name: one for one in known_importances(study_of(60))}
    assert found["x"].known
    assert found["x"].low <= found["x"].share <= found["x"].high
    assert found["x"].share > 0.6
    assert not found["y"].known
    assert not found["kind"].known
    assert "optimizer" not in found  # it did not vary
    shown = _shown(study_of(60))
    assert not isinstance(shown, str)
    assert "x" in labels(shown)
    assert "y" not in labels(shown)
    assert "Not known" in shown.about
    assert "y" in shown.about


@pytest.mark.parametrize(("number", "completed"), [(5, 5), (20, 2)])
def test_too_few_trials_to_tell(number: int, completed: int) -> None:
    left = iter([True] * completed + [False] * number)
    why = _shown(study_of(number, lambda x: next(left)))
    assert isinstance(why, str)
    assert why.startswith(f"Not known: {number} trials have a value, and {completed} of them completed.")


def test_the_best_must_have_run_to_their_end() -> None:
    why = _shown(study_of(40, lambda x: x < 0.7))
    assert isinstance(why, str)
    assert "stopped or paused early" in why


def test_trials_stopped_early_count_among_all() -> None:
    found = {one.name: one for one in known_importances(study_of(60, lambda x: x > 0.6))}
    assert found["x"].known


def test_chance_alone_is_not_called_importance() -> None:
    study = study_of(40)
    dice = random.Random(1)
    values = [dice.random() for _ in study.trials]
    shuffled = optuna.create_study(direction="maximize")
    for trial, value in zip(study.trials, values, strict=True):
        trial.value = value
        shuffled.add_trial(trial)
    found = known_importances(shuffled)
    assert isinstance(found, str) or sum(one.known for one in found) <= 1
