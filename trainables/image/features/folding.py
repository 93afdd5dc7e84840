"""Folds batch normalisation of a frozen network into the convolution before it: one pass over memory less."""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_TOLERANCE = 1e-4
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)  # and no other kind of them: some change their weights on the way


@torch.no_grad()
def folded(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """The same function with fewer steps, or the model itself where it cannot be had.

    Which normalisation follows which convolution is seen by running the model. What cannot be seen (a second user of
    the convolution's output) shows in the comparison with the model as it was.

    Args:
        model: in evaluation mode.
        images: to try it on, (N, C, H, W).
    """
    other = copy.deepcopy(model)
    for convolution, norm in _pairs(other, images):
        bias = convolution.bias
        weight, shift = fuse_conv_bn_weights(
            convolution.weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight, shift
        name = next(name for name, module in other.named_modules() if module is norm)
        rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        other.set_submodule(name, rest.eval())
    before, after = (one.forward_features(images) for one in (model, other))  # type: ignore[operator]
    if not isinstance(before, torch.Tensor):
        return model  # several maps, as CoaT has
    scale = before.abs().max()
    return other if torch.allclose(before, after, rtol=_TOLERANCE, atol=float(scale) * _TOLERANCE) else model


def _pairs(model: nn.Module, images: torch.Tensor) -> list[tuple[Any, Any]]:
    """Convolutions, each with the normalisation that takes its output; both are used once."""
    outputs: dict[int, tuple[nn.Module, torch.Tensor]] = {}  # the tensors are kept, or their places would be used again
    calls: list[nn.Module] = []
    pairs: list[tuple[Any, Any]] = []

    def ran(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls.append(module)
        if type(module) in _CONVOLUTIONS:
            outputs[id(output)] = (module, output)
        elif id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], module))

    hooks = [
        module.register_forward_hook(ran) for module in model.modules() if type(module) in (*_NORMS, *_CONVOLUTIONS)
    ]
    try:
        model.forward_features(images)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(calls.count(one) == 1 for one in pair)]
