"""Pictures as vectors: by a pretrained net that is at hand, or by their colours and edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.errors import TrainableError
from trainables.image.config import ImageConfig

_LARGEST = 128  # pixels: enough to tell classes apart, and a third of the cost of 224
_PLAIN = 64
_CELLS, _ANGLES, _LEVELS = 4, 8, 4

Squares = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Embedding:
    """A way to make vectors.

    Attributes:
        name: in words.
        side: of the squares that it takes.
        compute: (B, side, side, 3) uint8 → (B, D).
    """

    name: str
    side: int
    compute: Callable[[Squares], Vectors]


def choose_embedding(candidates: Mapping[str, Sequence[Any]]) -> Embedding:
    """The smallest of the sweep's nets whose weights are on this machine; without one, colours and edges.

    Args:
        candidates: every value of each config key.
    """
    from trainables.image.models.sizes import num_values

    def values(key: str) -> list[Any]:
        return list(candidates.get(key) or [ImageConfig.model_fields[key].default])

    nets = [(num_values(str(model), _LARGEST) or 0, str(model)) for model in values("model")]
    for _, model in sorted(nets):
        for pretrained in values("pretrained"):
            resolution = min(_LARGEST, max(map(int, values("input_resolution"))))
            found = _net(model, pretrained, resolution) if pretrained else None
            if found is not None:
                return found
    name = "colours and edges (no pretrained weights of the sweep's models are on this machine)"
    return Embedding(name, _PLAIN, colours_and_edges)


def _net(model: str, pretrained: bool | str, side: int) -> Embedding | None:
    import torch

    from trainables.image.batches.feed import Feed
    from trainables.image.features.backbone import backbone_of
    from trainables.image.models.table import timm_name
    from trainables.image.models.weights import at_hand

    weights = at_hand(pretrained, timm_name(model))
    if weights is None:
        return None
    config = ImageConfig(model=model, pretrained=str(weights), finetune="head", input_resolution=side)
    try:
        backbone = backbone_of(config, 2, weights)
    except (TrainableError, ValueError, RuntimeError):
        return None  # not this model's weights, or a smallest size above ours: the check of the sweep says it
    if isinstance(backbone, str):
        return None

    def compute(squares: Squares) -> Vectors:
        feed = Feed(_Given(squares), backbone.device, *backbone.normalization)
        parts = [backbone(images)[backbone.names["native"]] for images in feed.batches(np.arange(len(squares)), 16)]
        vectors: Vectors = torch.cat(parts).numpy()
        return vectors

    return Embedding(f"{model} ({Path(weights).name}), {side} px", side, compute)


@dataclass(frozen=True)
class _Given:
    squares: Squares

    def gather(self, rows: npt.NDArray[np.int64]) -> Squares:
        return self.squares[rows]


def colours_and_edges(squares: Squares) -> Vectors:
    """How much there is of each colour, and of edges of each direction in each part of a picture, (B, 192).

    Square roots of shares, so that Euclidean distances are Hellinger's.
    """
    levels = (squares // (256 // _LEVELS)).astype(np.int64)
    bins = (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]
    grey = squares.mean(axis=3, dtype=np.float32)
    down, across = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, across)
    angle = (np.arctan2(down, across) % np.pi / np.pi * _ANGLES).astype(np.int64).clip(0, _ANGLES - 1)
    places = np.arange(squares.shape[1]) * _CELLS // squares.shape[1]
    cell = (places[:, np.newaxis] * _CELLS + places) * _ANGLES
    vectors = []
    for colours, edges, weights in zip(bins, angle + cell, strength, strict=True):
        of_colours = np.bincount(colours.ravel(), minlength=_LEVELS**3)
        of_edges = np.bincount(edges.ravel(), weights.ravel(), minlength=_CELLS**2 * _ANGLES)
        vectors.append(np.concatenate([of_colours / of_colours.sum(), of_edges / max(of_edges.sum(), 1e-9)]))
    return np.asarray(np.sqrt(np.array(vectors)), dtype=np.float32)
