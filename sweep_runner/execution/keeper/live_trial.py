"""A trial that a worker has."""

from __future__ import annotations

from dataclasses import dataclass

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
        epoch_s: how long the last report was in coming.
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
