"""A hyperparameter of the model changes what is built, or the check refuses it: no value is accepted without effect."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.models.factory import build_model, starting_model
from trainables.image.models.freezing import block_numbers
from trainables.image.models.table import timm_name
from trainables.image.models.tryout import try_step, usual_resolution
from trainables.image.trainable import ImageClassifier
from trainables.image.training.optim import parameter_groups

# Of each way to write a family: own nets, torchvision's, and timm's that take other arguments, or none, than most do.
LISTED = "simple_cnn3 cnn4 mlp6 squeezenet1_1 resnet10t vgg11 lcnet_050 poolformer_s12 swin_tiny_patch4_window7_224"
UNLISTED = "hrnet_w18_small rexnet_100 repghostnet_050 nest_tiny pit_ti_224 legacy_seresnet18 pvt_v2_b0"
VALUES: dict[str, tuple[Any, Any]] = {
    "dropout": (0.0, 0.25),
    "drop_path": (0.0, 0.25),
    "width": (None, 24),
    "batch_norm": (False, True),
    "layer_lr_decay": (1.0, 0.5),
    "finetune": ("head", "last_n"),
    "unfrozen_blocks": (1, 2),
    "pooling": ("avg", "max"),
    "color": ("rgb", "grayscale"),
    "input_resolution": (224, 256),
}
"""Of every key that the model is built from, two values."""


def configured(model: str, **values: Any) -> ImageConfig:
    own = {"input_resolution": usual_resolution(timm_name(model)), "pretrained": "/weights"}
    return ImageConfig.model_validate({"model": model, **own, **values})


def refused(config: ImageConfig, key: str) -> bool:
    return any(problem.key == key for problem in ImageClassifier.check(config))


def trained(config: ImageConfig) -> list[tuple[float, float, int]]:
    """Which share of the learning rate how many values of a model learn at."""
    with torch.device("meta"):
        groups = parameter_groups(config, starting_model(config, 5))
    return sorted(
        (group["lr_scale"], group["weight_decay"], sum(value.numel() for value in group["params"])) for group in groups
    )


def built(config: ImageConfig) -> Any:
    """What models differ in when they compute differently: their layers, and the shapes of these."""
    with torch.device("meta"):
        model = starting_model(config, 5)
    return str(model), [tuple(value.shape) for value in model.parameters()]


@pytest.mark.parametrize("model", [*LISTED.split(), *UNLISTED.split()])
def test_two_values_differ_or_are_refused(model: str) -> None:
    kept = {key: zero_or_more for key, zero_or_more in VALUES.items() if key in ("dropout", "drop_path")}
    accepted = {key: more for key, (_, more) in kept.items() if not refused(configured(model, **{key: more}), key)}
    nothing, something = try_step(configured(model)), try_step(configured(model, **accepted))
    assert (nothing.problem, nothing.dropouts, nothing.drop_paths) == (None, frozenset(), 0), "0 is none at all"
    assert something.problem is None
    assert (0.25 in something.dropouts) == ("dropout" in accepted)
    assert (something.drop_paths > 0) == ("drop_path" in accepted)

    ways: list[dict[str, Any]] = [
        {"finetune": "full"}, {"finetune": "full", "layer_lr_decay": 0.5}, {"finetune": "head"},
        {"finetune": "last_n", "unfrozen_blocks": 1}, {"finetune": "last_n", "unfrozen_blocks": 2},
    ]  # fmt: skip
    possible = [way for way in ways if not {p.key for p in ImageClassifier.check(configured(model, **way))} & set(way)]
    seen = [trained(configured(model, **way)) for way in possible]
    assert len(seen) == len(ways), "all of these have blocks"
    assert all(one != other for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize(
    "model", ["simple_cnn3", "cnn4", "cnn5_avg", "mlp6", "resnet10t", "swin_tiny_patch4_window7_224"]
)
@pytest.mark.parametrize("key", ["width", "batch_norm", "pooling", "color"])
def test_layers_differ_or_are_refused(model: str, key: str) -> None:
    one, other = (configured(model, **{key: value}) for value in VALUES[key])
    if not refused(other, key):
        assert built(one) != built(other)


def test_every_key_of_the_model_is_looked_at() -> None:
    """Those that are not here are of data, loss, optimizer, schedule and evaluation, or are no hyperparameters."""
    of_model = list(ImageConfig.model_fields)[: list(ImageConfig.model_fields).index("loss")]
    of_pixels = {"resize", "crop_fraction"}
    assert {"model", "pretrained", *of_pixels, *VALUES} >= set(of_model)


@pytest.mark.parametrize("model", ["vgg11", "hrnet_w18_small", "lcnet_050"])
def test_stochastic_depth_needs_branches(model: str) -> None:
    assert refused(configured(model, drop_path=0.1), "drop_path")
    assert not refused(configured(model, drop_path=0.0), "drop_path")


def test_what_only_own_nets_have_is_refused_elsewhere() -> None:
    assert refused(configured("resnet10t", width=64), "width")
    assert refused(configured("resnet10t", batch_norm=True), "batch_norm")
    assert refused(configured("mlp6", batch_norm=True), "batch_norm")
    assert not refused(configured("cnn4", width=64, batch_norm=True), "width")


@pytest.mark.parametrize("model", ["poolformer_s12", "csatv2"])
def test_nets_whose_blocks_timm_does_not_name_are_still_frozen_in_part(model: str) -> None:
    config = configured(model, finetune="last_n", unfrozen_blocks=1, layer_lr_decay=0.5)
    assert not refused(config, "finetune")
    with torch.device("meta"):
        net = starting_model(config, 5)
        plain = build_model(configured(model), 5)
    trained = [value.requires_grad for value in net.parameters()]
    assert 0 < sum(trained) < len(trained) / 2
    assert all(parameter.requires_grad for parameter in net.get_classifier().parameters())  # type: ignore[operator]
    assert len({group["lr_scale"] for group in parameter_groups(configured(model, layer_lr_decay=0.5), plain)}) > 2


def test_a_head_alone_is_one_block() -> None:
    assert set(block_numbers(nn.Linear(3, 2)).values()) == {0}
