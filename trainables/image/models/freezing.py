"""Which parameters are trained: the classifier, the last blocks, or all."""

from __future__ import annotations

from collections.abc import Collection

from timm.models import group_parameters
from timm.optim._param_groups import auto_group_layers
from torch import nn

from trainables.image.config import ImageConfig


def freeze(model: nn.Module, config: ImageConfig, head_names: Collection[str]) -> None:
    """Freezes what a configuration does not train.

    Args:
        model: in timm's protocol.
        config: `finetune` and `unfrozen_blocks` are read.
        head_names: parameters that are always trained: the classifier's, and layers that came without weights.
    """
    if config.finetune not in ("head", "last_n"):
        return
    blocks = block_numbers(model)
    # The head is a block, too, the last one; it may hold a normalisation that came with the weights.
    first = max(blocks.values()) + (1 if config.finetune == "head" else -config.unfrozen_blocks)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head_names or blocks[name] >= first)


def block_numbers(model: nn.Module) -> dict[str, int]:
    """The block of each parameter: 0 for the first layers, the highest number for the head.

    A block is what repeats in a model's body: a residual block, a transformer layer, an Inception module. timm
    knows them for most of its models; of the others it takes each dozen of parameters in a row for one, as its own
    layer-wise decay does. What is no whole model (a head alone) is one block.
    """
    if hasattr(model, "group_matcher"):
        blocks: dict[str, int] = group_parameters(model, model.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    else:
        blocks = auto_group_layers(model) if hasattr(model, "pretrained_cfg") else {}
    last = max(blocks.values(), default=0)
    return {name: blocks.get(name, last) for name, _ in model.named_parameters()}


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """Batch normalisations without anything to train, in a model that is partly frozen.

    Their running statistics would drift under `.train()`: put them into `.eval()` after it.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return []
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not any(parameter.requires_grad for parameter in module.parameters())
    ]
