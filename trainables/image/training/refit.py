"""Trains the model to publish anew, on train and val together, as the trial was trained."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch

from trainables.contract import Checkpoint, EpochReport, Save, TrialHandle
from trainables.image.batches.feed import Source
from trainables.image.config import ImageConfig
from trainables.image.features.stored import Features
from trainables.image.index import ImageIndex
from trainables.image.parallel.workers import Workers, accelerator_of
from trainables.image.settings.balance import Balance
from trainables.image.training.classifier import epochs, starting_net
from trainables.image.training.watching import watch

THRESHOLD_FILE = "threshold.json"
"""In a checkpoint: from which probability each label counts, where its model has seen what that was tuned on."""


def refit_classifier(
    config: ImageConfig,
    index: ImageIndex,
    pixels: Source | Features,
    weights: Path | None,
    handle: TrialHandle,
    best: Checkpoint,
    balance: Balance | None,
    threshold: float | tuple[float, ...],
) -> None:
    """Trains for as many epochs as the trial's best epoch says; the learning rate falls as in the trial.

    Args:
        config, pixels, weights, handle: as for `train_classifier`.
        index: without a val split: all is trained on.
        best: the trial's checkpoint at its best epoch. Its history says what `schedule: plateau` looked at.
        balance: see `train_classifier`; caps are in the index already.
        threshold: from which probability a label counts: every checkpoint says it.
    """
    seed = handle.seed if config.seed is None else config.seed
    torch.set_num_threads(handle.num_threads)
    net, precision = starting_net(config, len(index.classes), pixels, weights, seed)
    last_epoch = handle.resumed.epoch if handle.resumed else 0
    watched: list[float] = []
    for report in best.history[:last_epoch]:
        watch(config, watched, report.metrics)
    resumed = None if handle.resumed is None else handle.resumed.folder
    with accelerator_of(handle, precision) as accelerator:
        run = epochs(config, index, pixels, net, accelerator, Workers(), seed, watched, balance, last_epoch, resumed)
        for report in best.history[last_epoch:]:
            epoch = next(run)
            watch(config, watched, report.metrics)
            figures = EpochReport(epoch.report.epoch, epoch.report.metrics)
            handle.report(figures, save=partial(_save, epoch.save, threshold))


def threshold_in(checkpoint: Path) -> float | tuple[float, ...] | None:
    """What `refit_classifier` was told of thresholds; None in a checkpoint of a trial, whose model has not seen val."""
    if not (checkpoint / THRESHOLD_FILE).exists():
        return None
    found = json.loads((checkpoint / THRESHOLD_FILE).read_bytes())
    return tuple(found) if isinstance(found, list) else float(found)


def _save(save: Save, threshold: float | tuple[float, ...], folder: Path) -> None:
    save(folder)
    (folder / THRESHOLD_FILE).write_text(json.dumps(threshold), encoding="utf-8")
