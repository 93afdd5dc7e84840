"""A trial as it was recorded, from the log alone; and how another run of it compares, figure by figure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweep_runner.results.events import EpochReported, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState

NO_FIGURES = ("epoch_s", "images_per_s", "data_wait_fraction", "peak_memory_bytes", "shared_s")
"""What a report says of time and memory: it is another one each time."""

Figures = Mapping[int, Mapping[str, float]]
"""Epoch → metric → value."""


@dataclass(frozen=True)
class RecordedTrial:
    """What the log says of one trial.

    Attributes:
        starts: its attempts, oldest first.
        figures: of every epoch.
        pauses: after which epochs it was paused.
        end: how it ended; None: it has not.
        hosts: where its epochs were trained, in order, each once.
        device: what the last one was trained on.
    """

    starts: tuple[TrialStarted, ...]
    figures: Figures
    pauses: tuple[int, ...] = ()
    end: TrialEnded | None = None
    hosts: tuple[str, ...] = ()
    device: str = ""


@dataclass(frozen=True)
class Deviation:
    """A figure that another run gave otherwise.

    Attributes:
        epoch, metric: which.
        recorded: the figure on record.
        again: None where the other run has no such figure.
    """

    epoch: int
    metric: str
    recorded: float
    again: float | None

    @property
    def relative(self) -> float:
        """How far apart they are, as a share of the larger; infinite where one is missing or not finite."""
        if self.again is None or not (math.isfinite(self.recorded) and math.isfinite(self.again)):
            return math.inf
        return abs(self.recorded - self.again) / max(abs(self.recorded), abs(self.again))


@dataclass(frozen=True)
class Comparison:
    """Two runs of one trial, compared with each other.

    Attributes:
        num_epochs: that were compared.
        num_figures: that were compared.
        tolerance: relative; 0: to the last digit.
        deviations: every figure that is not the same, by epoch.
        unrecorded: metrics that the other run reports and the record lacks: there is nothing to compare them with.
    """

    num_epochs: int
    num_figures: int
    tolerance: float
    deviations: tuple[Deviation, ...] = ()
    unrecorded: tuple[str, ...] = ()

    @property
    def beyond(self) -> tuple[Deviation, ...]:
        """Those beyond the tolerance."""
        return tuple(each for each in self.deviations if each.relative > self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether every figure is within the tolerance."""
        return not self.beyond


def recorded_trial(paths: SweepPaths, number: int, state: SweepState) -> RecordedTrial:
    """Reads one trial from the log.

    Args:
        paths: of the sweep.
        number: of the trial.
        state: empty; takes in every event, as all of the log is read anyway.
    """
    starts: list[TrialStarted] = []
    pauses: list[int] = []
    figures: dict[int, Mapping[str, float]] = {}
    hosts: dict[str, None] = {}
    end, device = None, ""
    for event in read_events(paths.log):
        is_new = state.apply(event)
        if getattr(event, "trial", None) != number:
            continue
        if isinstance(event, EpochReported) and is_new:
            figures[event.epoch] = event.metrics
            device = event.device
            hosts[event.host] = None
        elif isinstance(event, TrialStarted):
            starts.append(event)
            end = None
        elif isinstance(event, TrialPaused):
            pauses.append(event.epoch)
        elif isinstance(event, TrialEnded):
            end = event
    return RecordedTrial(tuple(starts), figures, tuple(pauses), end, tuple(hosts), device)


def compare(recorded: Figures, again: Figures, tolerance: float) -> Comparison:
    """Holds every figure of every epoch against the recorded one, but for those of time and memory.

    Args:
        recorded: the truth.
        again: of the other run.
        tolerance: relative.
    """
    deviations, count = [], 0
    unrecorded: dict[str, None] = {}
    for epoch in sorted(recorded):
        other = again.get(epoch, {})
        unrecorded.update(dict.fromkeys(name for name in other if name not in recorded[epoch]))
        for metric, first in recorded[epoch].items():
            if metric in NO_FIGURES:
                continue
            count += 1
            second = other.get(metric)
            if second is None or not (first == second or (math.isnan(first) and math.isnan(second))):
                deviations.append(Deviation(epoch, metric, first, second))
    return Comparison(len(recorded), count, tolerance, tuple(deviations), tuple(unrecorded))


def environments_of(paths: SweepPaths, starts: Sequence[TrialStarted]) -> list[Mapping[str, Any]]:
    """What the sweep ran with when the attempts of a trial were started: each run once, oldest first.

    Empty where `environment.json` is missing or damaged.
    """
    try:
        kept = json.loads(paths.environment.read_bytes())
        runs = [kept, *kept.get("later_runs", [])]
        began = [datetime.fromisoformat(run["captured"]).timestamp() for run in runs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    used = {max((k for k, time in enumerate(began) if time <= start.time + 1), default=0) for start in starts}
    return [runs[k] for k in sorted(used)]
