"""Optimizers, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from trainables.image.config import ImageConfig, Schedule


def make_optimizer(config: ImageConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained.

    Biases and normalisation layers get no weight decay (as in timm). `fused` runs one kernel for all
    parameters: for small nets on a CPU that is most of a step's cost.
    """
    groups = param_groups_weight_decay(model, config.weight_decay)
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=config.lr, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def learning_rate(
    step: int, *, peak: float, num_steps: int, num_warmup_steps: int = 0, schedule: Schedule = "constant"
) -> float:
    """The learning rate of one step; a pure function, so that there is no state to save.

    Args:
        step: 0 for the first step of the trial.
        peak: reached after warm-up.
        num_steps: of the whole trial.
        num_warmup_steps: it rises linearly during these.
        schedule: then it stays, or follows half a cosine towards 0, which the step after the last would reach.

    Source: warm-up as in Goyal et al. 2017, cosine as in Loshchilov and Hutter 2017 without restarts.
    """
    if step < num_warmup_steps:
        return peak * (step + 1) / (num_warmup_steps + 1)
    if schedule == "constant":
        return peak
    progress = (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets it for every group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
