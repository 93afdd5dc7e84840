"""A hyperparameter of the model changes what is built, or the check refuses it: no value is accepted without effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.models_settings import VALUES, WAYS, without_effect
from benchmarks.models_way import finetuning, refused
from trainables.contract import ConfigProblem
from trainables.image.checks.model import model_problems
from trainables.image.config import ImageConfig
from trainables.image.models import freezing
from trainables.image.models.factory import build_model, starting_model
from trainables.image.models.freezing import block_numbers
from trainables.image.models.table import MODELS, timm_name
from trainables.image.models.tryout import try_step, usual_resolution
from trainables.image.trainable import ImageClassifier
from trainables.image.training.optim import parameter_groups

# Of each way to write a family: own nets, torchvision's, and timm's that take other arguments, or none, than most do.
# `python -m benchmarks.models_settings` does the same with every model that is known.
KNOWN = """
    simple_cnn3 cnn4 cnn5_avg mlp6 squeezenet1_1 resnet10t vgg11 lcnet_050 poolformer_s12 swin_tiny_patch4_window7_224
    vit_tiny_patch16_224
"""
UNLISTED = "hrnet_w18_small rexnet_100 repghostnet_050 nest_tiny pit_ti_224 legacy_seresnet18 pvt_v2_b0"


def configured(model: str, **values: Any) -> ImageConfig:
    own = {"input_resolution": usual_resolution(timm_name(model)), "pretrained": "/weights"}
    return ImageConfig.model_validate({"model": model, **own, **values})


def is_refused(config: ImageConfig, key: str) -> bool:
    return any(problem.key == key for problem in model_problems(config))


@pytest.mark.parametrize("model", KNOWN.split())
def test_two_values_differ_or_are_refused(model: str) -> None:
    assert model in MODELS
    assert without_effect(model) == []


@pytest.mark.parametrize("model", UNLISTED.split())
def test_models_that_are_tried_differ_or_are_refused(model: str) -> None:
    assert without_effect(model, ["dropout", "drop_path"]) == []


def test_settings_without_effect_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.models_settings.model_problems", lambda config: [])
    assert "drop_path 0.0 = drop_path 0.25" in without_effect("lcnet_050", ["drop_path"])
    assert "width None = width 24" in without_effect("resnet10t", ["width"])


def test_every_key_of_the_model_is_looked_at() -> None:
    """Those that are not here are of data, loss, optimizer, schedule and evaluation, or are no hyperparameters."""
    of_model = list(ImageConfig.model_fields)[: list(ImageConfig.model_fields).index("loss")]
    of_pixels = {"resize", "crop_fraction"}
    ways = {key for way in WAYS for key in way}
    assert {"model", "pretrained", "input_resolution", *of_pixels, *ways, *VALUES} >= set(of_model)


@pytest.mark.parametrize("model", ["vgg11", "hrnet_w18_small", "lcnet_050"])
def test_stochastic_depth_needs_branches(model: str) -> None:
    assert is_refused(configured(model, drop_path=0.1), "drop_path")
    assert not is_refused(configured(model, drop_path=0.0), "drop_path")


def test_what_only_own_nets_have_is_refused_elsewhere() -> None:
    assert is_refused(configured("resnet10t", width=64), "width")
    assert is_refused(configured("resnet10t", batch_norm=True), "batch_norm")
    assert is_refused(configured("mlp6", batch_norm=True), "batch_norm")
    assert not is_refused(configured("cnn4", width=64, batch_norm=True), "width")


@pytest.mark.parametrize("model", ["poolformer_s12", "csatv2"])
def test_nets_whose_blocks_timm_does_not_name_are_still_frozen_in_part(model: str) -> None:
    config = configured(model, finetune="last_n", unfrozen_blocks=1, layer_lr_decay=0.5)
    assert not is_refused(config, "finetune")
    with torch.device("meta"):
        net = starting_model(config, 5)
        plain = build_model(configured(model), 5)
    trained = [value.requires_grad for value in net.parameters()]
    assert 0 < sum(trained) < len(trained) / 2
    assert all(parameter.requires_grad for parameter in net.get_classifier().parameters())  # type: ignore[operator]
    assert len({group["lr_scale"] for group in parameter_groups(configured(model, layer_lr_decay=0.5), plain)}) > 2


def test_a_head_alone_is_one_block() -> None:
    assert set(block_numbers(nn.Linear(3, 2)).values()) == {0}


@pytest.mark.parametrize("model", ["test_vit_relpos", "swinv2_cr_tiny_ns_224", "cpubone_nano"])
def test_no_dropout_runs_that_nobody_has_set(model: str) -> None:
    """timm's own: an eighth in the MLPs of relative positions, a tenth in CPUBone's attention."""
    assert try_step(configured(model)).dropouts == frozenset()
    assert try_step(configured(model, dropout=0.25)).dropouts == {0.25}


def test_ways_of_finetuning_are_told_by_what_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finetuning("test_resnet") == "head last_n full layer_lr_decay"
    refusal = ConfigProblem("layer_lr_decay", "has no effect")
    refuses = "benchmarks.models_settings.model_problems"
    monkeypatch.setattr(refuses, lambda config: [refusal] if config.layer_lr_decay < 1.0 else [])
    assert finetuning("test_resnet") == "head last_n full"
    monkeypatch.setattr(freezing, "block_numbers", lambda model: dict.fromkeys(dict(model.named_parameters()), 0))
    assert finetuning("test_resnet") == "head full", "all parameters are of the last block"


def test_a_warning_of_the_check_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    warning, problem = (
        ConfigProblem("model", "has no ONNX translation", fatal=False),
        ConfigProblem("model", "too small"),
    )
    monkeypatch.setattr(ImageClassifier, "check", lambda config: [warning])
    assert refused(configured("test_resnet")) is None
    monkeypatch.setattr(ImageClassifier, "check", lambda config: [warning, problem])
    assert refused(configured("test_resnet")) == "too small"
