"""A trial in this process, without Ray: for `sweep trial`, tests and debuggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainables.contract import EpochReport, Mode
from trainables.handle import BaseHandle, TrialFacts


class LocalHandle(BaseHandle):
    """Keeps the reports in `reports`, and gives each to a callback.

    Args:
        folder: the trial's folder; a checkpoint that is there is gone on from.
        on_report: called with each report; raise SystemExit in it to stop the trial there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        number: int = 0,
        name: str | None = None,
        attempt: int = 1,
        seed: int = 0,
        num_threads: int = 1,
        metric: str = "val_accuracy",
        mode: Mode = "max",
        trainable: str = "trainable",
        rank: int = 0,
        num_workers: int = 1,
        worker_timeout_s: float = 600.0,
        on_report: Callable[[EpochReport], None] | None = None,
    ) -> None:
        facts = TrialFacts(
            number=number,
            name=name,
            attempt=attempt,
            seed=seed,
            folder=folder,
            num_threads=num_threads,
            metric=metric,
            mode=mode,
            trainable=trainable,
            rank=rank,
            num_workers=num_workers,
            worker_timeout_s=worker_timeout_s,
        )
        super().__init__(facts)
        self.reports: list[EpochReport] = []
        self._on_report = on_report

    def _send(self, report: EpochReport) -> None:
        self.reports.append(report)
        if self._on_report is not None:
            self._on_report(report)
