"""Which hyperparameters the figures show, and in which order: by importance where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep_runner.report import importance

if TYPE_CHECKING:
    import optuna

Found = list[importance.Importance] | str
"""Importances, of which one at least is known; or why none is."""


def known_importances(study: optuna.Study) -> Found:
    """The importances, of which one at least is known; or why none is."""
    found = importance.measure(study, _common(study))
    if isinstance(found, str) or any(one.known for one in found):
        return found
    number = len(study.get_trials(deepcopy=False))
    return f"Not known: in {number} trials no hyperparameter shows more than chance alone could."


def by_importance(study: optuna.Study, found: Found) -> list[str]:
    """The parameters that all trials have: the most important first, then in the sweep file's order those of which it
    is not known.

    Args:
        study: the trials.
        found: of `known_importances`.
    """
    known = _known(found)
    return [*known, *(name for name in _common(study) if name not in known)]


def order_in_words(found: Found, names: Sequence[str]) -> str:
    """In which order some hyperparameters stand."""
    known = [name for name in _known(found) if name in names]
    if not known:
        return "Hyperparameters are in the order of the sweep file: which matter most is not known."
    rest = ", then the others in the order of the sweep file" if len(known) < len(names) else ""
    return f"The most important come first ({', '.join(known)}){rest}."


def number_pair(study: optuna.Study, found: Found) -> list[str]:
    """The first two parameters, by importance, that have a range of numbers; empty: there are no two."""
    from optuna.distributions import CategoricalDistribution

    trials = study.get_trials(deepcopy=False)
    if len(trials) < 4:
        return []
    spaces = trials[0].distributions
    ranged = [name for name in by_importance(study, found) if not isinstance(spaces[name], CategoricalDistribution)]
    return ranged[:2] if len(ranged) > 1 else []


def _common(study: optuna.Study) -> list[str]:
    """The parameters that all trials have, and that differ."""
    trials = study.get_trials(deepcopy=False)
    names = [name for name in (trials[0].params if trials else ()) if all(name in trial.params for trial in trials)]
    return [name for name in names if len({trial.params[name] for trial in trials}) > 1]


def _known(found: Found) -> list[str]:
    return [] if isinstance(found, str) else [one.name for one in found if one.known]
