"""Our own small nets, for CPUs: registered with timm, and in timm's protocol, so that one door makes every model."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from trainables.image.models.protocol import HiddenHead, TimmProtocol

__all__: list[str] = []  # `register_model` adds the names of the nets


class SimpleCNN(TimmProtocol):
    """Blocks of convolution 3×3, ReLU and 2×2 pooling, the channels doubling with each.

    Max pooling comes before ReLU: the two may change places.
    """

    _blocks = r"^features\.(\d+)"

    def __init__(
        self,
        num_layers: int = 3,
        width: int = 32,
        batch_norm: bool = False,
        pool_layer: type[nn.Module] = nn.MaxPool2d,
        hidden: int | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        """Args:
        num_layers: convolutions.
        width: channels after the first one.
        batch_norm: between each convolution and its ReLU.
        pool_layer: what halves height and width after each.
        hidden: units of a hidden layer in the head; None for none.
        num_classes: outputs.
        in_chans: channels of the images.
        global_pool: how the last map becomes one vector.
        drop_rate: before the last layer.
        """
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential()
        channels = [in_chans, *(width * 2**layer for layer in range(num_layers))]
        for before, after in pairwise(channels):
            block = nn.Sequential(OrderedDict(conv=nn.Conv2d(before, after, 3, padding=1)))
            if batch_norm:
                block.add_module("norm", nn.BatchNorm2d(after))
            steps = [("act", nn.ReLU(inplace=True)), ("pool", pool_layer(2))]
            if pool_layer is nn.MaxPool2d:
                steps.reverse()  # gives the same, gradients included, and ReLU has a quarter of the values to look at
            for name, step in steps:
                block.add_module(name, step)
            self.features.append(block)
        self.num_features = channels[-1]
        options = {"pool_type": global_pool, "drop_rate": drop_rate}
        self.head = (
            HiddenHead(channels[-1], num_classes, hidden, **options)
            if hidden
            else ClassifierHead(channels[-1], num_classes, **options)
        )

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, num_features, H/8, W/8)` with three layers."""
        features: torch.Tensor = self.features(x)
        return features


class MLP(TimmProtocol):
    """Linear layers on the flattened pixels; the head's linear layer is the last of `num_layers`.

    The feature map is 1×1, so that there is nothing to pool, and no kind of pooling to choose.
    """

    _blocks = r"^features\.(\d+)"

    def __init__(
        self,
        num_layers: int = 6,
        width: int = 256,
        img_size: int | tuple[int, int] = 32,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if global_pool != "avg":
            raise ValueError(f"it has no map to pool: {global_pool} would be the same as native")
        self.num_classes = num_classes
        height, breadth = (img_size, img_size) if isinstance(img_size, int) else img_size
        sizes = [in_chans * height * breadth] + [width] * (num_layers - 1)
        self.features = nn.Sequential(nn.Flatten())
        for size, next_size in pairwise(sizes):
            self.features.append(nn.Linear(size, next_size))
            self.features.append(nn.ReLU(inplace=True))
        self.num_features = width
        self.head = ClassifierHead(width, num_classes, pool_type=global_pool, drop_rate=drop_rate)
        self.head.global_pool.pool = nn.Identity()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, width, 1, 1)`."""
        features: torch.Tensor = self.features(x)
        return features[:, :, None, None]


_CNN = {"input_size": (3, 32, 32), "classifier": "head.fc", "first_conv": "features.0.conv"}

default_cfgs = generate_default_cfgs(
    {
        "simple_cnn3": _CNN,
        "cnn4": _CNN,
        "cnn5_avg": _CNN,
        "mlp6": {"input_size": (3, 32, 32), "classifier": "head.fc", "fixed_input_size": True},
    }
)


def _build(kind: type[nn.Module], name: str, options: dict[str, Any]) -> nn.Module:
    model: nn.Module = build_model_with_cfg(kind, name, **options)
    return model


@register_model  # type: ignore[untyped-decorator]
def simple_cnn3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Three convolutions; inputs of 8 pixels and more."""
    return _build(SimpleCNN, "simple_cnn3", {"pretrained": pretrained, "num_layers": 3, **kwargs})


@register_model  # type: ignore[untyped-decorator]
def cnn4(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Four convolutions and two linear layers, with dropout between these; inputs of 16 pixels and more."""
    return _build(SimpleCNN, "cnn4", {"pretrained": pretrained, "num_layers": 4, "hidden": 128, **kwargs})


@register_model  # type: ignore[untyped-decorator]
def cnn5_avg(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Five convolutions with batch normalisation, average pooling after each; inputs of 32 pixels and more."""
    fixed = {"num_layers": 5, "batch_norm": True, "pool_layer": nn.AvgPool2d}
    return _build(SimpleCNN, "cnn5_avg", {"pretrained": pretrained, **fixed, **kwargs})


@register_model  # type: ignore[untyped-decorator]
def mlp6(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Six linear layers."""
    return _build(MLP, "mlp6", {"pretrained": pretrained, "num_layers": 6, **kwargs})
