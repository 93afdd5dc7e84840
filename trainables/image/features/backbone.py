"""A frozen model without its classifier, and the proof that its head can be trained apart from it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from timm.layers import SelectAdaptivePool2d
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.features.folding import folded
from trainables.image.models.factory import normalization, starting_model
from trainables.image.models.freezing import frozen_norms
from trainables.image.training.precision import chosen_precision

_TRIED_DROPOUT = 0.5
_TOLERANCE = 1e-4


class FrozenBackbone:
    """Images → pooled features, for several poolings in one pass.

    Attributes:
        device: where it computes.
        precision: `no`, `bf16` or `fp16`.
        normalization: mean and standard deviation of its input.
        num_parameters: without the classifier.
        widths: features of an example, by kind of pooling.
        names: which kind of pooling a config's `pooling` is.
    """

    def __init__(self, model: nn.Module, config: ImageConfig) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = chosen_precision(config.mixed_precision, model, config.input_resolution)
        self.normalization = normalization(model)
        classifier = model.get_classifier()  # type: ignore[operator]
        self.num_parameters = sum(one.numel() for one in model.parameters()) - sum(
            one.numel() for one in classifier.parameters()
        )
        model.to(self.device).to(memory_format=torch.channels_last).eval()
        if self.precision == "no":  # in half precision other weights are rounded otherwise
            shape = (2, config.num_channels, config.input_resolution, config.input_resolution)
            some = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
            model = folded(model, some.contiguous(memory_format=torch.channels_last))
        self._model = model
        size = config.input_resolution
        images = torch.zeros((2, config.num_channels, size, size), device=self.device)
        own = config.pooling
        pools = [module for module in model.modules() if isinstance(module, SelectAdaptivePool2d)]
        self._pools: dict[str, SelectAdaptivePool2d | None] = {own: None}
        self.names = {own: own}
        if len(pools) == 1 and pools[0].pool_type in ("avg", "max", "avgmax", "catavgmax"):
            self._place, kind = pools[0], pools[0].pool_type
            flatten = not isinstance(self._place.flatten, nn.Identity)
            self.names = {own: kind, kind: kind}
            self._pools = {kind: None}
            for other in ("avg", "max", "avgmax"):
                # catavgmax is twice as wide: some models cannot be made with it, and few trials want it.
                if other != kind and kind != "catavgmax":
                    self._pools[other] = SelectAdaptivePool2d(pool_type=other, flatten=flatten)
                    self.names[other] = other
        self.widths = {name: values.shape[1] for name, values in self(images).items()}

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """`(N, C, H, W)` → for each kind of pooling `(N, D)` float32 on the CPU."""
        results = {}
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            maps = self._model.forward_features(images)  # type: ignore[operator]
            for name, other in self._pools.items():
                if other is not None:
                    before = self._place.pool
                    self._place.pool = other.pool
                try:
                    values = self._model.forward_head(maps, pre_logits=True)  # type: ignore[operator]
                finally:
                    if other is not None:
                        self._place.pool = before
                results[name] = values.flatten(1).float().cpu().contiguous()
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
    classifier = model.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear):
        return f"the classifier of {config.model} is no single linear layer"
    trained = {id(one) for one in model.parameters() if one.requires_grad}
    if trained != {id(one) for one in classifier.parameters()}:
        return f"{config.model} with pooling {config.pooling} trains more than its classifier"
    if model.classifier_is_loaded:
        return "the weights hold a classifier for these classes, which goes on learning"
    images = torch.randn((3, config.num_channels, config.input_resolution, config.input_resolution))
    images = images.contiguous(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last).train()
    for norm in frozen_norms(model):
        norm.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = model(images)
        model.eval()
        maps = model.forward_features(images)  # type: ignore[operator]
        features = model.forward_head(maps, pre_logits=True).flatten(1)  # type: ignore[operator]
        torch.manual_seed(0)
        apart = classifier(F.dropout(features, _TRIED_DROPOUT, training=True))
    if whole.shape != apart.shape or not torch.allclose(whole, apart, rtol=_TOLERANCE, atol=_TOLERANCE):
        return f"{config.model} does more between its features and its outputs than dropout and a linear layer"
    return FrozenBackbone(model, config)
