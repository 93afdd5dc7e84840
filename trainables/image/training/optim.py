"""Optimizers, and which parameters learn at which share of the learning rate."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from trainables.errors import TrainableError
from trainables.image.choices.optimizers import MADE_BY
from trainables.image.config import ImageConfig
from trainables.image.models.freezing import block_numbers

Groups = list[dict[str, Any]]
"""Parameters by what is done to them, as PyTorch's optimizers take them: see `parameter_groups`."""

MakesOptimizer = Callable[[Groups, ImageConfig], torch.optim.Optimizer]


def make_optimizer(config: ImageConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained.

    timm makes those that `choices.optimizers.MADE_BY` does not have.

    Raises:
        TrainableError: it cannot be had on this machine.
    """
    groups = parameter_groups(config, model)
    if config.optimizer in MADE_BY:
        make: MakesOptimizer = pkgutil.resolve_name(MADE_BY[config.optimizer])
        return make(groups, config)
    try:
        made: torch.optim.Optimizer = create_optimizer_v2(
            groups, opt=config.optimizer, lr=config.lr, weight_decay=0.0, momentum=config.momentum
        )
    except (AssertionError, ImportError, TypeError, ValueError, RuntimeError) as error:
        raise TrainableError(f"the optimizer {config.optimizer} cannot be made: {error}") from error
    return made


# `fused` runs one kernel for all parameters: for small nets on a CPU that is most of a step's cost.


def adam(groups: Groups, config: ImageConfig) -> torch.optim.Optimizer:
    """Kingma and Ba 2015, arXiv:1412.6980."""
    return torch.optim.Adam(groups, lr=config.lr, fused=True)


def adamw(groups: Groups, config: ImageConfig) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019, arXiv:1711.05101."""
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def sgd(groups: Groups, config: ImageConfig) -> torch.optim.Optimizer:
    """With momentum; Nesterov's only where `nesterov` says so."""
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)


def parameter_groups(config: ImageConfig, model: nn.Module) -> Groups:
    """Trained parameters by weight decay and share of the learning rate (`lr_scale`).

    Biases, normalisation layers and what the model says of itself (position embeddings) get no weight decay, as in
    timm. With `layer_lr_decay` d, a block that lies k blocks before the head learns at d^k times the rate (Bao et
    al. 2022, BEiT, which timm follows); the head at `head_lr_multiplier` times the rate.
    """
    facts: Any = model  # what timm and `starting_model` say of it beyond what a module has
    without_decay = facts.no_weight_decay() if hasattr(model, "no_weight_decay") else set()
    head_names: frozenset[str] = getattr(facts, "head_names", frozenset())
    blocks = block_numbers(model)
    last = max(blocks.values())
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim <= 1 or name.endswith(".bias") or name in without_decay
        in_head = name in head_names
        scale = config.head_lr_multiplier if in_head else config.layer_lr_decay ** (last - blocks[name])
        key = (0.0 if plain else config.weight_decay, scale, in_head or name in without_decay)
        groups.setdefault(key, []).append(parameter)
    # `use_fallback` is read by muon and its kin, which are for the matrices of hidden layers only.
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale, "use_fallback": fallback}
        for (decay, scale, fallback), parameters in groups.items()
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets it for every group of parameters, times the group's share; on the device where a group has it there."""
    for group in optimizer.param_groups:
        rate = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
