"""A trainable without data, with closed-form learning curves: for tests and benchmarks of the machinery."""

from __future__ import annotations

import json
import math
import time
from functools import partial
from pathlib import Path
from random import Random

from pydantic import BaseModel, ConfigDict, Field

from trainables.contract import EpochReport, NoData, Trainable, TrialHandle


class SyntheticConfig(BaseModel):
    """The hyperparameters of the synthetic curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(10, ge=1, description="Number of epochs.")
    epoch_s: float = Field(0.0, ge=0, description="Seconds of sleep per epoch.")
    lr: float = Field(0.01, gt=0, description="The curve is highest at 0.01 and falls off on a log scale.")
    noise: float = Field(0.01, ge=0, description="Standard deviation of the seeded noise on each epoch.")
    optimizer: str = Field("adam", description="adam learns faster, sgd ends higher.")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only; best at 0.9.")


class Synthetic(Trainable[SyntheticConfig, NoData]):
    """Reports `val_accuracy` and `val_loss` from a formula; its checkpoint is the epoch."""

    config_class = SyntheticConfig
    metrics = {"val_accuracy": "max", "val_loss": "min"}

    @classmethod
    def bounds(cls, metric: str) -> tuple[float, float]:
        return 0.0, math.inf if metric == "val_loss" else 1.0

    def train(self, config: SyntheticConfig, handle: TrialHandle) -> None:
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            started = time.monotonic()
            if config.epoch_s:
                time.sleep(config.epoch_s)
            accuracy = curve(config, epoch, handle.seed)
            metrics = {
                "val_accuracy": accuracy,
                "val_loss": -math.log(accuracy),
                "lr": config.lr,
                "epoch_s": time.monotonic() - started,
            }
            handle.report(EpochReport(epoch, metrics), save=partial(_save, epoch))


def curve(config: SyntheticConfig, epoch: int, seed: int) -> float:
    """The accuracy after an epoch: rises exponentially to a ceiling, with noise that only the seed decides."""
    distance = abs(math.log10(config.lr / 0.01))
    ceiling = 0.95 * math.exp(-((distance / 2) ** 2))
    pace = 0.5
    if config.optimizer == "sgd":
        ceiling *= 1.02 - abs(config.momentum - 0.9)
        pace = 0.3
    noise = Random(seed * 100_003 + epoch).gauss(0, config.noise) if config.noise else 0.0
    return min(max(ceiling * (1 - math.exp(-pace * epoch)) + noise, 1e-3), 1 - 1e-3)


def _save(epoch: int, folder: Path) -> None:
    (folder / "state.json").write_text(json.dumps({"epoch": epoch}))
