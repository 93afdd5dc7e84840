"""Builds every model through `timm.create_model`: timm's own, torchvision's and ours alike."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import RelPosMlp
from torch import nn

from trainables.errors import TrainableError, WeightsError
from trainables.image.config import ImageConfig
from trainables.image.models import nets, torchvision_nets  # they register their nets with timm
from trainables.image.models.classifiers import classifier_layers, classifier_parts, names_of
from trainables.image.models.freezing import freeze
from trainables.image.models.gem import use_gem
from trainables.image.models.table import OWN_NETS, TORCHVISION_NETS, timm_name
from trainables.image.models.weights import StateDict, differences, local_weights, published_weights, read_weights

FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError, ArithmeticError)
"""What models raise of settings that they cannot do."""
_RATES = ("drop_rate", "drop_path_rate")
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")

assert set(OWN_NETS) == set(nets.__all__), "the table of models knows every net of ours"
assert set(TORCHVISION_NETS) == set(torchvision_nets.__all__), "the table knows every net of torchvision"


def build_model(config: ImageConfig, num_classes: int) -> nn.Module:
    """Makes a model with random weights, in timm's protocol: `forward_features`, `forward_head`, ...

    Args:
        config: model, pooling, input_resolution, color, dropout, drop_path, width and batch_norm are read.
        num_classes: outputs of the classifier.

    Returns:
        A model of images `(N, C, H, W)`, normalised as `normalization` says → logits `(N, num_classes)`.

    Raises:
        TrainableError: the model cannot be made so; `ImageClassifier.check` says so before anything starts.
    """
    name = timm_name(config.model)
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": config.num_channels}
    if config.pooling != "native":
        options["global_pool"] = "avg" if config.pooling == "gem" else config.pooling
    # 0 is said, too: left out, the default of the model's family would apply, and that is not 0 for all of them.
    options |= {"drop_rate": config.dropout, "drop_path_rate": config.drop_path}
    if name.startswith("cpubone_"):  # the rate of its attention, 0.1 if left out
        options["proj_drop_rate"] = 0.0
    if name in OWN_NETS and config.width is not None:
        options["width"] = config.width
    if OWN_NETS.get(name) and OWN_NETS[name].batch_norm and config.batch_norm is not None:
        options["batch_norm"] = config.batch_norm
    source = timm.models.get_pretrained_cfg(name)
    if source is not None and source.fixed_input_size:
        options["img_size"] = config.input_resolution
    return _create(name, options, config)


def starting_model(config: ImageConfig, num_classes: int, weights: Path | None = None) -> nn.Module:
    """Makes the model that training starts from: with its weights, and with what is not trained frozen.

    Its attribute `head_names` holds the names of the parameters that are new to it: the classifier's, and those of
    layers that the weights had nothing for. `classifier_is_loaded` says whether the weights brought a classifier.

    Args:
        config: one configuration.
        num_classes: outputs of the classifier.
        weights: the file that `find_weights` found; None for random weights.

    Raises:
        WeightsError: the file cannot be read or is of another model.
    """
    model = build_model(config, num_classes)
    fresh: frozenset[str] = frozenset()
    if weights is not None:
        model, fresh = with_weights(model, config, read_weights(weights), str(weights))
    model.head_names = fresh | names_of(model, classifier_parts(model))  # type: ignore[assignment]
    model.classifier_is_loaded = weights is not None and not _layer_names(model) <= fresh  # type: ignore[assignment]
    freeze(model, config, model.head_names)  # type: ignore[arg-type]
    return model


def find_weights(config: ImageConfig) -> Path | None:
    """The weight file that a configuration starts from: a local one, or the published one (fetched if need be).

    Returns:
        None when it starts from random weights: asked for, or nobody has published weights for the model.

    Raises:
        WeightsError: there is no such file, or it cannot be fetched.
    """
    if not config.wants_weights:
        return None
    name = timm_name(config.model)
    return local_weights(config.weights_path, name) if config.weights_path else published_weights(name)


def normalization(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each input channel, for pixels in 0…1.

    They are those of the model's published weights, ImageNet's when it has none; of a grayscale model, the
    mean over the three channels.
    """
    source: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    mean, std = tuple(map(float, source["mean"])), tuple(map(float, source["std"]))
    if getattr(model, "in_chans", 3) == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return mean, std


def _create(name: str, options: dict[str, Any], config: ImageConfig) -> nn.Module:
    try:
        model = _made(name, options)
        if hasattr(model, "get_classifier"):
            return _finished(model, config)
    except FAILURES as error:
        raise TrainableError(f"the model {name} cannot be made with {options}: {error}") from error
    whole = name.partition(".")[0].removesuffix("_enc")
    other = f"; {whole} is the net with one" if whole != name and timm.is_model(whole) else ""
    raise TrainableError(f"{name} is an encoder: it has no classifier{other}")


def _made(name: str, options: dict[str, Any]) -> nn.Module:
    """timm's model; a rate of 0 that it has no argument for is left out: it has nothing to switch off."""
    try:
        made: nn.Module = timm.create_model(name, **options)
    except TypeError as error:
        unknown = [key for key in _RATES if options.get(key) == 0.0 and f"'{key}'" in str(error)]
        if not unknown:
            raise
        for key in unknown:
            del options[key]
        return _made(name, options)
    return made


def _finished(model: nn.Module, config: ImageConfig) -> nn.Module:
    """Gives the classifier PyTorch's usual weights, puts in a pooling that timm lacks, and notes the channels."""
    # timm draws a new classifier of the EfficientNet and MobileNet families from ±1/√classes (meant for 1000): with
    # five classes the first loss is near 9 instead of 1.6, and fine-tuning spends its epochs on undoing that.
    for layer in classifier_layers(model):
        layer.reset_parameters()
    for module in model.modules():
        # The MLPs of relative positions (Swin V2 CR, ViT relpos) drop an eighth, which no argument of timm's changes.
        mlp = module.mlp if isinstance(module, RelPosMlp) else getattr(module, "meta_mlp", None)
        if mlp is not None:
            mlp.drop1.p = 0.0
    if config.pooling == "gem":
        use_gem(model)
    model.in_chans = config.num_channels  # type: ignore[assignment]
    return model


def with_weights(
    model: nn.Module, config: ImageConfig, weights: StateDict, source: str
) -> tuple[nn.Module, frozenset[str]]:
    """The model with weights, adapted where they were published for other channels, resolution or pooling.

    Args:
        model: that `build_model` made.
        config: that it was made with.
        weights: a state dict; on the meta device, as the model then is, it is tried whether they fit.
        source: where they are from, for messages.

    Returns:
        Also the names of the parameters that the weights have nothing for.

    Raises:
        WeightsError: they are of another model, or cannot be adapted.
    """
    # Auxiliary classifiers of a published model (inception_v3) are of no use here, nor is a head that is not timm's.
    useless = (*_AUXILIARY, *filter(None, [getattr(model, "published_head", None)]))
    weights = {name: value for name, value in weights.items() if not name.startswith(useless)}
    own = model.state_dict()
    classifier = _layer_names(model)
    if not differences(weights, own, ignore=classifier):
        # Weights of just this model, pooling included: saved by an earlier trial, or nothing differs.
        kept = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
        model.load_state_dict(kept, strict=False)
        return model, frozenset(own) - frozenset(kept)

    name = timm_name(config.model)
    with torch.device("meta"):
        published = timm.create_model(name)
    wrong = differences(weights, published.state_dict(), ignore=_layer_names(published))
    if wrong:
        raise WeightsError(
            f"{source}: these are not the weights of {config.model}: {'; '.join(wrong)}. "
            f"Give a state dict of timm's {name}, or choose the model of the file"
        )
    # The weights are the model's, but channels, resolution or pooling are not those it was published with:
    # timm knows how to adapt each of its models (first convolution, position embedding, ...).
    weights = {name: value for name, value in weights.items() if name not in _layer_names(published)}
    options = dict(model._model_args)  # type: ignore[arg-type]
    # Names that a changed pooling does without are no news to anybody.
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)
    try:
        # Another number of classes than any: timm then asks for no classifier.
        overlay = {"state_dict": weights, "num_classes": -1}
        adapted: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except FAILURES as error:
        raise WeightsError(
            f"{source}: the weights of {config.model} do not fit it with pooling {config.pooling}, "
            f"{config.num_channels} channels and {config.input_resolution} pixels: {_misfit(error)}"
        ) from error
    adapted.pretrained_cfg = model.pretrained_cfg  # without the weights themselves
    adapted.default_cfg = model.pretrained_cfg
    return _finished(adapted, config), frozenset(own) - frozenset(weights)


def _misfit(error: Exception) -> str:
    """The first of the differences that PyTorch lists, and how many more there are."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    shapes = [line for line in said if line.startswith("size mismatch")]
    if not shapes:
        return " ".join(said)
    return shapes[0].rstrip(".") + (f", and {len(shapes) - 1} more" if len(shapes) > 1 else "")


def _layer_names(model: nn.Module) -> frozenset[str]:
    """The names, in the state dict, of the weights that depend on the classes: no file need have them."""
    return names_of(model, classifier_layers(model))
