"""Which checkpoints can be averaged: of the same network, on the same pixels, from the same start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.image.config import ImageConfig
from trainables.image.models.prepared import weights_digest
from trainables.image.models.table import timm_name


def why_no_soup(candidates: Mapping[str, Sequence[Any]]) -> str:
    """Why no two trials over these candidates have the same start; empty: some may."""

    def values(key: str) -> Sequence[Any]:
        return candidates.get(key) or (ImageConfig.model_fields[key].default,)

    without_weights = all(value == "scratch" for value in values("finetune")) or not any(values("pretrained"))
    if without_weights and values("seed") == (None,):
        return (
            "every trial begins from random weights of its own (its own seed), and the mean of such networks is none: "
            "begin from pretrained weights, or from the same random ones (fixed.seed)"
        )
    return ""


def layers(config: ImageConfig) -> str:
    """The network and what it is given."""
    parts = [
        timm_name(config.model),
        f"{config.input_resolution} px",
        f"{config.pooling} pooling",
        config.color,
        config.fit.describe(config.input_resolution),
    ]
    own = {"width": config.width, "batch_norm": config.batch_norm}
    return ", ".join([*parts, *(f"{key} {value}" for key, value in own.items() if value is not None)])


def sees(config: ImageConfig) -> str:
    """What a network is given, but for its resolution."""
    fraction = f" {config.crop_fraction:g}" if config.resize == "crop" else ""
    return f"{config.color} images, resize {config.resize}{fraction}"


def start(config: ImageConfig, seed: int, folder: Path) -> str:
    """The weights that training began from.

    Args:
        config: of the trial.
        seed: of the trial.
        folder: where `prepare` noted which weights it found.
    """
    digest = weights_digest(folder, config) if config.wants_weights else None
    if digest is None:  # random weights: they are the seed's
        return f"random weights of seed {seed if config.seed is None else config.seed}"
    return f"the weights {Path(str(config.pretrained)).name if config.weights_path else 'published'} ({digest[:12]})"
