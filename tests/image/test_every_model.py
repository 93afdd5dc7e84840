"""Every kind of model: trains two steps, goes on after a stop, is exported, and agrees with ONNX Runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.trials import Case, numbers, weights_of
from trainables.image.config import ImageConfig
from trainables.image.deployment.agreement import compare, require
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.models.factory import build_model, normalization
from trainables.image.models.table import MODELS, timm_name
from trainables.image.package import ONNX_FILE, Package, PackageFacts
from trainables.image.training.checkpoint import load_trained
from trainables.image.training.evaluate import GivenImages, compute_logits

TIMM = """
    resnet18 resnet26d mobilenet_v2 mobilenetv3_small_100 efficientnet_b0 convnext_tiny vit_tiny_patch16_224
    swin_tiny_patch4_window7_224 inception_v3
"""
MADE_OF = {
    "resnet50": "resnet18 resnet26d",
    "wide_resnet50_2": "resnet18 resnet26d",
    "mobilenetv3_large_100": "mobilenetv3_small_100",
    "vit_base_patch16_224": "vit_tiny_patch16_224",
}
"""Larger models that have no kind of layer that those above do not have: training them would show nothing new."""
TORCHVISION = "shufflenet_v2_x1_0 squeezenet1_1 googlenet"
OWN = "simple_cnn3 cnn4 cnn5_avg mlp6"
EPOCHS = 2


def noise(size: int) -> Case:
    """Nine pictures, four of them to train on: a step an epoch."""
    images = np.random.default_rng(0).integers(0, 256, (9, size, size, 3), dtype=np.uint8)
    return Case(images, [[number % 3] for number in range(9)], ["train"] * 4 + ["val"] * 5)


@pytest.mark.parametrize("model", [*TIMM.split(), *TORCHVISION.split(), *OWN.split()])
def test_it_trains_resumes_exports_and_agrees(model: str, tmp_path: Path) -> None:
    size = max(32, MODELS[timm_name(model)].min_resolution)  # smaller maps of one pixel make batch statistics wild
    case = noise(size)
    config = ImageConfig.model_validate(
        {
            "model": model,
            "finetune": "scratch",
            "input_resolution": size,
            "epochs": EPOCHS,
            "batch_size": 4,
            "optimizer": "sgd",
            "momentum": 0.0,
            "lr": 0.001,
            "dropout": 0.1,
        }
    )
    # Two steps; then the second one again, from the checkpoint after the first.
    straight = case.train(config, tmp_path / "trial")
    assert len(straight.reports) == EPOCHS
    (last,) = straight.folder.glob(f"checkpoints/epoch-{EPOCHS:05d}")
    weights = weights_of(straight, EPOCHS)
    shutil.rmtree(last)
    resumed = case.train(config, tmp_path / "trial", attempt=2)
    assert resumed.resumed is not None
    assert numbers(resumed.reports) == numbers(straight.reports[1:])
    assert weights_of(resumed, EPOCHS) == weights
    del weights

    (checkpoint,) = resumed.folder.glob(f"checkpoints/epoch-{EPOCHS:05d}")
    trained = load_trained(config, len(case.index.classes), checkpoint)
    facts = PackageFacts(case.index.classes, False, size, 3)
    graph = DeployedClassifier(trained, *normalization(trained), multilabel=False).eval()
    path = tmp_path / ONNX_FILE
    write_onnx(graph, facts, path)  # which checks the file by ONNX's own rules

    def reference(images: np.ndarray) -> np.ndarray:
        logits = compute_logits(trained, GivenImages(images), np.arange(len(images)), torch.device("cpu"))
        return torch.from_numpy(logits).softmax(dim=-1).numpy()

    require(compare(Package(path, 1), reference, case.images, "train"))


def layers_of(model: str) -> set[type]:
    with torch.device("meta"):
        net = build_model(ImageConfig(model=model, finetune="scratch", dropout=0.1), 3)
    return {type(layer) for layer in net.modules()}


@pytest.mark.parametrize("model", MADE_OF)
def test_a_larger_model_is_made_of_the_same_layers(model: str) -> None:
    assert layers_of(model) <= set().union(*(layers_of(small) for small in MADE_OF[model].split()))
