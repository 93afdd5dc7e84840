"""Batch normalisation over the parts of a batch that several processes have, on any device.

torch's own `SyncBatchNorm` is for GPUs only, and wants a module of another class in a model's place. Here the function
that every such module calls is taken over for the time of a forward pass, so that models, their checkpoints and their
copies stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class SharedBatchNorm(TorchFunctionMode):
    """Takes over batch normalisation in training mode; what is frozen or in evaluation mode it leaves alone.

    Args:
        sizes: how many examples each process has in this forward pass. One that has none gives the model some
            example all the same; it takes part, and adds nothing.
        rank: which of them this is.
    """

    def __init__(self, sizes: Sequence[int], rank: int) -> None:
        super().__init__()
        self._sizes = sizes
        self._rank = rank

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        return self._batch_norm(*args, **kwargs)

    def _batch_norm(
        self,
        images: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        # Without running statistics it is no layer of a batch but, in some nets, the standardisation of weights.
        if not training or running_mean is None or running_var is None:
            return F.batch_norm(images, running_mean, running_var, weight, bias, training, momentum, eps)
        # Known to all without asking: to wait for a GPU here would be to wait in every layer.
        own = self._sizes[self._rank]
        count = images.numel() // images.shape[1] // max(1, own) * sum(self._sizes)
        if count <= 1:
            raise ValueError("Expected more than 1 value per channel when training, over all workers of the trial")
        shares = torch.tensor(self._sizes, device=images.device, dtype=torch.float64) / sum(self._sizes)
        normalised, mean, var = _Normalise.apply(images, weight, bias, eps, shares, count, own > 0)
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (count / (count - 1))).to(running_var.dtype), momentum)
        result: torch.Tensor = normalised
        return result


class _Normalise(torch.autograd.Function):
    """(N, C, ...) normalised by the mean and the variance over all processes; also those two, (C,).

    Source: Ioffe and Szegedy 2015; statistics of parts combined as in Chan et al. 1979, which loses no digits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        shares: torch.Tensor,
        count: int,
        counts: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        values = images.float()
        own_var, own_mean = torch.var_mean(values, dim=_all_but_channels(values), correction=0)
        own = torch.stack([own_mean, own_var])
        gathered = [torch.empty_like(own) for _ in shares]
        dist.all_gather(gathered, own)
        means, variances = torch.stack(gathered, dim=1).double()
        mean = shares @ means
        var = shares @ (variances + (means - mean) ** 2)
        mean, var = mean.float(), var.float()
        normalised = F.batch_norm(values, mean, var, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(values, weight, mean, (var + eps).rsqrt())
        ctx.count, ctx.counts, ctx.has_bias = count, counts, bias is not None
        ctx.mark_non_differentiable(mean, var)
        return normalised.to(images.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        values, weight, mean, inverse = ctx.saved_tensors
        above = gradients[0].float()
        over = _all_but_channels(values)
        shape = [1, -1] + [1] * (values.ndim - 2)
        if not ctx.counts:
            above = torch.zeros_like(above)
        standard = (values - mean.view(shape)) * inverse.view(shape)
        own_sum, own_product = above.sum(over), (above * standard).sum(over)
        sums = torch.cat([own_sum, own_product])
        dist.all_reduce(sums)
        all_sum, all_product = (sums / ctx.count).split(len(mean))
        below = None
        if ctx.needs_input_grad[0]:
            scale = inverse if weight is None else inverse * weight.float()
            below = scale.view(shape) * (above - all_sum.view(shape) - standard * all_product.view(shape))
            if not ctx.counts:
                below = torch.zeros_like(below)
            below = below.to(gradients[0].dtype)
        # Of weight and bias each process gives its own share: gradients of parameters are added up later.
        return below, None if weight is None else own_product, own_sum if ctx.has_bias else None, None, None, None, None


def _all_but_channels(values: torch.Tensor) -> list[int]:
    return [axis for axis in range(values.ndim) if axis != 1]
