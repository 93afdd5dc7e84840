"""How many trials shared a GPU, as was decided while a sweep ran."""

from __future__ import annotations

from sweep_runner.results.events import GpusShared
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths


def gpus_shared(paths: SweepPaths) -> list[GpusShared]:
    """Every decision, in order; none where nothing was measured."""
    return [event for event in read_events(paths.log) if isinstance(event, GpusShared)]
