"""What the driver and a worker say to each other, as JSON text: nothing of Ray, and floats arrive as they left."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from trainables.contract import EpochReport, Mode
from trainables.handle import TrialFacts

OutcomeKind = Literal["completed", "failed", "diverged", "infeasible"]


def last_epoch_of(config: Mapping[str, Any]) -> int | None:
    """From this epoch on nothing stops a trial any more; None where its trainable alone knows.

    Driver and worker must agree on it: the one does not ask the pruner there, the other does not wait for an answer.
    """
    epochs = config.get("epochs")
    return epochs if isinstance(epochs, int) else None


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One hand-out of a trial to a worker.

    Attributes:
        sweep: the sweep's name.
        trainable: built-in name or `package.module:attribute`.
        data: the sweep file's data section.
        data_folder: where `Trainable.prepare` left its files.
        config: the trainable's config, before its defaults.
        import_paths: put behind `sys.path`, so that a user's own module is found.
        remote: where checkpoints go besides, as `results.remote.checkpoints.Place` says; None: nowhere.
        workers: how many processes train it together.
        worker_timeout_s: how long one of them may wait for another.
        gpus: of each of them, as Ray counts them.
        trial, name, attempt, seed, folder, num_threads, metric, mode, recorded_epochs: see `TrialFacts`.
    """

    sweep: str
    trial: int
    name: str | None
    attempt: int
    seed: int
    folder: str
    num_threads: int
    metric: str
    mode: Mode
    recorded_epochs: int
    trainable: str
    data: Mapping[str, Any]
    data_folder: str
    config: Mapping[str, Any]
    import_paths: tuple[str, ...] = ()
    remote: Mapping[str, Any] | None = None
    workers: int = 1
    worker_timeout_s: float = 600.0
    gpus: float = 0.0

    @property
    def label(self) -> str:
        """By which a person knows it among the processes, log lines and tasks of many sweeps."""
        name = f" ({self.name})" if self.name else ""
        return f"{self.sweep} trial {self.trial}{name} attempt {self.attempt}"

    @property
    def last_epoch(self) -> int | None:
        """As `last_epoch_of` its config."""
        return last_epoch_of(self.config)

    def facts(self, rank: int = 0) -> TrialFacts:
        """What the trial's handle needs, in the worker of this rank."""
        return TrialFacts(
            number=self.trial,
            name=self.name,
            attempt=self.attempt,
            seed=self.seed,
            folder=Path(self.folder),
            num_threads=self.num_threads,
            metric=self.metric,
            mode=self.mode,
            trainable=self.trainable,
            recorded_epochs=self.recorded_epochs,
            rank=rank,
            num_workers=self.workers,
            worker_timeout_s=self.worker_timeout_s,
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**{**values, "import_paths": tuple(values["import_paths"])})


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a worker sends: the report of an epoch, the trial's outcome, or both: its last report, and how it ended.

    Attributes:
        trial: whose message it is: the driver takes it for no other, whatever the worker has by then.
        attempt: of which hand-out.
        host: where the worker runs.
        device: what it trains on.
        report: an epoch's report.
        outcome: how the attempt ended; None while it goes on.
        reason: why, in words; empty when completed.
        retry: whether another attempt may fare better.
        disk_full: it ended because there was no room: no fault of the trial.
        of_node: it ended because the node of one of several workers was lost: no fault of the trial.
    """

    trial: int
    attempt: int
    host: str = ""
    device: str = ""
    report: EpochReport | None = None
    outcome: OutcomeKind | None = None
    reason: str = ""
    retry: bool = False
    disk_full: bool = False
    of_node: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        if report := values.pop("report"):
            report = EpochReport(**{**report, "warnings": tuple(report["warnings"])})
        return cls(report=report, **values)
