"""The trackers that `loggers` names, and the class behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LoggerChoice:
    """A built-in tracker.

    Attributes:
        made_by: "module:class" of a `Tracker`, made with a `TrackedSweep`.
        extra: the extra of this project that installs what it needs; empty: nothing more is needed.
    """

    made_by: str
    extra: str = ""


LOGGERS: Mapping[str, LoggerChoice] = {
    "csv": LoggerChoice("sweep_runner.tracking.builtin:CsvTracker"),
    "tensorboard": LoggerChoice("sweep_runner.tracking.builtin:TensorBoardTracker", "trackers"),
    "mlflow": LoggerChoice("sweep_runner.tracking.mlflow_tracker:MlflowTracker", "mlflow"),
    "wandb": LoggerChoice("sweep_runner.tracking.builtin:WandbTracker", "trackers"),
}
