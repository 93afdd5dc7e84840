"""A trial that a worker has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweep_runner.results.state import finite
from sweep_runner.search.trial import Proposal


@dataclass
class LiveTrial:
    """A trial that a worker has.

    Attributes:
        proposal: what is being tried.
        attempt: of which hand-out reports are accepted.
        started: wall-clock time of the hand-out.
        began: when it was handed out, on the monotonic clock.
        last_sign: when a report came last (or the hand-out), on the monotonic clock.
        epoch_s: how long the last report was in coming; of the first one, how long its epoch took, where it says so.
        epoch: the last reported epoch.
        metrics: of that epoch.
        overdue: why its worker was ended, when it took too long.
    """

    proposal: Proposal
    attempt: int
    started: float
    began: float
    last_sign: float
    epoch: int = 0
    metrics: dict[str, float] | None = None
    epoch_s: float = 0.0
    overdue: str = ""

    def heard(self, now: float, metrics: Mapping[str, float] | None) -> None:
        """Its worker has sent something.

        Args:
            now: on the monotonic clock.
            metrics: of the report, where it is one. The first one comes after the worker's start, reading the data, and
                perhaps a pass over the data for all trials: none of which the next epoch will take again.
        """
        waited, is_first = now - self.last_sign, self.last_sign == self.began
        self.last_sign = now
        told = finite((metrics or {}).get("epoch_s"))
        self.epoch_s = min(waited, told) if is_first and told is not None else waited
