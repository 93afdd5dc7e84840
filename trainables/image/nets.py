"""Our own small nets, for CPUs: registered with timm, and in timm's protocol, so that one door makes every model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

__all__: list[str] = []  # `register_model` adds the names of the nets


class _ClassifierNet(nn.Module):
    """What the nets share: a feature map `(N, C, H, W)`, then timm's head (pool, dropout, linear).

    Subclasses set `head` and write `forward_features`.
    """

    head: ClassifierHead

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """`(N, C, H, W)` → logits `(N, num_classes)`, or the pooled features with `pre_logits`."""
        result: torch.Tensor = self.head(x, pre_logits=pre_logits)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        classifier: nn.Module = self.head.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)


class SimpleCNN(_ClassifierNet):
    """Convolution 3×3, ReLU, max-pool 2×2: `num_layers` times, the channels doubling each time."""

    def __init__(
        self,
        num_layers: int = 3,
        width: int = 32,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(num_classes)
        channels = [in_chans, *(width * 2**layer for layer in range(num_layers))]
        self.features = nn.Sequential()
        for layer in range(num_layers):
            self.features.append(nn.Conv2d(channels[layer], channels[layer + 1], 3, padding=1))
            self.features.append(nn.ReLU(inplace=True))
            self.features.append(nn.MaxPool2d(2))
        self.num_features = channels[-1]
        self.head = ClassifierHead(channels[-1], num_classes, pool_type=global_pool, drop_rate=drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, num_features, H/8, W/8)` with three layers."""
        features: torch.Tensor = self.features(x)
        return features


class MLP(_ClassifierNet):
    """Linear layers on the flattened pixels; the head's linear layer is the last of `num_layers`.

    The feature map is 1×1: every pooling but catavgmax (which doubles it) leaves it as it is.
    """

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
        super().__init__(num_classes)
        height, breadth = (img_size, img_size) if isinstance(img_size, int) else img_size
        sizes = [in_chans * height * breadth] + [width] * (num_layers - 1)
        self.features = nn.Sequential(nn.Flatten())
        for size, next_size in pairwise(sizes):
            self.features.append(nn.Linear(size, next_size))
            self.features.append(nn.ReLU(inplace=True))
        self.num_features = width
        self.head = ClassifierHead(width, num_classes, pool_type=global_pool, drop_rate=drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, width, 1, 1)`."""
        features: torch.Tensor = self.features(x)
        return features[:, :, None, None]


default_cfgs = generate_default_cfgs(
    {
        "simple_cnn3": {"input_size": (3, 32, 32), "classifier": "head.fc", "first_conv": "features.0"},
        "mlp6": {"input_size": (3, 32, 32), "classifier": "head.fc", "fixed_input_size": True},
    }
)


@register_model  # type: ignore[untyped-decorator]
def simple_cnn3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Three convolutions; inputs of 8 pixels and more."""
    model: nn.Module = build_model_with_cfg(SimpleCNN, "simple_cnn3", pretrained, **{"num_layers": 3, **kwargs})
    return model


@register_model  # type: ignore[untyped-decorator]
def mlp6(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Six linear layers."""
    model: nn.Module = build_model_with_cfg(MLP, "mlp6", pretrained, **{"num_layers": 6, **kwargs})
    return model
