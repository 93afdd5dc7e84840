"""A study's trials in memory: by the sweep's numbers, with what a pruner compares of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from sweep_runner.search import pruners
from sweep_runner.search.distributions import Params, same_configuration_key
from sweep_runner.search.promotion import Competition, Group, group_of
from sweep_runner.search.trial import TrackedTrial
from sweep_runner.spec.space import Scalar
from sweep_runner.spec.strategies import Promotion, Pruner


class Roster:
    """See the module. Writes nothing: what it is told is in the journal, or about to be.

    Args:
        pruner: with its defaults filled in.
        mode: of the objective.
        fixed: what all trials share.

    Attributes:
        trials: by number.
        paused: the numbers of those that are.
        waiting: baselines that were not asked for yet.
        num_repetitions: trials that run an earlier one again; they are no rivals of others.
    """

    def __init__(self, pruner: Pruner, mode: Literal["min", "max"], fixed: Mapping[str, Scalar]) -> None:
        self.trials: list[TrackedTrial] = []
        self.paused: set[int] = set()
        self.waiting: set[int] = set()
        self.num_repetitions = 0
        self._pruner = pruner
        self._mode = mode
        self._fixed = fixed
        self._values: dict[int, dict[int, float]] = {}  # shares the trials' own dicts
        self._completed: set[int] = set()
        self._groups: dict[int, Group] = {}  # by number; empty without promotion
        self._competition = (
            Competition(pruner, mode, self._values, self._groups) if isinstance(pruner, Promotion) else None
        )
        self._first_with: dict[str, int] = {}  # configuration → the first trial that has it

    def add(self, trial: TrackedTrial) -> None:
        """A trial that is not in it yet, under the next number."""
        assert trial.number == len(self.trials)
        self.trials.append(trial)
        if trial.confirms is not None:
            self.num_repetitions += 1
            return  # no rival of others
        self._values[trial.number] = trial.intermediate
        if trial.state == "WAITING":
            self.waiting.add(trial.number)

    def run(self, trial: TrackedTrial, params: Params) -> None:
        """A trial has its params and runs."""
        trial.params = params
        trial.state = "RUNNING"
        self.waiting.discard(trial.number)
        if trial.confirms is not None:
            return
        first = self._first_with.setdefault(same_configuration_key(params), trial.number)
        trial.duplicate_of = first if first < trial.number else None
        if isinstance(self._pruner, Promotion):
            self._groups[trial.number] = group_of(self._pruner, {**self._fixed, **params})

    def end(self, trial: TrackedTrial, frozen: FrozenTrial) -> None:
        """A trial has ended, as Optuna has it."""
        self.paused.discard(trial.number)
        if frozen.state == TrialState.COMPLETE:
            trial.state = "COMPLETED"
            if trial.confirms is None:
                self._completed.add(trial.number)
        elif frozen.state == TrialState.FAIL:
            trial.state = "FAILED"
        elif any(violation > 0 for violation in frozen.constraints.values()):
            trial.state = "INFEASIBLE"
        else:
            trial.state = "PRUNED"
        trial.value = frozen.values[0] if frozen.values else None
        # Optuna has the same values once more: one copy is enough for thousands of trials.
        trial.intermediate = frozen.intermediate_values
        if trial.confirms is None:
            self._values[trial.number] = trial.intermediate

    def pause(self, trial: TrackedTrial, paused: bool) -> None:
        """A trial waits at a rung, or runs again."""
        trial.state = "PAUSED" if paused else "RUNNING"
        (self.paused.add if paused else self.paused.discard)(trial.number)

    def should_prune(self, number: int, epoch: int) -> str | None:
        """Why a trial is to stop after the epoch that it has just reported; None to go on.

        Writes nothing. Do not ask at a trial's last epoch.
        """
        return pruners.decide(self._pruner, self._mode, self._values, number, epoch, self._completed)

    def should_pause(self, number: int, epoch: int) -> str | None:
        """Why a trial is to pause after the epoch that it has just reported; None to go on.

        Writes nothing. Do not ask at a trial's last epoch.
        """
        return None if self._competition is None else self._competition.pauses(number, epoch)

    def next_promoted(self) -> int | None:
        """The paused trial that may go on next. Without promotion nothing holds back those that are paused."""
        if not self.paused:
            return None
        return min(self.paused) if self._competition is None else self._competition.promoted(self.paused)

    def surplus(self, most: int) -> list[int]:
        """The paused trials that are to be given up so that not more than `most` wait, numbers ascending."""
        if len(self.paused) <= most or self._competition is None:
            return []
        return self._competition.given_up(self.paused, most)
