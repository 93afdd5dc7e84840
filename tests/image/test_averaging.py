"""The mean of the weights of the last epochs: what is judged and kept, while training goes on without noticing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from tests.support.trials import Case, bright_corners, resumes_to_the_bit
from trainables.image.batches.feed import Feed
from trainables.image.config import ImageConfig
from trainables.image.features.stored import FeatureFeed
from trainables.image.parallel.workers import Workers
from trainables.image.training.averaging import LastEpochs
from trainables.image.training.checkpoint import MODEL_FILE, TRAINING_FILE, load_trained
from trainables.local import LocalHandle

NORMALISED: dict[str, Any] = {"model": "simple_cnn3", "batch_norm": True, "width": 4, "dropout": 0.2}


@pytest.fixture(scope="module")
def case() -> Case:
    return bright_corners(48)


def configured(**values: Any) -> ImageConfig:
    base = {**NORMALISED, "pretrained": False, "input_resolution": 16, "epochs": 4, "batch_size": 12, "lr": 0.01}
    return ImageConfig.model_validate(base | {"schedule": "constant", "mixed_precision": "no"} | values)


def files(handle: LocalHandle, name: str) -> list[dict[str, torch.Tensor]]:
    """A file of each epoch's checkpoint."""
    return [load_file(folder / name) for folder in sorted(handle.folder.glob("checkpoints/epoch-*"))]


def test_training_is_the_same_with_and_without(case: Case, tmp_path: Path) -> None:
    plain = case.train(configured(augment="light"), tmp_path / "plain")
    averaged = case.train(configured(augment="light", average_weights=3), tmp_path / "averaged")
    for one, other in zip(plain.reports, averaged.reports, strict=True):
        assert one.metrics["train_loss"] == other.metrics["train_loss"]
    (raw,), (kept,) = files(plain, MODEL_FILE)[-1:], files(averaged, TRAINING_FILE)[-1:]
    assert all(torch.equal(raw[name], kept[name]) for name in raw)


def test_it_is_the_mean_of_the_last_epochs_weights(case: Case, tmp_path: Path) -> None:
    handles = [case.train(configured(epochs=epochs), tmp_path / f"{epochs}") for epochs in (2, 3, 4)]
    weights = [files(handle, MODEL_FILE)[-1] for handle in handles]
    averaged = case.train(configured(average_weights=3), tmp_path / "averaged")
    found = files(averaged, MODEL_FILE)[-1]
    names = [name for name in found if "running" not in name and "num_batches" not in name]
    assert names
    for name in names:
        expected = torch.stack([each[name] for each in weights]).mean(0)
        torch.testing.assert_close(found[name], expected)


def test_statistics_are_those_of_the_averaged_weights_on_the_training_examples(case: Case, tmp_path: Path) -> None:
    config = configured(average_weights=3, batch_size=36, augment="light")  # an epoch is one batch: of all examples
    handle = case.train(config, tmp_path)
    (checkpoint,) = handle.folder.glob("checkpoints/epoch-00004")
    model = load_trained(config, 3, checkpoint)
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = torch.from_numpy(case.images[case.index.rows("train")]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        model((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert first.running_mean is not None
    assert first.running_var is not None
    torch.testing.assert_close(first.running_mean, seen[0].mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(first.running_var, seen[0].var((0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_the_averaged_model_is_what_is_judged(case: Case, tmp_path: Path) -> None:
    config = configured(average_weights=2)
    handle = case.train(config, tmp_path)
    (checkpoint,) = handle.folder.glob("checkpoints/epoch-00004")
    rows = case.index.rows("val")
    pixels = torch.from_numpy(case.images[rows]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        logits = load_trained(config, 3, checkpoint)((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(case.index.targets[rows]))
    assert handle.reports[-1].metrics["val_loss"] == pytest.approx(float(loss), rel=1e-3)


@pytest.mark.parametrize("broken_after", [1, 3])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimizer": "sgd", "mixed_precision": "bf16", "augment": "light"},
        {"model": "mlp6", "batch_norm": None},
    ],
    ids=["batch norm", "mixed precision", "no batch norm"],
)
def test_a_killed_trial_goes_on_to_the_bit(
    case: Case, tmp_path: Path, values: dict[str, Any], broken_after: int
) -> None:
    resumes_to_the_bit(case, configured(average_weights=3, **values), tmp_path, broken_after)


def test_what_is_frozen_stays_as_it_was_and_is_kept_once(tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), weights)
    values = {"model": "resnet10t", "pretrained": str(weights), "finetune": "last_n", "batch_norm": None, "width": None}
    config = configured(average_weights=3, dropout=0.0, input_resolution=32, epochs=3, **values)
    handle = bright_corners(48, size=32).train(config, tmp_path / "trial", weights)
    (averaged,) = files(handle, MODEL_FILE)[-1:]
    (earlier,) = files(handle, "earlier.safetensors")[-1:]
    begun = torch.load(weights, weights_only=True)
    frozen = [name for name in begun if name.startswith(("conv1", "bn1", "layer1"))]
    assert frozen
    assert all(torch.equal(averaged[name], begun[name]) for name in frozen if "num_batches" not in name)
    assert not any(name.partition("/")[2].startswith("layer1") for name in earlier)
    assert any(name.partition("/")[2].startswith("layer4") for name in earlier)


class Ones:
    def gather(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.full((len(rows), 4, 4, 3), 255, dtype=np.uint8)


def test_statistics_are_measured_without_dropout_and_leave_no_trace() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3))
    last = LastEpochs(net, 2)
    last.add(net)
    feed: Feed | FeatureFeed = Feed(Ones(), torch.device("cpu"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    last.measure(last.module, feed, np.arange(8), 4, Workers())
    norm = last.module[1]  # type: ignore[index]
    assert norm.running_mean.tolist() == [1.0, 1.0, 1.0]
    assert norm.running_var.tolist() == [0.0, 0.0, 0.0]
    assert norm.momentum == 0.1, "as before"
    assert not norm.training
