"""Nets that torchvision has and timm lacks, in timm's protocol and registered with timm.

Bodies are torchvision's own, with its names, so that its weight files fit; only the head is timm's. The one
difference: torchvision's SqueezeNet applies a ReLU to its logits before it pools them, ours pools the features first,
as all other models do.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import ClassifierHead
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn
from torchvision import models as tv

from trainables.image.models.protocol import TimmProtocol

__all__: list[str] = []  # `register_model` adds the names of the nets

_SHUFFLENETS = {
    # Channels of the stages (Ma et al. 2018, table 5).
    "shufflenet_v2_x0_5": [24, 48, 96, 192, 1024],
    "shufflenet_v2_x1_0": [24, 116, 232, 464, 1024],
    "shufflenet_v2_x1_5": [24, 176, 352, 704, 1024],
    "shufflenet_v2_x2_0": [24, 244, 488, 976, 2048],
}
_GOOGLENET_BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


class ShuffleNet(TimmProtocol, tv.ShuffleNetV2):  # type: ignore[misc]
    """ShuffleNetV2; the last 1×1 convolution counts to the last block."""

    _blocks = ((r"^conv1|^maxpool", (0,)), (r"^stage(\d+)\.(\d+)", None), (r"^conv5", (99999,)))
    published_head = "fc."

    def __init__(
        self,
        channels: list[int],
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__([4, 8, 4], channels, num_classes)
        del self.fc
        self.num_classes = num_classes
        self.num_features = channels[-1]
        _set_channels(self.conv1, 0, in_chans)
        self.head = ClassifierHead(channels[-1], num_classes, pool_type=global_pool, drop_rate=drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, num_features, H/32, W/32)`."""
        for name in ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"):
            x = getattr(self, name)(x)
        return x


class SqueezeNet(TimmProtocol, tv.SqueezeNet):  # type: ignore[misc]
    """SqueezeNet; the Fire modules are its blocks."""

    _blocks = r"^features\.(\d+)"
    published_head = "classifier."

    def __init__(
        self,
        version: str,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(version, num_classes)
        del self.classifier
        self.num_features = 512
        _set_channels(self.features, 0, in_chans)
        self.head = ClassifierHead(512, num_classes, pool_type=global_pool, drop_rate=drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, 512, H/16, W/16)`, about."""
        features: torch.Tensor = self.get_submodule("features")(x)
        return features


class GoogLeNet(TimmProtocol, tv.GoogLeNet):  # type: ignore[misc]
    """GoogLeNet without its auxiliary classifiers; the Inception modules are its blocks."""

    _blocks = ((r"^conv[123]", (0,)), *((rf"^inception{name}", (1 + i,)) for i, name in enumerate(_GOOGLENET_BLOCKS)))
    published_head = "fc."

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, global_pool: str = "avg", drop_rate: float = 0.0
    ) -> None:
        super().__init__(num_classes, aux_logits=False, transform_input=False, init_weights=True)
        del self.fc, self.avgpool, self.dropout
        self.num_classes = num_classes
        self.num_features = 1024
        _set_channels(self.conv1, "conv", in_chans)
        self.head = ClassifierHead(1024, num_classes, pool_type=global_pool, drop_rate=drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` → `(N, 1024, H/32, W/32)`."""
        before = {"3a": ("conv1", "maxpool1", "conv2", "conv3", "maxpool2"), "4a": ("maxpool3",), "5a": ("maxpool4",)}
        for name in _GOOGLENET_BLOCKS:
            for layer in (*before.get(name, ()), f"inception{name}"):
                x = getattr(self, layer)(x)
        return x


def _set_channels(parent: Any, name: str | int, channels: int) -> None:
    """Replaces a first convolution that takes three channels by one that takes another number."""
    conv = getattr(parent, str(name))
    if channels != conv.in_channels:
        options = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding")}
        changed = nn.Conv2d(channels, conv.out_channels, bias=conv.bias is not None, **options)
        setattr(parent, str(name), changed)


def _published(weights: Any, first_conv: str, centre: float | None = None) -> dict[str, Any]:
    """What timm wants to know of weights: where they are, and the images that they expect."""
    given = weights.DEFAULT.transforms()
    # GoogLeNet's weights were trained on pixels in -1…1; torchvision rescales its input instead.
    mean, std = (given.mean, given.std) if centre is None else ((centre,) * 3, (centre,) * 3)
    return {
        "url": weights.DEFAULT.url,
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "mean": tuple(mean),
        "std": tuple(std),
        "classifier": "head.fc",
        "first_conv": first_conv,
    }


default_cfgs = generate_default_cfgs(
    {
        "shufflenet_v2_x0_5.tv_in1k": _published(tv.ShuffleNet_V2_X0_5_Weights, "conv1.0"),
        "shufflenet_v2_x1_0.tv_in1k": _published(tv.ShuffleNet_V2_X1_0_Weights, "conv1.0"),
        "shufflenet_v2_x1_5.tv_in1k": _published(tv.ShuffleNet_V2_X1_5_Weights, "conv1.0"),
        "shufflenet_v2_x2_0.tv_in1k": _published(tv.ShuffleNet_V2_X2_0_Weights, "conv1.0"),
        "squeezenet1_0.tv_in1k": _published(tv.SqueezeNet1_0_Weights, "features.0"),
        "squeezenet1_1.tv_in1k": _published(tv.SqueezeNet1_1_Weights, "features.0"),
        "googlenet.tv_in1k": _published(tv.GoogLeNet_Weights, "conv1.conv", centre=0.5),
    }
)


def _shufflenet(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    model: nn.Module = build_model_with_cfg(ShuffleNet, name, pretrained, channels=_SHUFFLENETS[name], **options)
    return model


def _squeezenet(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    version = name.removeprefix("squeezenet")
    model: nn.Module = build_model_with_cfg(SqueezeNet, name, pretrained, version=version, **options)
    return model


@register_model  # type: ignore[untyped-decorator]
def shufflenet_v2_x0_5(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ShuffleNetV2 with half the channels."""
    return _shufflenet("shufflenet_v2_x0_5", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def shufflenet_v2_x1_0(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ShuffleNetV2."""
    return _shufflenet("shufflenet_v2_x1_0", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def shufflenet_v2_x1_5(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ShuffleNetV2 with one and a half times the channels."""
    return _shufflenet("shufflenet_v2_x1_5", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def shufflenet_v2_x2_0(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ShuffleNetV2 with twice the channels."""
    return _shufflenet("shufflenet_v2_x2_0", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def squeezenet1_0(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """SqueezeNet 1.0."""
    return _squeezenet("squeezenet1_0", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def squeezenet1_1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """SqueezeNet 1.1: 2.4 times less computation than 1.0."""
    return _squeezenet("squeezenet1_1", pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def googlenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GoogLeNet (Inception v1) with batch normalisation."""
    model: nn.Module = build_model_with_cfg(GoogLeNet, "googlenet", pretrained, **kwargs)
    return model
