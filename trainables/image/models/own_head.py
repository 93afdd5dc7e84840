"""Heads that are more than one linear layer: two classifiers of a distilled net, a normalisation before a classifier.

They are taken out of the model itself; what they are given is stored, each of several different inputs once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from trainables.image.models.classifiers import classifier_parts

_MIXED = ("weights", "weights_dist")
"""EfficientViM's, a softmax of which says how much each stage's classifier counts."""


@dataclass(frozen=True)
class Layout:
    """What of stored features goes where.

    Attributes:
        inputs: the width of each different input that the model gives to its classifiers, in order.
        reads: of each classifier, which of these it takes.
        drops: whether the model has its dropout before its classifiers, and not in them.
    """

    inputs: tuple[int, ...]
    reads: tuple[int, ...]
    drops: bool


class OwnHead(nn.Module):
    """A model's own classifiers: stored features `(N, D)` → logits `(N, classes)`, the mean of what these say.

    EfficientViM's are weighted, with weights that are trained as well.
    """

    def __init__(self, model: nn.Module, layout: Layout, dropout: float) -> None:
        """Args:
        model: that the classifiers are taken from, with what the weights brought for them.
        layout: of the features.
        dropout: of the features.
        """
        super().__init__()
        parts = classifier_parts(model)
        self.parts = nn.ModuleList(copy.deepcopy(part) for part in parts)
        self.mixed = nn.ParameterDict({name: copy.deepcopy(getattr(model, name)) for name in mixed_names(model)})
        self.num_classes = model.num_classes
        self._layout = layout
        self._dropout = dropout if layout.drops else 0.0
        # What `parameter_groups` reads of a whole model, too.
        trained_as_head: frozenset[str] = model.head_names  # type: ignore[assignment]
        named = {id(value): name for name, value in model.named_parameters()}
        self.head_names = frozenset(
            f"parts.{number}.{name}"
            for number, part in enumerate(parts)
            for name, value in part.named_parameters()
            if named[id(value)] in trained_as_head
        )
        self.classifier_is_loaded = bool(model.classifier_is_loaded)

    def get_classifier(self) -> nn.ModuleList:
        """As timm's models have it."""
        return self.parts

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inputs = [
            F.dropout(one, self._dropout, self.training)
            for one in torch.split(features, list(self._layout.inputs), dim=1)
        ]
        said = torch.stack(
            [part(inputs[reads]) for part, reads in zip(self.parts, self._layout.reads, strict=True)], dim=1
        )
        if not self.mixed:
            return said.mean(dim=1)
        shares = torch.cat([self.mixed[name].softmax(-1) for name in self.mixed]) / len(self.mixed)
        return (said * shares[:, None]).sum(dim=1)


def mixed_names(model: nn.Module) -> tuple[str, ...]:
    """The parameters that weigh a model's classifiers."""
    several = len(classifier_parts(model)) > 1
    return tuple(name for name in _MIXED if several and isinstance(getattr(model, name, None), nn.Parameter))


def inputs_of(model: Any, maps: Any) -> tuple[list[torch.Tensor], tuple[int, ...]]:
    """What a model gives to its classifiers: the different inputs `(N, D)`, and which of them each takes."""
    taken: dict[int, torch.Tensor] = {}
    parts = classifier_parts(model)
    hooks = [
        part.register_forward_pre_hook(lambda _, given, number=number: taken.__setitem__(number, given[0]))
        for number, part in enumerate(parts)
    ]
    try:
        model.forward_head(maps)
    finally:
        for hook in hooks:
            hook.remove()
    different: list[torch.Tensor] = []
    reads = []
    for number in range(len(parts)):
        same = (place for place, one in enumerate(different) if one is taken[number])
        place = next(same, len(different))
        if place == len(different):
            different.append(taken[number])
        reads.append(place)
    return different, tuple(reads)


def layout_of(model: nn.Module, maps: Any, dropout: float) -> Layout | None:
    """The layout of a model that was made with this dropout; None where its classifiers do not take vectors."""
    inputs, reads = inputs_of(model, maps)
    if any(one.ndim != 2 for one in inputs):
        return None
    within = any(
        isinstance(module, nn.Dropout) and module.p == dropout
        for part in classifier_parts(model)
        for module in part.modules()
    )
    return Layout(tuple(one.shape[1] for one in inputs), reads, not within)


def load_own_head(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Puts the weights of a trained `OwnHead` into the model that it is of."""
    own = {f"parts.{number}": part for number, part in enumerate(classifier_parts(model))}
    for name, part in own.items():
        start = f"{name}."
        part.load_state_dict({k.removeprefix(start): value for k, value in weights.items() if k.startswith(start)})
    with torch.no_grad():
        for name in mixed_names(model):
            getattr(model, name).copy_(weights[f"mixed.{name}"])
