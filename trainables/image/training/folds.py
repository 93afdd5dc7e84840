"""A trial with folds: an epoch of each model in turn, each with another val, and one report for all of them.

An epoch of such a trial is that epoch of every model, and its figures are the means over the folds. So what compares
trials by epochs (pruners, promotion, early stopping) compares figures that rest on every example, and the best epoch is
one for all models: the one that the published model is then trained for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainables.contract import EpochReport, TrialHandle
from trainables.image.batches.feed import Rows, Source
from trainables.image.config import ImageConfig, Precision
from trainables.image.data.folds import fold_view
from trainables.image.data_config import DataConfig
from trainables.image.features.stored import Features
from trainables.image.index import ImageIndex
from trainables.image.parallel.workers import Workers, accelerator_of
from trainables.image.training.checkpoint import fold_folder, random_state, set_random_state
from trainables.image.training.classifier import Epoch, epochs, starting_net
from trainables.image.training.watching import ends_early, seen_so_far, watch
from trainables.outcomes import packed, unpacked

SPREAD = "_std"
"""What the standard deviation over the folds (n - 1) of a metric on val is called, behind the metric's name."""
_LARGEST = ("peak_memory_bytes", "num_parameters")


def train_folds(
    config: ImageConfig,
    index: ImageIndex,
    pixels: Source | Features,
    weights: Path | None,
    handle: TrialHandle,
    data: DataConfig,
) -> None:
    """Trains a model per fold, as `train_classifier` trains one, and reports their means after each epoch of all.

    A checkpoint holds every model. What is learnt from data (class weights, caps, which examples are drawn more often)
    is learnt from a fold's own train part. `schedule: plateau` and early stopping look at the mean.

    Args:
        config, pixels, weights, handle: as for `train_classifier`.
        index: with folds.
        data: as in the sweep file.
    """
    seed = handle.seed if config.seed is None else config.seed
    torch.set_num_threads(handle.num_threads)
    watched = seen_so_far(config, index, handle.resumed)
    workers = Workers(handle.rank, handle.num_workers)
    started = [
        _Started(*starting_net(config, len(index.classes), pixels, weights, seed_of_fold(seed, number)))
        for number in range(index.num_folds)
    ]
    views = [fold_view(index, number, data) for number in range(index.num_folds)]
    held = [view.rows("val") for view in views[: index.num_folds // index.num_repeats]]
    with accelerator_of(handle, started[0].precision) as accelerator:
        models = [
            _Model(
                each,
                epochs(
                    config,
                    views[number],
                    pixels,
                    each.net,
                    accelerator,
                    workers,
                    seed_of_fold(seed, number),
                    watched,
                    data.balance,
                    last_epoch=handle.resumed.epoch if handle.resumed else 0,
                    resumed=fold_folder(handle.resumed.folder, number) if handle.resumed else None,
                    takes_turns=True,
                    warn=handle.warn,
                ),
            )
            for number, each in enumerate(started)
        ]
        while not ends_early(config, watched) and all(model.advance() for model in models):
            reports = [model.epoch.report for model in models]
            metrics = mean_over_folds([report.metrics for report in reports])
            watch(config, watched, metrics)
            outcomes = joined_outcomes([report.outcomes for report in reports], held)
            handle.report(EpochReport(reports[0].epoch, metrics, outcomes), save=partial(_save, models))


def seed_of_fold(seed: int, number: int) -> int:
    """Each model starts and draws by itself, so that the spread is also that of the seed."""
    (state,) = np.random.SeedSequence([seed, number, 5]).generate_state(1, np.uint32)
    return int(state)


def mean_over_folds(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures of a trial from those of its models, by name.

    Metrics are means; of those on val there is the standard deviation, too (n - 1). Times add up; `images_per_s` is of
    all of them together; memory and parameters are those of the largest. A fold in which a figure is undefined (NaN)
    does not count for it.

    Args:
        folds: the metrics of each model.
    """
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for metrics in folds for name in metrics):
        told = [metrics[name] for metrics in folds if name in metrics]
        # Without an example of a class in val some figures are undefined there.
        values = [value for value in told if not math.isnan(value)] or told[:1]
        if name in _LARGEST:
            found[name] = max(values)
        elif name == "epoch_s":
            found[name] = math.fsum(values)
        elif name == "images_per_s":  # the models see about as many images each
            found[name] = len(values) / math.fsum(1 / value for value in values)
        elif name == "micro_batch_size":
            found[name] = min(values)
        else:
            found[name] = statistics.fmean(values)
        if name.startswith("val_") and len(values) > 1:
            found[name + SPREAD] = statistics.stdev(values)  # exactly 0 of equal values, unlike NumPy's
    return found


def joined_outcomes(folds: Sequence[str], held: Sequence[Rows]) -> str:
    """How right every example's decision is, by the model that has not seen it; in the order of the index.

    Args:
        folds: `EpochReport.outcomes` of each model.
        held: the rows of each model's val, for the models of one repetition; further models are not looked at.
    """
    parts = folds[: len(held)]
    if not all(parts):
        return ""
    rows = np.concatenate(held)
    return packed(np.concatenate([unpacked(part) for part in parts])[np.argsort(rows)])


class _Started:
    """A net before its first step, and the random numbers that it goes on with."""

    def __init__(self, net: nn.Module, precision: Precision) -> None:
        self.net = net
        self.precision = precision
        self.random = random_state()


class _Model:
    """One of the models that are trained in turn.

    Attributes:
        epoch: that it has trained last.
    """

    epoch: Epoch

    def __init__(self, started: _Started, steps: Iterator[Epoch]) -> None:
        self._steps = steps
        self._random = started.random

    def advance(self) -> bool:
        """Trains the next epoch; whether there was one."""
        set_random_state(self._random)
        epoch = next(self._steps, None)
        self._random = random_state()
        if epoch is not None:
            self.epoch = epoch
        return epoch is not None

    def save(self, folder: Path) -> None:
        """Writes the state after the last epoch."""
        set_random_state(self._random)
        self.epoch.save(folder)


def _save(models: Sequence[_Model], folder: Path) -> None:
    for number, model in enumerate(models):
        part = fold_folder(folder, number)
        part.mkdir()
        model.save(part)
