"""What every trial handle does: check a report, write the checkpoint, then send the report on."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

from trainables.checkpoints import best_epoch, drop_checkpoints, latest_checkpoint, write_checkpoint
from trainables.contract import Checkpoint, EpochReport, Mode, Save
from trainables.errors import ContractBroken, Diverged
from trainables.reports import checked, shortened


@dataclass(frozen=True)
class TrialFacts:
    """One hand-out of a trial to a worker.

    Attributes:
        number: the trial's number.
        name: the baseline's name.
        attempt: fences this worker off from earlier ones: it writes only into `attempt-<attempt>/`.
        seed: the trial's seed.
        folder: the trial's folder (of all its attempts).
        num_threads: its share of CPU threads.
        metric: the objective; empty where no figure decides on anything.
        mode: which way the objective is better.
        trainable: its name, for messages.
        recorded_epochs: how many epochs of the trial are on record already.
        rank: which of the trial's workers this is.
        num_workers: how many train the trial together.
        worker_timeout_s: how long one of several workers may wait for another.
    """

    number: int
    name: str | None
    attempt: int
    seed: int
    folder: Path
    num_threads: int
    metric: str
    mode: Mode
    trainable: str
    recorded_epochs: int = 0
    rank: int = 0
    num_workers: int = 1
    worker_timeout_s: float = 600.0


class BaseHandle(ABC):
    """A `TrialHandle`, but for where the reports go."""

    def __init__(self, facts: TrialFacts) -> None:
        self._facts = facts
        self.folder = facts.folder / f"attempt-{facts.attempt}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resumed: Checkpoint | None = latest_checkpoint(facts.folder)
        self._reporting = threading.RLock()
        self._closed = False
        self._history: list[EpochReport] = list(self.resumed.history) if self.resumed else []
        self._warnings: list[str] = []

    @property
    def number(self) -> int:
        return self._facts.number

    @property
    def name(self) -> str | None:
        return self._facts.name

    @property
    def attempt(self) -> int:
        return self._facts.attempt

    @property
    def seed(self) -> int:
        return self._facts.seed

    @property
    def num_threads(self) -> int:
        return self._facts.num_threads

    @property
    def rank(self) -> int:
        return self._facts.rank

    @property
    def num_workers(self) -> int:
        return self._facts.num_workers

    @property
    def worker_timeout_s(self) -> float:
        return self._facts.worker_timeout_s

    def replay(self) -> None:
        """Sends what the checkpoint knows and the record lacks: a kill fell between the two."""
        for report in self._history:
            if report.epoch > self._facts.recorded_epochs:
                self._send(report)

    def warn(self, text: str) -> None:
        """See `TrialHandle.warn`."""
        text = shortened(str(text))
        if text not in self._warnings:
            self._warnings.append(text)
            print(f"warning: {text}")

    def report(self, report: EpochReport, save: Save | None = None) -> None:
        """See `TrialHandle.report`.

        Raises:
            ContractBroken: the report lacks the objective, holds what cannot be stored, is of the wrong epoch, or comes
                after `train` has ended.
            Diverged: the objective is not a finite number.
        """
        with self._reporting:
            if self._closed:
                self._late(report)
                raise ContractBroken(f"a report of epoch {report.epoch!r} came after `train` had ended: it is left out")
            report = self._checked(report)
            self._record(report, save)

    def close(self) -> None:
        """Takes no further report: `train` has ended. Waits for one that is on its way.

        A thread that `train` has left behind may still have the handle when the process is at its next trial.
        """
        with self._reporting:
            self._closed = True

    def _late(self, report: EpochReport) -> None:
        """Says that a report came after the end."""
        print(late_words(report))

    def _record(self, report: EpochReport, save: Save | None) -> None:
        self._history.append(report)
        if save is not None and self.rank == 0:
            write_checkpoint(self.folder, self._history, save)
            best = best_epoch(self._history, self._facts.metric, self._facts.mode)
            # The one before the last stays too, to fall back on should the last be damaged.
            drop_checkpoints(self.folder, {report.epoch, report.epoch - 1} | ({best} if best else set()))
        self._send(report)

    def _checked(self, report: EpochReport) -> EpochReport:
        who = f"trainable {self._facts.trainable!r}"
        report = replace(checked(report, who), warnings=tuple(self._warnings))
        expected = self._history[-1].epoch + 1 if self._history else 1
        if report.epoch != expected:
            raise ContractBroken(f"{who} reported epoch {report.epoch!r} where epoch {expected} was next")
        if self.rank or not self._facts.metric:
            return report  # the figures that count are rank 0's
        if self._facts.metric not in report.metrics:
            names = ", ".join(sorted(report.metrics)) or "nothing"
            missing = f"did not report the objective {self._facts.metric!r} in epoch {report.epoch}"
            raise ContractBroken(f"{who} {missing}; it reported {names}")
        if not math.isfinite(report.metrics[self._facts.metric]):
            value = report.metrics[self._facts.metric]
            raise Diverged(f"{self._facts.metric} is {value} in epoch {report.epoch}")
        return report

    @abstractmethod
    def _send(self, report: EpochReport) -> None:
        """Delivers a report. May raise SystemExit where the pruner stops the trial."""


def late_words(report: EpochReport) -> str:
    return f"a report of epoch {report.epoch!r} came after training had ended: it is left out"
