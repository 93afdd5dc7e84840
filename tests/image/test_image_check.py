"""Combinations of hyperparameters that are refused before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from pydantic import ValidationError

from trainables.contract import no_progress
from trainables.errors import WeightsError
from trainables.image.checks.model import model_problems
from trainables.image.checks.weights import prepare_weights
from trainables.image.config import ImageConfig
from trainables.image.trainable import ImageClassifier


def problems(**values: Any) -> dict[str, str]:
    return {problem.key: problem.message for problem in ImageClassifier.check(ImageConfig.model_validate(values))}


def of_the_model(**values: Any) -> dict[str, str]:
    """What is wrong with the model alone, without the advice on its export, for which an unseen one is translated."""
    return {problem.key: problem.message for problem in model_problems(ImageConfig.model_validate(values))}


def test_the_default_configuration_is_fine() -> None:
    assert problems() == {}


@pytest.mark.parametrize(("model", "size", "enough"), [("resnet18", 32, 33), ("vgg11", 224, 256), ("cnn4", 16, 32)])
def test_a_kind_of_pooling_needs_more_than_one_pixel(model: str, size: int, enough: int) -> None:
    own = {"model": model, "finetune": "scratch", "input_resolution": size}
    told = of_the_model(**own, pooling="max")["pooling"]
    assert f"makes a map of one pixel of {size} pixels, so that max would change nothing" in told
    assert f"{enough} pixels or more" in told
    assert of_the_model(**own, pooling="avg") == {}
    assert of_the_model(**{**own, "input_resolution": enough}, pooling="max") == {}


def test_one_pixel_is_seen_of_models_that_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.image.checks.model.MODELS", {})
    own = {"model": "test_efficientnet", "finetune": "scratch"}
    assert "or 64 pixels or more" in problems(**own, input_resolution=32, pooling="gem")["pooling"]
    assert problems(**own, input_resolution=64, pooling="gem") == {}


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"model": "resnet5o"}, "model", "did you mean resnet50"),
        ({"model": "mobilenet_v22"}, "model", "mobilenet_v2"),
        ({"model": "efficientformerv2_s00"}, "model", "efficientformerv2_s0"),
        ({"model": "qqqqqqq"}, "model", "sweep models"),
        ({"model": "../resnet50"}, "model", "there is no model"),
        ({"model": "hf-hub:somebody/net"}, "model", "there is no model"),
        ({"model": "resnet50.a9_in1k"}, "model", "it has "),
        ({"model": "convnext_tiny", "pooling": "catavgmax"}, "pooling", "it supports native, avg, max, avgmax, gem"),
        ({"model": "inception_v3", "input_resolution": 64}, "input_resolution", "at least 75"),
        ({"model": "mobilenetv3_large_100", "pooling": "catavgmax"}, "pooling", "weights do not fit"),
        ({"model": "simple_cnn3", "pretrained": True}, "pretrained", "no published weights"),
        ({"model": "simple_cnn3", "finetune": "head"}, "finetune", "random"),
        ({"model": "resnet18", "finetune": "head", "pretrained": False}, "finetune", "pretrained is false"),
        ({"model": "resnet18", "pretrained": "/nowhere/resnet18.pth"}, "pretrained", "/nowhere/resnet18.pth"),
        ({"model": "simple_cnn3", "finetune": "last_n"}, "finetune", "leaves the first blocks frozen"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs", "must be fewer"),
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "warmup_epochs", "its own warm-up"),
        ({"average_weights": 5, "ema_decay": 0.99}, "average_weights", "leave ema_decay at 0"),
        ({"optimizer": "adagad"}, "optimizer", "did you mean adagrad"),
        ({"optimizer": "bnbadam8bit"}, "optimizer", "try adam"),
        ({"optimizer": "adahessian"}, "optimizer", "second derivatives"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0.0}, "nesterov", "momentum above 0"),
        ({"model": "resnet50", "pooling": "token"}, "pooling", "it supports native, avg"),
        ({"model": "vit_base_patch16_224", "pooling": "gem"}, "pooling", "token, map"),
        ({"model": "cnn5_avg", "input_resolution": 16}, "input_resolution", "at least 32"),
        ({"model": "squeezenet1_1", "input_resolution": 16}, "input_resolution", "at least 17"),
        ({"model": "vgg16", "drop_path": 0.1}, "drop_path", "no residual branches"),
        ({"model": "hrnet_w18_small", "input_resolution": 64, "drop_path": 0.1}, "drop_path", "no residual branches"),
        ({"model": "shufflenetv2"}, "model", "shufflenet_v2"),
        ({"model": "resnet18", "finetune": "last_n", "unfrozen_blocks": 10}, "unfrozen_blocks", "9 blocks before"),
    ],
)
def test_what_cannot_work_is_named(values: dict[str, Any], key: str, words: str) -> None:
    found = problems(**values)
    assert list(found) == [key]
    assert words in found[key]


def test_a_model_outside_the_table_is_tried_out() -> None:
    assert problems(model="hrnet_w18_small", input_resolution=64) == {}
    assert "33 pixels" in problems(model="hrnet_w18_small", input_resolution=33)["input_resolution"]
    told = problems(model="convnext_zepto_rms", pooling="catavgmax", pretrained=False)
    assert "does not support catavgmax" in told["pooling"]


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        model="convnext_tiny", pooling="catavgmax", input_resolution=16, pretrained=str(tmp_path / "x.pth")
    )
    assert set(found) == {"pooling", "input_resolution", "pretrained"}


def test_what_only_makes_no_difference_is_no_problem() -> None:
    assert problems(model="simple_cnn3") == {}
    assert problems(model="simple_cnn3", pretrained=False, optimizer="adam", momentum=0.8) == {}
    assert problems(model="mobilenetv3_large_100", pooling="catavgmax", finetune="scratch") == {}
    assert problems(model="resnet18", finetune="scratch", pretrained="/nowhere/resnet18.pth") == {}


def test_a_weight_files_ending_is_checked(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").touch()
    assert ".safetensors" in problems(model="resnet18", pretrained=str(tmp_path / "weights.onnx"))["pretrained"]


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0},
        {"momentum": 1.0},
        {"batch_size": 0},
        {"epochs": 0},
        {"label_smoothing": 1.0},
        {"input_resolution": 4},
        {"pooling": "mean"},
        {"optimizer": ""},
        {"loss": "hinge"},
        {"schedule": "linear"},
        {"monitor": "train_loss"},
        {"unfrozen_blocks": 0},
        {"ema_decay": 1.0},
        {"crop_scale": 0.0},
        {"hflip": 1.5},
        {"layer_lr_decay": 1.1},
        {"learning_rate": 0.1},
        {"pretrained": ""},
        {"seed": -1},
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageConfig.model_validate(values)


def test_every_hyperparameter_has_a_line_of_help() -> None:
    assert [name for name, field in ImageConfig.model_fields.items() if not field.description] == []


def test_checking_known_models_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from trainables.image.trainable import ImageClassifier as C\n"
        "from trainables.image.config import ImageConfig\n"
        "assert not C.check(ImageConfig(model='resnet50', pooling='max'))\n"
        "assert C.check(ImageConfig(model='convnext_tiny', pooling='catavgmax'))\n"
        "assert not C.check(ImageConfig(model='googlenet', optimizer='lion', loss='focal', drop_path=0.0))\n"
        "print([name for name in ('torch', 'timm', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        # Position tables that timm does not interpolate.
        ({"model": "visformer_tiny", "input_resolution": 96}, "input_resolution", "fit 224 pixels, and 96 are asked"),
        ({"model": "mixer_b16_224", "input_resolution": 96}, "input_resolution", "fit 224 pixels"),
        ({"model": "qwen3_vit_88m_enc"}, "model", "is an encoder: it has no"),
        # Windows of a fixed size.
        ({"model": "nest_tiny", "input_resolution": 100}, "input_resolution", "it works on "),
        ({"model": "test_efficientnet", "pooling": "catavgmax", "width": 8}, "width", "no configurable width"),
    ],
)
def test_what_fits_is_said(values: dict[str, Any], key: str, words: str) -> None:
    assert words in problems(**values)[key]


def test_any_size_will_do_without_the_published_weights() -> None:
    assert problems(model="visformer_tiny", input_resolution=96, finetune="scratch") == {}
    assert problems(model="visformer_tiny", input_resolution=224) == {}


def test_weights_that_fit_some_of_the_resolutions_are_told_with_them(tmp_path: Path) -> None:
    path = tmp_path / "mixer.pth"
    torch.save(timm.create_model("mixer_s32_224", img_size=64).state_dict(), path)
    defaults = {key: [field.default] for key, field in ImageConfig.model_fields.items()}
    asked = defaults | {"model": ["mixer_s32_224"], "pretrained": [str(path)], "input_resolution": [96, 64, 128]}
    found = prepare_weights(asked, no_progress)
    assert [file.path for file in found.files] == [str(path)]
    (warning,) = found.warnings
    assert "at 96, 128 pixels will fail" in warning
    assert "fit 64 pixels" in warning
    with pytest.raises(WeightsError, match="shapes differ"):
        prepare_weights(asked | {"input_resolution": [96, 128]}, no_progress)
