"""What a tracker is: one small class that is told what the sweep has recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackedSweep:
    """The sweep that a tracker is told of.

    Attributes:
        name: of the sweep.
        folder: where the tracker may write; it exists, and a resumed sweep has the same one.
        metric: of the objective.
        mode: `min` or `max`.
    """

    name: str
    folder: Path
    metric: str
    mode: str


class Tracker(Protocol):
    """Is made with a `TrackedSweep` and told of everything after it is on disk, each thing once, in the log's order.

    It runs in a thread of its own: it may be slow. One that raises is dropped, and the sweep goes on.
    """

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        """A trial began, or was begun again after a failure or an interruption."""

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """A trial reported an epoch (from 1)."""

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """A trial ended; `best` has its metrics at the epoch that is best by the objective, or nothing."""

    def sweep_ended(self, state: str) -> None:
        """The sweep ended, or stopped for now. The last call."""
