"""A sweep's trials as an Optuna study in memory, for the figures of hyperparameters."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweep_runner.results.leaderboard import Leaderboard, TrialRow

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from sweep_runner.spec.model import SweepSpec

RAN_TO_ITS_END = "ran_to_its_end"
"""Trial attribute: not stopped, paused or still running."""

_LOG_RATIO = 100  # a positive range this wide is drawn by its logarithm where the sweep file does not say


def study_of(board: Leaderboard, spec: SweepSpec | None) -> optuna.Study:
    """The ranked trials as a study; a pruned or running one stands with its best value so far.

    Args:
        board: the sweep's trials.
        spec: says which ranges are logarithmic; None: the values tell.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = sorted(board.ranked, key=lambda row: row.trial)
    distributions = {param: _distribution(param, rows, spec) for param in board.params}
    study = optuna.create_study(direction="maximize" if board.mode == "max" else "minimize", study_name="trials")
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    study.add_trials(
        [
            optuna.trial.FrozenTrial(
                number=number,
                trial_id=number,
                state=optuna.trial.TrialState.COMPLETE,
                value=row.value,
                datetime_start=_naive(row.row.get("started")) or now,
                datetime_complete=_naive(row.row.get("ended")) or now,
                params=params,
                distributions={param: distributions[param] for param in params},
                user_attrs={"trial": row.trial, RAN_TO_ITS_END: row.state == "COMPLETED"},
                system_attrs={},
                intermediate_values={},
            )
            for number, row in enumerate(rows)
            if (params := _params(row, distributions)) is not None
        ]
    )
    return study


def _params(row: TrialRow, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution

    return {
        name: _choice(value) if isinstance(distributions[name], CategoricalDistribution) else value
        for name, value in row.params.items()
    }


def _choice(value: Any) -> Any:
    """Choices that are numbers go with texts: Python takes 1, 1.0 and True for the same."""
    return str(value) if isinstance(value, bool) else value


def _distribution(param: str, rows: Sequence[TrialRow], spec: SweepSpec | None) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [row.params[param] for row in rows if param in row.params]
    asked = spec.space.get(param) if spec is not None else None
    numeric = bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    ranged = hasattr(asked, "low") or (asked is None and any(isinstance(value, float) for value in values))
    if not numeric or not ranged or min(values) == max(values):
        return CategoricalDistribution(sorted({_choice(v) for v in values}, key=lambda v: (str(type(v)), v)) or [""])
    low, high = min(values), max(values)
    logarithmic = bool(getattr(asked, "log", low > 0 and high / low > _LOG_RATIO)) and low > 0
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=logarithmic)
    return FloatDistribution(float(low), float(high), log=logarithmic)


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment is not None else None


def finite(values: Sequence[float | None]) -> list[float]:
    """The numbers among the values."""
    return [value for value in values if value is not None and math.isfinite(value)]
