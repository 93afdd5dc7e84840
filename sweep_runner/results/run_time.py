"""When a sweep ran: pauses between two runs of its driver are no time of its own, however long they were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sweep_runner.results.events import Event, SweepChanged


@dataclass(frozen=True)
class RunTime:
    """The runs of a sweep's driver.

    Attributes:
        runs: (start, end), seconds since the epoch (UTC), in their order; a run that was killed, or goes on, reaches
            up to its last event.
    """

    runs: tuple[tuple[float, float], ...]

    def before(self, moment: float) -> float:
        """Seconds that the sweep had run at this moment (seconds since the epoch, UTC)."""
        return sum(max(0.0, min(end, moment) - start) for start, end in self.runs)


def run_time(events: Iterable[Event]) -> RunTime | None:
    """When a sweep ran.

    Args:
        events: of its log, oldest first.

    Returns:
        None where the log says nothing of a start.
    """
    runs: list[list[float]] = []
    running = False
    for event in events:
        if isinstance(event, SweepChanged) and event.state == "RUNNING":
            runs.append([event.time, event.time])
            running = True
            continue
        if running:
            runs[-1][1] = max(runs[-1][1], event.time)
        if isinstance(event, SweepChanged):
            running = False
    return RunTime(tuple((start, end) for start, end in runs)) if runs else None
