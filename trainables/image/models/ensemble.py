"""Several trained models that answer together, as one module: the mean of their probabilities.

The mean of probabilities (Lakshminarayanan et al. 2017, arXiv:1612.01474), not of their logarithms: one model that is
sure and wrong cannot veto all others, and of labels the mean is what a threshold means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainables.image.config import ImageConfig
from trainables.image.models.factory import normalization
from trainables.image.models.head import linear_of
from trainables.image.models.tryout import FAILURES

_SMALLEST = 1e-7
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Trained:
    """A model that takes part: in evaluation mode, with the config that it was trained with."""

    config: ImageConfig
    model: nn.Module


class Ensemble(nn.Module):
    """Squares of the largest resolution, pixels in 0…1 → what gives the mean of the members' probabilities.

    That is its logarithm, (N, classes), whose softmax it is; of labels its logit. So it stands wherever a model does.
    Members of a smaller resolution see the square made smaller, as Pillow does it. Members that differ in their last
    layer alone share the rest.

    Attributes:
        num_backbones: how many networks run for a picture.
        in_chans, pretrained_cfg: as timm's models have them.
    """

    def __init__(self, members: Sequence[Trained], multilabel: bool) -> None:
        super().__init__()
        side = max(each.config.input_resolution for each in members)
        self.multilabel = multilabel
        self.in_chans = members[0].config.num_channels
        self.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        self.parts = nn.ModuleList(_Part(group, side) for group in _sharing(members))
        self.num_backbones = len(self.parts)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, side, side) → (N, classes)."""
        logits = [one for part in self.parts for one in part(pixels)]
        each = [one.sigmoid() if self.multilabel else one.softmax(dim=-1) for one in logits]
        mean = torch.stack(each).mean(dim=0)
        if self.multilabel:
            mean = mean.clamp(_SMALLEST, 1 - _SMALLEST)
            return mean.log() - (1 - mean).log()
        return mean.clamp_min(_SMALLEST**4).log()


class _Part(nn.Module):
    """A network with one last layer, or several that share what comes before."""

    mean: Tensor
    std: Tensor
    smaller: Tensor | None

    def __init__(self, group: Sequence[Trained], side: int) -> None:
        super().__init__()
        self.model = group[0].model
        self.heads = nn.ModuleList(_linear(each.model) for each in group) if len(group) > 1 else nn.ModuleList()
        if len(group) > 1:  # the last layers are in `heads`: a further one would be counted, and written, for nothing
            _forget_classifier(self.model)
        mean, std = normalization(self.model)
        own = group[0].config.input_resolution
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        weights = torch.from_numpy(smaller_by(side, own)).float() if own != side else None
        self.register_buffer("smaller", weights, persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(N, C, side, side) → (N, classes) for each head."""
        if self.smaller is not None:
            pixels = self.smaller @ pixels @ self.smaller.T
        images = (pixels - self.mean) / self.std
        if not len(self.heads):
            return [self.model(images)]
        pooled = _pooled(self.model, images)
        return [head(pooled) for head in self.heads]


def smaller_by(side: int, smaller: int) -> npt.NDArray[np.float64]:
    """The weights (smaller, side) with which Pillow's bilinear filter makes a row of pixels smaller."""
    scale = side / smaller
    centres = (np.arange(smaller)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1 - np.abs((np.arange(side)[None] + 0.5 - centres) / scale))
    normed: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normed


def _sharing(members: Sequence[Trained]) -> list[list[Trained]]:
    """The members in groups of those whose networks are the same but for the last layer."""
    groups: list[list[Trained]] = []
    for member in members:
        for group in groups:
            if _differ_in_head_alone(group[0], member):
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def _differ_in_head_alone(one: Trained, other: Trained) -> bool:
    if one.config.input_resolution != other.config.input_resolution:
        return False
    first, second = (each.model.state_dict() for each in (one, other))
    if [(name, value.shape) for name, value in first.items()] != [
        (name, value.shape) for name, value in second.items()
    ]:
        return False
    heads = {id(parameter) for parameter in _classifier(one.model).parameters()}
    own = {name for name, parameter in one.model.named_parameters() if id(parameter) in heads}
    same = all(torch.equal(value, second[name]) for name, value in first.items() if name not in own)
    return same and _is_apart(one) and _is_apart(other)


@torch.no_grad()
def _is_apart(member: Trained) -> bool:
    """Whether a network's last layer takes just what comes before: tried on a small batch."""
    if linear_of(_classifier(member.model)) is None:
        return False
    side, channels = member.config.input_resolution, member.config.num_channels
    images = torch.randn((2, channels, side, side), generator=torch.Generator().manual_seed(0))
    try:
        apart = _linear(member.model)(_pooled(member.model, images))
        whole = member.model(images)
    except FAILURES:
        return False
    return whole.shape == apart.shape and torch.allclose(whole, apart, rtol=_TOLERANCE, atol=_TOLERANCE)


def _pooled(model: nn.Module, images: Tensor) -> Tensor:
    """What a network gives its last layer, (N, D)."""
    features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]
    return features.flatten(1)


def _classifier(model: nn.Module) -> nn.Module:
    """The last layer; of a network with two, both."""
    classifier = model.get_classifier()  # type: ignore[operator]
    return nn.ModuleList(classifier) if isinstance(classifier, tuple) else classifier


def _linear(model: nn.Module) -> nn.Linear:
    """The last layer as a linear one with the same weights."""
    found = linear_of(_classifier(model))
    assert found is not None, "it was tried"
    weight, bias = found
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer


def _forget_classifier(model: nn.Module) -> None:
    classifier = _classifier(model)
    (name,) = (name for name, module in model.named_modules() if module is classifier)
    model.set_submodule(name, nn.Identity())
