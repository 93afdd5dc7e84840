"""A tracker of a user's own, and one that fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweep_runner.tracking.tracker import TrackedSweep


class Lines:
    """Writes what it is told as lines."""

    def __init__(self, sweep: TrackedSweep) -> None:
        self._file = sweep.folder / "lines.jsonl"

    def _write(self, *values: Any) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        self._write("start", trial)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._write("epoch", trial, epoch)

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        self._write("end", trial, state, best["val_accuracy"])

    def sweep_ended(self, state: str) -> None:
        self._write("sweep", state)


class Failing(Lines):
    """Fails at the first epoch."""

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        raise ValueError("no room in the tracker")
