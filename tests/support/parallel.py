"""Trials that several processes train together, without Ray: what the sweep's workers do, for tests."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from tests.support.trials import Case
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.features import store
from trainables.image.training.classifier import train_classifier
from trainables.local import LocalHandle


class OnFeatures:
    """As a `Case`, with the head alone trained on the features of a backbone."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._folder = folder

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self._case.gather(rows)

    def close(self) -> None:
        """As decoded pixels have it."""

    def train(self, config: ImageConfig, folder: Path, **options: Any) -> LocalHandle:
        weights = Path(str(config.pretrained))
        data = DataConfig.model_validate({"dataset": "digits", "cache_dir": str(self._folder)})
        with mock.patch.object(store, "open_pixels", return_value=self):
            features = store.open_features(config, self._case.index, data, weights, 1)
        assert features is not None
        handle = LocalHandle(folder, **{"seed": 3, **options})
        with contextlib.closing(features):
            train_classifier(config, self._case.index, features, weights, handle)
        return handle


Outcome = list[dict[str, float]] | str
"""The metrics of each epoch, or how training ended instead."""


@dataclass(frozen=True)
class Job:
    """One trial.

    Attributes:
        make_case: makes its images, in each process.
        config: of the trial.
        folder: of the trial, which the processes share.
        options: of the handle.
    """

    make_case: Callable[[], Case | OnFeatures]
    config: ImageConfig
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, **options: Any) -> Outcome:
        """Trains it in this process, as one of several where the options say so."""
        case = self.make_case()
        if isinstance(case, Case):
            case.gather = _noting(case.gather, self.seen(options.get("rank", 0)))  # type: ignore[method-assign]
        try:
            handle = case.train(self.config, self.folder, **self.options, **options)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            return f"{type(error).__name__}: {error}"
        return [dict(report.metrics) for report in handle.reports]

    def seen(self, rank: int = 0) -> Path:
        """Where it notes which rows this rank asked for: one JSON list per request."""
        return self.folder.with_name(f"{self.folder.name}-rows-{rank}.jsonl")


Gather = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]


def _noting(gather: Gather, path: Path) -> Gather:
    def noted(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        with path.open("a") as file:
            file.write(json.dumps(rows.tolist()) + "\n")
        return gather(rows)

    return noted


def together(jobs: Sequence[Job], number: int, timeout_s: float = 240) -> list[list[Outcome]]:
    """Trains jobs one after another, each by `number` processes; for each job the outcome in every process."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    ports = [_free_port() for _ in jobs]
    processes = [context.Process(target=_work, args=(rank, number, jobs, ports, answers)) for rank in range(number)]
    for process in processes:
        process.start()
    try:
        found = dict(answers.get(timeout=timeout_s) for _ in processes)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    return [[found[rank][place] for rank in range(number)] for place in range(len(jobs))]


def _work(rank: int, number: int, jobs: Sequence[Job], ports: Sequence[int], answers: Any) -> None:
    outcomes = []
    for job, port in zip(jobs, ports, strict=True):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(number), LOCAL_WORLD_SIZE=str(number))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
        outcomes.append(job.run(rank=rank, num_workers=number, worker_timeout_s=60.0))
    answers.put((rank, outcomes))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
