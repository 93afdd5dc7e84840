"""Trials of the image classifier on images in memory, for tests: no files but the trial's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from trainables.contract import EpochReport
from trainables.image.config import ImageConfig
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.training.checkpoint import MODEL_FILE
from trainables.image.training.classifier import train_classifier
from trainables.local import LocalHandle

TIMES = ("epoch_s", "images_per_s", "data_wait_fraction", "peak_memory_bytes", "shared_s")


class Case:
    """Images in memory, with their index."""

    def __init__(self, images: npt.NDArray[np.uint8], labels: list[list[int]], splits: list[str]) -> None:
        multilabel = any(len(row) != 1 for row in labels)
        num = len(images)
        columns: dict[str, Any] = {
            "example": [f"{number}.png" for number in range(num)],
            "path": [None] * num,
            "image": [b""] * num,
            "box": [None] * num,
            "labels": labels,
            "group": [str(number) for number in range(num)],
            "split": splits,
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA if field.name in columns]
        table = pa.table(arrays, names=[field.name for field in SCHEMA if field.name in columns])
        classes = tuple(f"class {number}" for number in range(1 + max(max(row, default=0) for row in labels)))
        self.index = ImageIndex(table, classes, multilabel, "test")
        self.images = images

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self.images[rows]

    def train(self, config: ImageConfig, folder: Path, weights: Path | None = None, **options: Any) -> LocalHandle:
        balance = options.pop("balance", None)
        handle = LocalHandle(folder, **{"seed": 3, **options})
        train_classifier(config, self.index, self, weights, handle, balance)
        return handle


def bright_corners(num: int, size: int = 16, multilabel: bool = False) -> Case:
    """Each of three labels lights up one corner; the others are noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 120, (num, size, size, 3), dtype=np.uint8)
    half = size // 2
    corners = [np.s_[:half, :half], np.s_[half:, :half], np.s_[:half, half:]]
    labels = []
    for number in range(num):
        row = [label for label in range(3) if random.random() < 0.5] if multilabel else [number % 3]
        for label in row:
            images[number][corners[label]] //= 2
            images[number][corners[label]] += 140
        labels.append(row)
    return Case(images, labels, ["val" if number % 4 == 3 else "train" for number in range(num)])


def numbers(reports: list[EpochReport]) -> list[dict[str, float]]:
    """The reports without what differs from run to run."""
    return [{name: value for name, value in report.metrics.items() if name not in TIMES} for report in reports]


def weights_of(handle: LocalHandle, epoch: int) -> bytes:
    """The weights of an epoch's checkpoint, of whichever attempt."""
    (found,) = handle.folder.parent.glob(f"attempt-*/checkpoints/epoch-{epoch:05d}/{MODEL_FILE}")
    return found.read_bytes()


def resumes_to_the_bit(case: Case, config: ImageConfig, folder: Path, broken_after: int) -> LocalHandle:
    """Trains straight, and again with a break after an epoch; asserts that nothing differs; the first run."""
    straight = case.train(config, folder / "straight")

    def kill(report: EpochReport) -> None:
        if report.epoch == broken_after:
            raise SystemExit

    try:
        case.train(config, folder / "broken", on_report=kill)
    except SystemExit:
        torch.rand(100), np.random.random(100)  # whatever else the process did meanwhile
    resumed = case.train(config, folder / "broken", attempt=2)
    assert resumed.resumed is not None
    assert numbers(resumed.reports) == numbers(straight.reports[broken_after:])
    last = straight.reports[-1].epoch
    assert weights_of(resumed, last) == weights_of(straight, last)
    return straight
