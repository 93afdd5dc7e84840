"""What is known of well-known models without importing timm: so that checking a sweep file stays quick.

Found by making each model on the meta device with every pooling and resolution; a test does it again for a
part of the table. Models that are not here work as well: they are tried out when the sweep file is checked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trainables.image.config import Pooling
from trainables.image.models.blocks import NUM_BLOCKS

_MAPS: tuple[Pooling, ...] = ("native", "avg", "max", "avgmax")
_ALL: tuple[Pooling, ...] = (*_MAPS, "catavgmax", "gem")


@dataclass(frozen=True)
class ModelFacts:
    """What one model can do.

    Attributes:
        min_resolution: the smallest input, in pixels, that it can be trained on.
        poolings: that it has.
        misfits: poolings that change the shape of layers, so that published weights do not fit.
        published: whether there are published weights.
        dropout: whether it has a dropout of the rate `dropout`.
        drop_path: whether it has residual branches that `drop_path` can drop.
        num_blocks: blocks that `last_n` and `layer_lr_decay` tell apart, the head included; at least two.
        batch_norm: whether `batch_norm` chooses (nets of our own).
    """

    min_resolution: int = 8
    poolings: tuple[Pooling, ...] = _ALL
    misfits: tuple[Pooling, ...] = ()
    published: bool = True
    dropout: bool = True
    drop_path: bool = True
    num_blocks: int = 2
    batch_norm: bool = False


_PLAIN = ModelFacts()
# Pooling stands before their last convolution: twice the channels do not fit its weights.
_POOLED_EARLY = ModelFacts(misfits=("catavgmax",))
# A normalisation of as many channels as the map has follows their pooling.
_ONE_VECTOR: tuple[Pooling, ...] = (*_MAPS, "gem")
_CONVNEXT = ModelFacts(min_resolution=32, poolings=_ONE_VECTOR)
# Channels last: gem is for maps (N, C, H, W).
_SWIN = ModelFacts(poolings=(*_MAPS, "catavgmax"))
_VIT_16 = ModelFacts(min_resolution=16, poolings=(*_MAPS, "token", "map"))


def _alike(facts: ModelFacts, names: str) -> dict[str, ModelFacts]:
    return dict.fromkeys(names.split(), facts)


OWN_NETS: dict[str, ModelFacts] = {
    "simple_cnn3": ModelFacts(published=False, drop_path=False, batch_norm=True),
    "cnn4": ModelFacts(16, published=False, drop_path=False, batch_norm=True),
    "cnn5_avg": ModelFacts(32, published=False, drop_path=False, batch_norm=True),
    "mlp6": ModelFacts(published=False, drop_path=False),
}

TORCHVISION_NETS: dict[str, ModelFacts] = {
    **_alike(
        ModelFacts(drop_path=False), "shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0"
    ),
    "squeezenet1_0": ModelFacts(21, drop_path=False),
    "squeezenet1_1": ModelFacts(17, drop_path=False),
    "googlenet": ModelFacts(15, drop_path=False),
}

MODELS: dict[str, ModelFacts] = {
    **OWN_NETS,
    **TORCHVISION_NETS,
    **_alike(
        _PLAIN,
        """
        resnet10t resnet14t resnet18 resnet18d resnet26 resnet26d resnet34 resnet50 resnet50d resnet101 resnet152
        wide_resnet50_2 resnext50_32x4d resnetv2_50 seresnet50 res2net50_26w_4s cspresnet50 darknet53 cspdarknet53
        regnetx_002 regnetx_004 regnetx_008 regnety_002 regnety_004 regnety_008
        mobilenetv2_050 mobilenetv2_100 mobilenetv2_140 mobileone_s0 mnasnet_100 semnasnet_100 fbnetc_100 mixnet_s
        tinynet_a tinynet_e repvgg_a0 mobilevit_xxs mobilevit_xs mobilevit_s fastvit_t8
        efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_lite0 efficientnetv2_rw_t
        tf_efficientnet_b0 tf_efficientnet_lite0 tf_efficientnetv2_b0 tf_efficientnetv2_s
        """,
    ),
    **_alike(_SWIN, "swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swin_base_patch4_window7_224"),
    **_alike(
        _POOLED_EARLY,
        """
        mobilenetv3_small_050 mobilenetv3_small_075 mobilenetv3_small_100 mobilenetv3_large_100
        mobilenetv4_conv_small mobilenetv4_conv_medium hardcorenas_a
        """,
    ),
    **_alike(ModelFacts(misfits=("catavgmax",), drop_path=False), "lcnet_050 lcnet_100"),
    "mobilenetv3_large_075": ModelFacts(published=False),
    "ghostnet_100": ModelFacts(poolings=_ONE_VECTOR, drop_path=False),
    "poolformer_s12": ModelFacts(poolings=_ONE_VECTOR),
    **_alike(
        _CONVNEXT,
        """
        convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small convnext_base
        convnextv2_atto convnextv2_tiny edgenext_xx_small
        """,
    ),
    **_alike(
        _VIT_16,
        """
        vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 vit_large_patch16_224
        deit_tiny_patch16_224 deit_small_patch16_224 deit3_small_patch16_224
        """,
    ),
    "vit_base_patch32_224": replace(_VIT_16, min_resolution=32),
    **_alike(ModelFacts(29, drop_path=False), "densenet121 densenet169 densenet201"),
    **_alike(ModelFacts(32, drop_path=False), "vgg11 vgg11_bn vgg16 vgg16_bn vgg19"),
    **_alike(ModelFacts(75, drop_path=False), "inception_v3 inception_v4"),
}

MODELS = {name: replace(facts, num_blocks=NUM_BLOCKS[name]) for name, facts in MODELS.items()}

ALIASES: dict[str, str] = {
    # torchvision's name → timm's name of the same net.
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mnasnet1_0": "mnasnet_100",
    "regnet_x_400mf": "regnetx_004",
    "regnet_x_800mf": "regnetx_008",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_800mf": "regnety_008",
    "efficientnet_v2_s": "tf_efficientnetv2_s",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
}


def timm_name(model: str) -> str:
    """timm's name of a model that may be given by torchvision's."""
    return ALIASES.get(model, model)


def nearest(model: str, names: Iterable[str]) -> list[str]:
    """Up to three known names that look like a misspelt one, the best first."""
    return difflib.get_close_matches(model.lower(), list(names), n=3, cutoff=0.6)
