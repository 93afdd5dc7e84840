"""Our side of the image benchmarks: prepare and train as a trial does, in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables.contract import EpochReport
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.trainable import ImageClassifier
from trainables.image.training import classifier  # noqa: F401 - imported before the clock starts, as a worker has it
from trainables.local import LocalHandle


@dataclass(frozen=True)
class Ours:
    """What our side showed.

    Attributes:
        prepare_s: listing, decoding and the pixel cache.
        reports: an epoch each.
        train_s: of each epoch's training alone.
        num_images: trained on in each epoch.
    """

    prepare_s: float
    reports: list[EpochReport]
    train_s: list[float]
    num_images: list[int]


def train(photos: Path, work: Path, *, threads: int, **values: Any) -> Ours:
    """Prepares into an empty cache below `work` and trains.

    Args:
        photos: an image folder.
        work: a new folder.
        threads: of PyTorch.
        values: of the config; from scratch.
    """
    config = ImageConfig.model_validate({"finetune": "scratch", "pretrained": False, **values})
    data = DataConfig.model_validate({"dataset": "image_folder", "root": str(photos), "cache_dir": str(work / "cache")})
    trainable = ImageClassifier(data, work / "data")
    began = time.perf_counter()
    trainable.prepare({key: [value] for key, value in config.model_dump().items()})
    prepare_s = time.perf_counter() - began
    handle = LocalHandle(work / "trial", seed=0, num_threads=threads)
    trainable.train(config, handle)
    from trainables.image.data.prepare import INDEX_FILE
    from trainables.image.index import ImageIndex
    from trainables.image.training.order import epoch_size

    num = epoch_size(len(ImageIndex.load(work / "data" / INDEX_FILE).rows("train")), config.batch_size)
    train_s = [num / report.metrics["images_per_s"] for report in handle.reports]
    return Ours(prepare_s, handle.reports, train_s, [num] * len(train_s))


def model_of(num_classes: int, **values: Any) -> torch.nn.Module:
    """The same network for the peer, with the same first weights for the same seed."""
    from trainables.image.models.factory import build_model

    torch.manual_seed(0)
    return build_model(ImageConfig.model_validate({"finetune": "scratch", "pretrained": False, **values}), num_classes)
