"""A trial as the study shows it, and as it keeps it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sweep_runner.search.distributions import Params
from sweep_runner.spec.space import Scalar

EndState = Literal["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]
State = Literal["WAITING", "RUNNING", "PAUSED", "COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]


@dataclass(frozen=True)
class Proposal:
    """A trial to train.

    Attributes:
        number: of the trial in its sweep.
        name: the baseline's name, None for a proposed trial.
        params: what the search chose.
        duplicate_of: the lowest earlier number with the same params, whatever became of that trial.
        confirms: the trial that this one runs again with another seed.
    """

    number: int
    name: str | None
    params: Params
    duplicate_of: int | None = None
    confirms: int | None = None


@dataclass(frozen=True)
class TrialRecord:
    """What the study knows of a trial.

    Attributes:
        number, name, params, duplicate_of: see `Proposal`. A baseline that waits has the params of the file.
        state: FAILED also when a completed trial's value was no finite number.
        value: what was told for a completed trial, the last reported value for a pruned one.
        intermediate: the objective by epoch.
    """

    number: int
    name: str | None
    params: Mapping[str, Scalar]
    duplicate_of: int | None
    state: State
    value: float | None
    intermediate: Mapping[int, float]


@dataclass
class TrackedTrial:
    """A trial as it is now, so that no report has to look through the storage.

    Attributes:
        optuna_number, optuna_id: of the Optuna trial that stands for it, the last one if it was tried again.
        number, name, params, duplicate_of, state, value, intermediate: see `TrialRecord`.
        confirms: see `Proposal`.
    """

    number: int
    optuna_number: int
    optuna_id: int
    name: str | None
    params: Params
    state: State
    duplicate_of: int | None = None
    value: float | None = None
    intermediate: dict[int, float] = field(default_factory=dict)
    confirms: int | None = None

    def proposal(self) -> Proposal:
        return Proposal(self.number, self.name, dict(self.params), self.duplicate_of, self.confirms)

    def record(self) -> TrialRecord:
        return TrialRecord(
            self.number,
            self.name,
            dict(self.params),
            self.duplicate_of,
            self.state,
            self.value,
            dict(self.intermediate),
        )
