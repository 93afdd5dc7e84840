"""What is known of models without importing timm: so that checking a sweep file stays quick.

It is what the survey found by making each model on the meta device with every pooling, at several resolutions; a test
does it again for a part of the table. Models that are not here work as well: they are tried when a file is checked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from trainables.image.config import Pooling
from trainables.image.models.survey import survey


@dataclass(frozen=True)
class ModelFacts:
    """What one model can do.

    Attributes:
        parameters: as published, with 1,000 classes.
        min_resolution: the smallest input, in pixels, that it can be trained on.
        pools_from: the smallest input, in pixels, whose last map has more than one pixel: below, kinds of pooling are
            all the same. 0: that is not so, or not known.
        poolings: that it has.
        misfits: poolings that change the shape of layers, so that published weights do not fit.
        published: whether there are published weights.
        dropout: whether it has a dropout of the rate `dropout`.
        drop_path: whether it has residual branches that `drop_path` can drop.
        num_blocks: blocks that `last_n` and `layer_lr_decay` tell apart, the head included; at least two.
        batch_norm: whether `batch_norm` chooses (nets of our own).
    """

    parameters: int = 0
    min_resolution: int = 8
    pools_from: int = 0
    poolings: tuple[Pooling, ...] = ("native", "avg", "max", "avgmax", "catavgmax", "gem")
    misfits: tuple[Pooling, ...] = ()
    published: bool = True
    dropout: bool = True
    drop_path: bool = True
    num_blocks: int = 2
    batch_norm: bool = False


OWN_NETS: dict[str, ModelFacts] = {
    "simple_cnn3": ModelFacts(222_248, 8, 16, num_blocks=4, published=False, drop_path=False, batch_norm=True),
    "cnn4": ModelFacts(550_312, 16, 32, num_blocks=5, published=False, drop_path=False, batch_norm=True),
    "cnn5_avg": ModelFacts(2_083_560, 32, 64, num_blocks=6, published=False, drop_path=False, batch_norm=True),
    # At 224 pixels. A vector has nothing to pool.
    "mlp6": ModelFacts(39_055_592, poolings=("native", "avg"), num_blocks=6, published=False, drop_path=False),
}

TORCHVISION_NETS: dict[str, ModelFacts] = {
    "shufflenet_v2_x0_5": ModelFacts(1_366_792, 8, 33, num_blocks=18, drop_path=False),
    "shufflenet_v2_x1_0": ModelFacts(2_278_604, 8, 33, num_blocks=18, drop_path=False),
    "shufflenet_v2_x1_5": ModelFacts(3_503_624, 8, 33, num_blocks=18, drop_path=False),
    "shufflenet_v2_x2_0": ModelFacts(7_393_996, 8, 33, num_blocks=18, drop_path=False),
    "squeezenet1_0": ModelFacts(1_248_424, 21, 37, num_blocks=10, drop_path=False),
    "squeezenet1_1": ModelFacts(1_235_496, 17, 33, num_blocks=10, drop_path=False),
    "googlenet": ModelFacts(6_624_904, 15, 47, num_blocks=11, drop_path=False),
}


def _surveyed() -> Iterator[tuple[str, ModelFacts]]:
    """Models of timm whose row says all: those that work on any size from their smallest on, with their weights."""
    for name, row in survey().items():
        if row["any_size"] == row["resizable"] == "1" and row["outcome"] in ("", "right"):
            yield name, facts_of(row)


def facts_of(row: Mapping[str, str]) -> ModelFacts:
    """What a row of the survey says of a model."""
    return ModelFacts(
        parameters=int(row["parameters"]),
        min_resolution=int(row["smallest_resolution"]),
        pools_from=int(row.get("pools_from") or 0),
        poolings=_poolings(row["poolings"]),
        misfits=_poolings(row["misfits"]),
        published=row["published"] == "1",
        dropout=row["dropout"] == "1",
        drop_path=row["drop_path"] == "1",
        num_blocks=int(row["num_blocks"]),
    )


def _poolings(text: str) -> tuple[Pooling, ...]:
    return tuple(kind for kind in get_args(Pooling) if kind in text.split())


MODELS: dict[str, ModelFacts] = {
    **OWN_NETS,
    **TORCHVISION_NETS,
    **dict(sorted(_surveyed(), key=lambda entry: entry[1].parameters)),
}
"""Every model that is known, the smaller before the larger."""

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
