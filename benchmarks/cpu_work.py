"""A trainable whose epochs are real work of one CPU: hashing, in one thread, without memory to speak of."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from trainables.contract import EpochReport, NoData, Trainable, TrialHandle

_BLOCK = bytes(1 << 20)


class WorkConfig(BaseModel):
    """How much work a trial is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(8, ge=1, description="Reports per trial.")
    megabytes: int = Field(400, ge=1, description="Hashed in an epoch.")
    number: int = Field(0, description="Makes one trial another than the next.")


class CpuWork(Trainable[WorkConfig, NoData]):
    """Hashes, and reports how fast."""

    config_class = WorkConfig
    metrics = {"speed": "max"}

    def train(self, config: WorkConfig, handle: TrialHandle) -> None:
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            began = time.perf_counter()
            digest = hashlib.sha256()
            for _ in range(config.megabytes):
                digest.update(_BLOCK)
            seconds = time.perf_counter() - began
            handle.report(EpochReport(epoch, {"speed": config.megabytes / seconds, "epoch_s": seconds}), save=_save)


def _save(folder: Path) -> None:
    (folder / "done").touch()
