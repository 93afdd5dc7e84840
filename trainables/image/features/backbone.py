"""A frozen model without its classifier, and the proof that its head can be trained apart from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import SelectAdaptivePool2d
from torch import nn

from trainables.image.compute.device import compute_device
from trainables.image.compute.precision import chosen_precision
from trainables.image.config import ImageConfig
from trainables.image.features.folding import folded
from trainables.image.models.classifiers import classifier_parts
from trainables.image.models.factory import build_model, normalization, starting_model
from trainables.image.models.freezing import frozen_norms
from trainables.image.models.head import linear_of
from trainables.image.models.layout import channels_last
from trainables.image.models.own_head import Layout, OwnHead, inputs_of, layout_of, mixed_names
from trainables.image.models.tryout import FAILURES

_TRIED_DROPOUT = 0.5
_TOLERANCE = 1e-4
# catavgmax is twice as wide: some models cannot be made with it, and few trials want it.
_OTHER_POOLINGS = ("avg", "max", "avgmax")


class FrozenBackbone:
    """Images → pooled features, for several poolings in one pass.

    Attributes:
        device: where it computes.
        precision: `no`, `bf16` or `fp16`.
        normalization: mean and standard deviation of its input.
        num_parameters: without the classifier.
        widths: features of an example, by kind of pooling.
        names: which kind of pooling a config's `pooling` is.
        layout: of the features of a head that is more than one linear layer; None of a linear one.
    """

    def __init__(self, model: nn.Module, config: ImageConfig, layout: Layout | None = None) -> None:
        self.device = compute_device()
        self.precision = chosen_precision(config.mixed_precision, model, config.input_resolution)
        self.normalization = normalization(model)
        self.layout = layout
        apart = {id(one) for one in _head_parameters(model)}
        self.num_parameters = sum(one.numel() for one in model.parameters() if id(one) not in apart)
        channels_last(model.to(self.device)).eval()
        shape = (2, config.num_channels, config.input_resolution, config.input_resolution)
        some = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        some = some.contiguous(memory_format=torch.channels_last)
        place = _pooling_of(model)
        self._place = place[0] if place else None
        self._pools: dict[str, nn.Module | None] = {config.pooling: None}
        self.names: dict[str, str] = {config.pooling: config.pooling}
        if layout is None and place and place[1].pool_type in (*_OTHER_POOLINGS, "catavgmax"):
            own = place[1].pool_type
            self._pools = {own: place[1], **_other_pools(model, config, own, some)}
            self.names = {kind: kind for kind in self._pools} | {config.pooling: own}
        if self.precision == "no":  # in half precision other weights are rounded otherwise
            model = folded(model, some)
        self._model = model
        self.widths = {name: values.shape[1] for name, values in self(some).items()}

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """`(N, C, H, W)` → for each kind of pooling `(N, D)` float32 on the CPU."""
        results = {}
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            maps = self._model.forward_features(images)  # type: ignore[operator]
            for name, pool in self._pools.items():
                if self.layout is None:
                    values = _pooled(self._model, maps, self._place, pool)
                else:
                    values = _given(self._model, maps, self.layout)
                results[name] = values.float().cpu().contiguous()
        return results


def backbone_of(config: ImageConfig, num_classes: int, weights: Path) -> FrozenBackbone | str:
    """The frozen part of a model; or in words why its head cannot be trained apart from it.

    It is tried out: a small batch goes through the whole model as it trains, with dropout, and through backbone and
    head with the same random numbers.

    Args:
        config: of the trial.
        num_classes: outputs of the classifier.
        weights: to start from.
    """
    model = starting_model(config.model_copy(update={"dropout": _TRIED_DROPOUT}), num_classes, weights)
    parts = classifier_parts(model)
    linear = linear_of(parts[0]) if len(parts) == 1 else None
    if more := _trained_beside(model):
        return f"{config.model} with pooling {config.pooling} trains more than its classifier: {', '.join(more)}"
    if model.classifier_is_loaded:
        return "the weights hold a classifier for these classes, which goes on learning"
    images = torch.randn((3, config.num_channels, config.input_resolution, config.input_resolution))
    images = images.contiguous(memory_format=torch.channels_last)
    channels_last(model).train()
    for norm in frozen_norms(model):
        norm.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = model(images)
        model.eval()
        try:
            maps = model.forward_features(images)  # type: ignore[operator]
            layout = layout_of(model, maps, _TRIED_DROPOUT) if linear is None else None
            features = _given(model, maps, layout)
        except FAILURES:
            return f"{config.model} gives its head more than one map of features"
        torch.manual_seed(0)
        if linear is not None:
            apart = F.linear(F.dropout(features, _TRIED_DROPOUT, training=True), *linear)
        elif layout is not None:
            apart = OwnHead(model, layout, _TRIED_DROPOUT).train()(features)
        else:
            return f"{config.model} gives a classifier more than one vector of features per image"
    if whole.shape != apart.shape or not torch.allclose(whole, apart, rtol=_TOLERANCE, atol=_TOLERANCE):
        return f"{config.model} does more between its features and its outputs than dropout and its classifier"
    return FrozenBackbone(model, config, layout)


def _trained_beside(model: nn.Module) -> list[str]:
    """The layers beside the head that are trained, too."""
    head = {id(parameter) for parameter in _head_parameters(model)}
    names = [name for name, one in model.named_parameters() if one.requires_grad and id(one) not in head]
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those of a model that its head takes with it."""
    own = [parameter for part in classifier_parts(model) for parameter in part.parameters()]
    return [*own, *(getattr(model, name) for name in mixed_names(model))]


def _given(model: nn.Module, maps: Any, layout: Layout | None) -> torch.Tensor:
    """What a model gives its head, (N, D): one vector, or the different ones side by side."""
    return _pooled(model, maps) if layout is None else torch.cat(inputs_of(model, maps)[0], dim=1)


def _pooled(model: Any, maps: torch.Tensor, place: str | None = None, pool: nn.Module | None = None) -> torch.Tensor:
    """What a model gives its classifier, (N, D); with another pooling in the place of its own."""
    before = model.get_submodule(place) if place is not None and pool is not None else None
    if before is not None:
        model.set_submodule(place, pool)
    try:
        values: torch.Tensor = model.forward_head(maps, pre_logits=True)
    finally:
        if before is not None:
            model.set_submodule(place, before)
    return values.flatten(1)


def _pooling_of(model: nn.Module) -> tuple[str, SelectAdaptivePool2d] | None:
    """The one place where a model pools its map, and what it does there."""
    found = [(name, one) for name, one in model.named_modules() if isinstance(one, SelectAdaptivePool2d)]
    return found[0] if len(found) == 1 else None


def _other_pools(model: nn.Module, config: ImageConfig, own: str, images: torch.Tensor) -> dict[str, nn.Module]:
    """Poolings that can stand in the place of a model's own.

    Each is taken from the same model made with it, so that it fits the map's format, and kept if that model's head
    gives the same with it as this one's. That model costs no memory: its weights are this one's.
    """
    if own == "catavgmax":
        return {}
    place, num_classes = _pooling_of(model), int(model.num_classes)  # type: ignore[arg-type]
    assert place is not None
    pools = {}
    with torch.no_grad():
        maps = model.forward_features(images)  # type: ignore[operator]
    for kind in (kind for kind in _OTHER_POOLINGS if kind != own):
        try:
            with torch.device("meta"):
                other = build_model(config.model_copy(update={"pooling": kind}), num_classes)
            other.load_state_dict(model.state_dict(), assign=True)
            there = _pooling_of(other.eval())
            if there is None:
                continue
            with torch.no_grad():
                wanted, got = _pooled(other, maps), _pooled(model, maps, place[0], there[1])
        except FAILURES:
            continue  # a head that is another one with this pooling
        if wanted.shape == got.shape and torch.equal(wanted, got):
            pools[kind] = there[1]
    return pools
