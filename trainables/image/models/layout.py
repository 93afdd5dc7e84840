"""The memory layout of a model's weights: channels last, as its images are, which makes convolutions faster."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

_ONE_VECTOR = 16
"""Channels that PyTorch's convolutions on CPUs take at a time."""


def channels_last(model: nn.Module) -> nn.Module:
    """Lays the weights of a model's 2d convolutions out as its images are, in place; gives the model back.

    `model.to(memory_format=torch.channels_last)` refuses models with weights of five dimensions (3d convolutions).
    """
    plain = [module for module in model.modules() if _must_be_plain(module)]
    for module in plain:
        if not hasattr(module, "takes_plain_maps"):
            module.register_forward_pre_hook(_plain_map)
            module.takes_plain_maps = True  # type: ignore[assignment]
    left = {id(tensor) for module in plain for tensor in module.parameters(recurse=False)}
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.ndim == 4 and id(tensor) not in left:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model


def _must_be_plain(module: nn.Module) -> bool:
    """Whether PyTorch 2.15 must not be given channels last here: on a CPU its backward pass writes beyond its memory.

    That is so of strided 1×1 convolutions of fewer channels than a vector register holds: the shortcut in the stem of
    FastViT, MobileOne, RepVGG (3 channels) and of gernet_s (13), which ended the process at 224 pixels.
    """
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _ONE_VECTOR
    )


def _plain_map(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward hook: the map in the plain layout, on CPUs."""
    if inputs[0].device.type != "cpu":
        return inputs
    return (inputs[0].contiguous(), *inputs[1:])
