"""Whole trials of the image classifier, on real digits and small generated images."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from tests.support.alike import assert_alike
from tests.support.trials import TIMES, Case, bright_corners, numbers, resumes_to_the_bit
from trainables.contract import EpochReport
from trainables.errors import DataError, Diverged, Infeasible, TrainableError, WeightsError
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.models.factory import build_model
from trainables.image.trainable import ImageClassifier
from trainables.image.training import classifier
from trainables.image.training.checkpoint import load_trained
from trainables.image.training.order import epoch_order, epoch_size
from trainables.local import LocalHandle


def configured(**values: Any) -> ImageConfig:
    return ImageConfig.model_validate(
        {"model": "mlp6", "pretrained": False, "input_resolution": 16, "epochs": 4, "width": 32} | values
    )


@pytest.fixture(scope="module")
def corners() -> Case:
    return bright_corners(80)


# Learning


def test_it_learns_and_reports_every_epoch(corners: Case, tmp_path: Path) -> None:
    handle = corners.train(configured(epochs=6, lr=0.003, batch_size=16), tmp_path)
    assert [report.epoch for report in handle.reports] == [1, 2, 3, 4, 5, 6]
    last = handle.reports[-1].metrics
    assert last["val_accuracy"] > 0.9
    assert last["train_loss"] < handle.reports[0].metrics["train_loss"]
    several = {"val_exact_match", "val_map"}
    assert set(last) & set(ImageClassifier.metrics) == set(ImageClassifier.metrics) - several - {"val_top5_accuracy"}
    assert set(last) >= {"lr", "num_parameters", *TIMES} - {"shared_s"}
    assert 0.0 <= last["data_wait_fraction"] <= 1.0
    assert all(math.isfinite(value) for value in last.values())


def test_several_labels_are_learned(tmp_path: Path) -> None:
    case = bright_corners(160, multilabel=True)
    last = (
        case.train(configured(epochs=12, lr=0.003, batch_size=16, label_smoothing=0.05), tmp_path).reports[-1].metrics
    )
    one = {"val_balanced_accuracy", "val_calibration_error", "val_top5_accuracy"}
    assert set(last) & set(ImageClassifier.metrics) == set(ImageClassifier.metrics) - one
    assert last["val_accuracy"] > 0.9
    assert last["val_map"] > 0.9
    assert last["val_exact_match"] <= last["val_accuracy"]
    low, tuned = (
        case.train(configured(epochs=1, threshold=threshold), tmp_path / str(threshold)).reports[-1].metrics
        for threshold in (0.001, "tuned")
    )
    assert low["val_macro_recall"] == 1.0, "from so low a probability every label counts"
    assert tuned["val_macro_f1"] != low["val_macro_f1"]
    assert tuned["val_map"] == low["val_map"]


@pytest.mark.parametrize("augment", ["light", "randaugment"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_augmented_and_in_mixed_precision(corners: Case, tmp_path: Path, augment: str, precision: str) -> None:
    config = configured(model="simple_cnn3", width=4, epochs=1, augment=augment, mixed_precision=precision)
    assert corners.train(config, tmp_path).reports[0].metrics["train_loss"] < 2.0


def test_the_reported_validation_is_that_of_the_checkpoint(corners: Case, tmp_path: Path) -> None:
    config = configured(epochs=2, dropout=0.3)
    handle = corners.train(config, tmp_path)
    (folder,) = tmp_path.glob("attempt-1/checkpoints/epoch-00002")
    model = load_trained(config, 3, folder)
    rows = corners.index.rows("val")
    pixels = torch.from_numpy(corners.images[rows]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    predicted = model((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).argmax(1)
    correct = (predicted.numpy() == corners.index.targets[rows]).mean()
    assert handle.reports[-1].metrics["val_accuracy"] == pytest.approx(correct)


# Repeating and resuming

EXACT = [
    {"model": "mlp6", "augment": "light", "dropout": 0.3, "optimizer": "adamw"},
    {"model": "resnet10t", "augment": "randaugment", "dropout": 0.3, "optimizer": "sgd", "warmup_epochs": 1},
    {"model": "simple_cnn3", "width": 4, "augment": "light", "optimizer": "adam", "mixed_precision": "bf16"},
]


@pytest.mark.parametrize("values", EXACT, ids=lambda values: str(values["model"]))
def test_two_and_two_epochs_equal_four_to_the_bit(corners: Case, tmp_path: Path, values: dict[str, Any]) -> None:
    handle = resumes_to_the_bit(corners, configured(**values), tmp_path, broken_after=2)
    assert [report.epoch for report in handle.reports] == [1, 2, 3, 4]


def test_the_same_seed_gives_the_same_numbers_and_another_others(corners: Case, tmp_path: Path) -> None:
    config = configured(epochs=2, augment="light", dropout=0.2)
    first = numbers(corners.train(config, tmp_path / "a").reports)
    assert numbers(corners.train(config, tmp_path / "b").reports) == first
    assert numbers(corners.train(config, tmp_path / "c", seed=4).reports) != first
    own = config.model_copy(update={"seed": 3})
    assert numbers(corners.train(own, tmp_path / "d", seed=99).reports) == first


def test_a_trial_leaves_nothing_behind_for_the_next(corners: Case, tmp_path: Path) -> None:
    plain = configured(epochs=1)
    alone = numbers(corners.train(plain, tmp_path / "alone").reports)
    corners.train(configured(epochs=1, mixed_precision="bf16", augment="randaugment"), tmp_path / "other")
    assert numbers(corners.train(plain, tmp_path / "after").reports) == alone

    def stop(report: EpochReport) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        corners.train(configured(mixed_precision="bf16"), tmp_path / "stopped", on_report=stop)
    for state in (AcceleratorState, PartialState, GradientState):
        assert state._shared_state == {}
    assert numbers(corners.train(plain, tmp_path / "afterwards").reports) == alone


def test_a_finished_trial_has_nothing_to_do(corners: Case, tmp_path: Path) -> None:
    corners.train(configured(epochs=1), tmp_path)
    assert corners.train(configured(epochs=1), tmp_path, attempt=2).reports == []


# Order and batches


def test_the_order_changes_with_epoch_and_seed_and_leaves_no_small_batch() -> None:
    rows = np.arange(100, 133)
    order = epoch_order(rows, 8, seed=1, epoch=1)
    assert len(order) == len(set(order)) == 32
    assert set(order) <= set(rows)
    assert order.tolist() == epoch_order(rows, 8, seed=1, epoch=1).tolist()
    assert order.tolist() != epoch_order(rows, 8, seed=1, epoch=2).tolist()
    assert order.tolist() != epoch_order(rows, 8, seed=2, epoch=1).tolist()
    seen = set().union(*(epoch_order(rows, 8, seed=1, epoch=epoch).tolist() for epoch in range(1, 20)))
    assert seen == set(rows.tolist())


@pytest.mark.parametrize(
    ("num", "batch_size", "taken"),
    [(33, 32, 32), (47, 32, 32), (48, 32, 48), (64, 32, 64), (20, 32, 20), (1, 1, 1), (3, 1, 3), (5, 2, 4), (1, 8, 1)],
)
def test_only_a_last_batch_of_less_than_half_is_left_out(num: int, batch_size: int, taken: int) -> None:
    assert epoch_size(num, batch_size) == taken


def test_fewer_examples_than_a_batch_are_one_batch(corners: Case, tmp_path: Path) -> None:
    handle = corners.train(configured(model="resnet10t", epochs=1, batch_size=1000), tmp_path)
    assert len(handle.reports) == 1


# Fine-tuning


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "resnet10t.pth")
    return tmp_path / "resnet10t.pth"


def test_head_only_leaves_the_backbone_as_it_is(corners: Case, tmp_path: Path, published: Path) -> None:
    config = configured(model="resnet10t", pretrained=str(published), finetune="head", epochs=2, optimizer="sgd")
    corners.train(config, tmp_path / "trial", weights=published)
    (folder,) = (tmp_path / "trial").glob("attempt-1/checkpoints/epoch-00002")
    trained = load_trained(config, 3, folder).state_dict()
    before = torch.load(published, weights_only=True)
    backbone = [name for name in before if not name.startswith("fc.")]
    assert [name for name in backbone if not torch.equal(before[name], trained[name])] == []
    assert any("running_mean" in name for name in backbone)


def test_full_moves_the_backbone(corners: Case, tmp_path: Path, published: Path) -> None:
    config = configured(model="resnet10t", pretrained=str(published), finetune="full", epochs=1)
    corners.train(config, tmp_path / "trial", weights=published)
    (folder,) = (tmp_path / "trial").glob("attempt-1/checkpoints/epoch-00001")
    trained = load_trained(config, 3, folder).state_dict()
    before = torch.load(published, weights_only=True)
    for name in ("conv1.0.weight", "bn1.running_mean"):
        assert not torch.equal(before[name], trained[name])


# What goes wrong


def test_a_diverging_loss_names_epoch_step_and_rate(corners: Case, tmp_path: Path) -> None:
    config = configured(optimizer="sgd", lr=100.0, schedule="constant", batch_size=8)
    with pytest.raises(Diverged, match=r"(nan|inf) in epoch 1, step \d+ of 8 \(lr 100\)"):
        corners.train(config, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_without_a_gpu_is_refused(corners: Case, tmp_path: Path) -> None:
    with pytest.raises(TrainableError, match="fp16 needs a GPU"):
        corners.train(configured(mixed_precision="fp16"), tmp_path)


def test_a_checkpoint_that_holds_code_is_not_run(corners: Case, tmp_path: Path) -> None:
    import pickle

    from trainables.image.training.checkpoint import STATE_FILE, load_state

    config = configured(epochs=1)
    corners.train(config, tmp_path)
    (folder,) = tmp_path.glob("attempt-1/checkpoints/epoch-00001")
    torch.save({"optimizer": Path("/")}, folder / STATE_FILE)
    model = load_trained(config, 3, folder)
    with pytest.raises(pickle.UnpicklingError):
        load_state(folder, model, torch.optim.SGD(model.parameters()))


# The whole way, through the contract


@pytest.fixture
def digits(tmp_path: Path) -> Callable[..., ImageClassifier]:
    def make(**options: Any) -> ImageClassifier:
        data = DataConfig.model_validate(
            {"dataset": "digits", "limit": 200, "cache_dir": tmp_path / "cache", **options}
        )
        folder = tmp_path / "prepared"
        folder.mkdir(exist_ok=True)
        return ImageClassifier(data, folder)

    return make


def test_digits_from_prepare_to_reports(digits: Callable[..., ImageClassifier], tmp_path: Path) -> None:
    trainable = digits()
    candidates = {"model": ["simple_cnn3"], "pretrained": [False], "input_resolution": [8], "color": ["grayscale"]}
    preparation = trainable.prepare({**candidates, "batch_size": [16, 4096]})
    assert preparation.fingerprint
    assert any("batch_size 4096" in warning for warning in preparation.warnings)
    handle = LocalHandle(tmp_path / "trial", seed=1)
    config = configured(model="simple_cnn3", input_resolution=8, color="grayscale", epochs=3, batch_size=16, lr=0.005)
    trainable.train(config, handle)
    assert handle.reports[-1].metrics["val_accuracy"] > 0.4  # chance is 0.1


def test_weights_of_another_model_stop_the_sweep_before_it_starts(
    digits: Callable[..., ImageClassifier], published: Path
) -> None:
    candidates = {"model": ["resnet18"], "pretrained": [str(published)], "input_resolution": [32]}
    with pytest.raises(WeightsError, match="not the weights of resnet18"):
        digits().prepare(candidates)
    with pytest.raises(DataError, match="does not exist"):
        digits().prepare({**candidates, "pretrained": ["missing.pth"]})


def test_weights_that_fit_some_models_are_a_warning(digits: Callable[..., ImageClassifier], published: Path) -> None:
    candidates = {"pretrained": [str(published), False], "input_resolution": [32]}
    preparation = digits().prepare({**candidates, "model": ["resnet10t", "resnet18"]})
    assert any("resnet18" in warning for warning in preparation.warnings)
    assert preparation.summary["weights of resnet10t"] == str(published)


def test_a_relative_weight_file_is_found_from_another_folder(
    digits: Callable[..., ImageClassifier], published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published.parent)
    trainable = digits(limit=40)
    values: dict[str, Any] = {"model": "resnet10t", "pretrained": published.name, "input_resolution": 16}
    trainable.prepare({name: [value] for name, value in values.items()})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    handle = LocalHandle(tmp_path / "trial")
    trainable.train(configured(**values, epochs=1, batch_size=16), handle)
    assert len(handle.reports) == 1


# Memory


def _limit_memory(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Every model refuses more than so many training examples at a time, in the words of CUDA."""

    def starting_model(*args: Any) -> nn.Module:
        net = original(*args)
        forward = net.forward

        def refusing(images: torch.Tensor) -> torch.Tensor:
            if net.training and len(images) > room:
                raise RuntimeError("CUDA error: out of memory")
            logits: torch.Tensor = forward(images)
            return logits

        net.forward = refusing  # type: ignore[method-assign]
        return net

    original = classifier.starting_model
    monkeypatch.setattr(classifier, "starting_model", starting_model)


def test_a_batch_that_does_not_fit_goes_through_in_parts_with_the_same_steps(
    corners: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(batch_size=30, epochs=2)
    whole = corners.train(config, tmp_path / "whole")
    _limit_memory(monkeypatch, 10)
    parts = corners.train(config, tmp_path / "parts")
    assert all("micro_batch_size" not in report.metrics for report in whole.reports)
    assert all(report.metrics["micro_batch_size"] == 8 for report in parts.reports)
    apart, alike = numbers(parts.reports), numbers(whole.reports)
    assert_alike(apart, alike, len(corners.index.rows("val")), without=("micro_batch_size",))


def test_what_fits_in_no_part_is_infeasible(corners: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limit_memory(monkeypatch, 0)
    with pytest.raises(Infeasible, match="micro-batch 1"):
        corners.train(configured(), tmp_path)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("coat_tiny", 32),  # blocks share tensors, which a file holds once
        ("lambda_resnet26t", 32),  # has weights of five dimensions, which have no channels_last
    ],
)
def test_nets_with_unusual_weights_train_and_go_on_to_the_bit(model: str, size: int, tmp_path: Path) -> None:
    config = ImageConfig.model_validate(
        {"model": model, "pretrained": False, "input_resolution": size, "epochs": 2, "batch_size": 4, "lr": 0.001}
    )
    straight = resumes_to_the_bit(bright_corners(8, size=size), config, tmp_path, broken_after=1)
    (checkpoint,) = straight.folder.glob("checkpoints/epoch-00002")
    assert load_trained(config, 3, checkpoint).state_dict().keys() == build_model(config, 3).state_dict().keys()
