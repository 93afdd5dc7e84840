"""The model to publish, trained anew on train and val: it goes on where a killed process left it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sweep_runner.results.paths import SweepPaths
from trainables.checkpoints import attempt_folders, checkpoint_of_epoch, drop_checkpoints, read_checkpoint
from trainables.contract import Trainable
from trainables.errors import TrainableError
from trainables.local import LocalHandle


def refit(
    trainable: Trainable[Any, Any],
    config: BaseModel,
    checkpoint: Path,
    folder: Path,
    info: Mapping[str, Any],
    num_threads: int,
) -> Path:
    """The checkpoint of the model that was trained anew; trains it, as far as that is not done yet.

    Args:
        trainable: of the sweep.
        config: of the trial.
        checkpoint: of the trial's best epoch.
        folder: where it is trained, and stays.
        info: `trial`, `name` and `seed` are the trial's.
        num_threads: CPU threads.

    Raises:
        TrainableError: it could not be trained.
    """
    best = read_checkpoint(checkpoint)
    if best is None:
        raise TrainableError(
            f"{checkpoint}: the checkpoint of the best epoch is damaged: the model cannot be retrained"
        )
    if (done := checkpoint_of_epoch(folder, best.epoch)) is None:
        handle = LocalHandle(
            folder,
            number=info["trial"],
            name=info["name"],
            seed=info["seed"],
            num_threads=num_threads,
            metric="",
            trainable=type(trainable).__name__,
        )
        try:
            trainable.refit(config, best, handle)
        finally:
            handle.close()
        done = checkpoint_of_epoch(folder, best.epoch)
    if done is None:
        raise TrainableError(
            f"{type(trainable).__name__}.refit left no checkpoint of epoch {best.epoch}, the best one: it must save "
            "one with its report"
        )
    for attempt in attempt_folders(folder):
        drop_checkpoints(attempt, {best.epoch})
    return done.folder


def drop_other_refits(paths: SweepPaths, keep: int) -> None:
    """Removes what was trained anew for trials that were the best before; one is kept."""
    for folder in paths.trials.glob("*/refit"):
        if folder.parent != paths.trial(keep):
            shutil.rmtree(folder, ignore_errors=True)
