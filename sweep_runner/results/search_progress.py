"""How a search as a whole goes, from its log: what the rules that end it look at, and what was confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from sweep_runner.results.events import Confirmed, Event, SearchStopped, SearchWentOn


class Objective(Protocol):
    """Which way is better."""

    @property
    def mode(self) -> Literal["min", "max"]: ...
    def better(self, one: float, other: float) -> bool: ...


@dataclass(slots=True)
class SearchProgress:
    """See the module. Repetitions of trials (`search.confirm`) are no part of the search, and change nothing here.

    Attributes:
        stopped: what has ended the search; None while nothing has.
        best_value: of any epoch of any trial.
        best_trial: whose it is.
        best_before: likewise, as it was when the search was last extended.
        spent_before_s: of the sweep's time, as it was when the search was last extended.
        without_gain: the trials that have ended or paused since `best_value` was last improved, or since the search
            was last extended; not the one that improved it.
        confirmed: the trials that count by the mean of their runs.
        confirmation: how the last confirmation ended; None while it was not made, or the search has gone on since.
        end_s: how long evaluation and export took when the sweep last ended; None: not known.
    """

    stopped: SearchStopped | None = None
    best_value: float | None = None
    best_trial: int | None = None
    best_before: float | None = None
    spent_before_s: float = 0.0
    without_gain: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)
    confirmation: Confirmed | None = None
    end_s: float | None = None

    def reported(self, trial: int, value: float, objective: Objective) -> None:
        """An epoch of a trial brought this value."""
        if self.best_value is None or objective.better(value, self.best_value):
            self.best_value, self.best_trial = value, trial
            self.without_gain.clear()

    def tried(self, trial: int) -> None:
        """A trial has ended, or waits at a rung."""
        if trial != self.best_trial:
            self.without_gain.add(trial)

    def take(self, event: Event, spent_s: float) -> None:
        """Takes an event of the search as a whole in; others change nothing.

        Args:
            event: the event.
            spent_s: the sweep's time so far.
        """
        if isinstance(event, SearchStopped):
            self.stopped = event
        elif isinstance(event, SearchWentOn):
            self.stopped = self.confirmation = None
            if event.anew:
                self.spent_before_s = spent_s
                self.best_before = self.best_value
                self.without_gain.clear()
        elif isinstance(event, Confirmed):
            self.confirmation = event
            self.confirmed.update(event.trials)
