"""The learning rate as a function of the step and of what was reported so far: there is no state to save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch

from trainables.contract import Mode
from trainables.image.choices.metrics import modes
from trainables.image.config import ImageConfig, Monitor, Schedule

_RISE_FRACTION = 0.3
_START_FRACTION = 1 / 25
_END_FRACTION = 1 / 10_000


def learning_rate(
    step: int,
    *,
    peak: float,
    num_steps: int,
    num_warmup_steps: int = 0,
    schedule: Schedule = "constant",
    steps_to_fall: int = 1,
    gamma: float = 0.1,
) -> float:
    """The learning rate of one step.

    Args:
        step: 0 for the first step of the trial.
        peak: the highest.
        num_steps: of the whole trial.
        num_warmup_steps: it rises linearly to the peak during these.
        schedule: what it does then. constant and plateau: stays (for plateau, see `plateau_factor`); step: is
            multiplied by `gamma` every `steps_to_fall` steps of the trial; cosine: follows half a cosine towards 0,
            which the step after the last would reach; one_cycle: follows half a cosine from a 25th of the peak up to
            it during 0.3 of the steps, and another down to a 10,000th of where it started.
        steps_to_fall: see `step`.
        gamma: see `step`.

    Source: warm-up as in Goyal et al. 2017; cosine as in Loshchilov and Hutter 2017 without restarts; one cycle as in
    Smith and Topin 2018, with PyTorch's shape and fractions, but momentum stays.
    """
    if step < num_warmup_steps:
        return peak * (step + 1) / (num_warmup_steps + 1)
    if schedule in ("constant", "plateau"):
        return peak
    if schedule == "step":
        return float(peak * gamma ** (step // steps_to_fall))
    if schedule == "one_cycle":
        turn = max(1.0, _RISE_FRACTION * num_steps - 1)
        start = peak * _START_FRACTION
        if step <= turn:
            return _cosine(start, peak, step / turn)
        return _cosine(peak, start * _END_FRACTION, (step - turn) / max(1.0, num_steps - 1 - turn))
    return _cosine(peak, 0.0, (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps))


def plateau_factor(values: Sequence[float], monitor: Monitor, gamma: float, patience: int) -> float:
    """What a learning rate that falls on plateaus has come down to, as a share of its peak.

    Args:
        values: of `monitor`, an epoch each, from the first.
        monitor: the metric.
        gamma: the rate is multiplied by it at the end of each plateau.
        patience: epochs without a gain (of a ten-thousandth) that are put up with.
    """
    # PyTorch's own, put through the trial so far: so there is nothing to save, and nothing that resuming could lose.
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    fall = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode_of(monitor), factor=gamma, patience=patience, min_lr=0.0, eps=0.0
    )
    for value in values:
        fall.step(value)
    return float(optimizer.param_groups[0]["lr"])


def stops_early(values: Sequence[float], monitor: Monitor, patience: int | None) -> bool:
    """Whether a metric has not gained for so many epochs that the trial should end.

    Args:
        values: an epoch each, from the first.
        monitor: the metric.
        patience: in epochs; None for never.
    """
    if patience is None or not values:
        return False
    best = (min if mode_of(monitor) == "min" else max)(values)
    return len(values) - 1 - list(values).index(best) >= patience


def mode_of(monitor: Monitor) -> Mode:
    """Which way a monitored metric is better."""
    return modes()[monitor]


def epoch_schedule(config: ImageConfig, steps_per_epoch: int, watched: Sequence[float]) -> partial[float]:
    """The learning rate as a function of the step, for one epoch.

    Args:
        config: of the trial.
        steps_per_epoch: optimizer steps.
        watched: the metric to monitor, for each epoch before this one.
    """
    peak = config.lr
    if config.schedule == "plateau":
        peak *= plateau_factor(watched, config.monitor, config.lr_gamma, config.plateau_patience)
    return partial(
        learning_rate,
        peak=peak,
        num_steps=config.epochs * steps_per_epoch,
        num_warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        schedule=config.schedule,
        steps_to_fall=(config.step_epochs or math.ceil(config.epochs / 3)) * steps_per_epoch,
        gamma=config.lr_gamma,
    )


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))
