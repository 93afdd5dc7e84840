"""A model's classifier: what timm calls so, and the layers in it that answer for the classes."""

from __future__ import annotations

from timm.layers import ClassifierHead
from torch import nn


def classifier_parts(model: nn.Module) -> tuple[nn.Module, ...]:
    """What gives logits: one module of most models, two of distilled ones, one per branch or stage of a few.

    Of SAM and Sequencer timm gives the pooling and the dropout as well: the layer alone counts.
    """
    given = model.get_classifier()  # type: ignore[operator]
    several = given if isinstance(given, tuple) else (given,)
    parts = [part for one in several for part in (one if isinstance(one, nn.ModuleList) else (one,))]
    # VOLO adds to its answer that of a second classifier, of all patches, which timm does not call one.
    parts += filter(None, [getattr(model, "aux_head", None)])
    return tuple(part.fc if isinstance(part, ClassifierHead) else part for part in parts)


def classifier_layers(model: nn.Module) -> tuple[nn.Linear | nn.Conv2d, ...]:
    """The layers whose outputs are the classes; what comes before them in a part (a normalisation) knows none."""
    return tuple(
        layer
        for part in classifier_parts(model)
        for layer in part.modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == model.num_classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == model.num_classes)
    )


def names_of(model: nn.Module, modules: tuple[nn.Module, ...]) -> frozenset[str]:
    """The names, in the state dict, of the parameters of some of a model's modules."""
    wanted = {id(parameter) for module in modules for parameter in module.parameters()}
    return frozenset(name for name, parameter in model.named_parameters() if id(parameter) in wanted)
