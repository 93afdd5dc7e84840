"""Every loss, optimizer, schedule, augmentation and way to fine-tune: trains, and goes on to the bit after a stop."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

from tests.support.trials import Case, bright_corners, resumes_to_the_bit
from trainables.contract import EpochReport
from trainables.errors import DataError, TrainableError
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.settings.balance import Balance
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import MODEL_FILE, TRAINING_FILE, load_trained

MULTILABEL_LOSSES = ("bce", "multilabel_soft_margin", "mse", "l1", "focal", "asymmetric")
SINGLE_LABEL_LOSSES = ("cross_entropy", "bce", "mse", "l1", "focal")
OPTIMIZERS = {
    "adam": 0.003,
    "adamw": 0.003,
    "sgd": 0.1,
    "adamax": 0.005,
    "adadelta": 1.0,
    "rmsprop": 0.001,
    "radam": 0.01,
    "lion": 0.0005,
    "nadamw": 0.003,
    "lamb": 0.01,
    "muon": 0.01,
    "sgdp": 0.05,
    "lookahead_adam": 0.01,
}
AUGMENTATIONS: list[dict[str, Any]] = [
    {"augment": "light"},
    {"augment": "randaugment", "randaugment_operations": 1, "randaugment_magnitude": 15},
    {"augment": "trivialaugment"},
    {"hflip": 0.5, "vflip": 0.3},
    {"crop_scale": 0.5},
    {"rotation_degrees": 20},
    {"color_jitter": 0.3},
    {"invert": 0.2},
    {"random_erasing": 0.5},
    {"mixup": 0.4},
    {"cutmix": 1.0},
    {"mixup": 0.4, "cutmix": 1.0, "augment": "light", "random_erasing": 0.2, "label_smoothing": 0.1},
]


@pytest.fixture(scope="module")
def one_label() -> Case:
    return bright_corners(48)


@pytest.fixture(scope="module")
def any_labels() -> Case:
    return bright_corners(64, multilabel=True)


def configured(**values: Any) -> ImageConfig:
    base = {"model": "mlp6", "pretrained": False, "input_resolution": 16, "epochs": 3, "width": 24, "lr": 0.003}
    return ImageConfig.model_validate(base | {"batch_size": 12} | values)


def name_of(values: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in values.items())


def learns(case: Case, config: ImageConfig, folder: Path) -> None:
    reports = resumes_to_the_bit(case, config, folder, broken_after=1).reports
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]


# Losses


@pytest.mark.parametrize("loss", SINGLE_LABEL_LOSSES)
def test_losses_of_one_label(one_label: Case, tmp_path: Path, loss: str) -> None:
    learns(one_label, configured(loss=loss, label_smoothing=0.1), tmp_path)


@pytest.mark.parametrize("loss", MULTILABEL_LOSSES)
def test_losses_of_any_number_of_labels(any_labels: Case, tmp_path: Path, loss: str) -> None:
    learns(any_labels, configured(loss=loss, label_smoothing=0.05, pos_weight=2.0), tmp_path)


@pytest.mark.parametrize("loss", ["multilabel_soft_margin", "asymmetric"])
def test_a_loss_for_many_labels_is_refused_where_there_is_one(one_label: Case, tmp_path: Path, loss: str) -> None:
    with pytest.raises(TrainableError, match=f"loss {loss} is for multi-label data.*use auto, cross_entropy, bce"):
        one_label.train(configured(loss=loss), tmp_path)


def test_cross_entropy_is_refused_where_there_are_many_labels(any_labels: Case, tmp_path: Path) -> None:
    with pytest.raises(TrainableError, match="cross_entropy is for single-label data"):
        any_labels.train(configured(loss="cross_entropy"), tmp_path)


def test_validation_is_measured_alike_whatever_is_minimised(one_label: Case, tmp_path: Path) -> None:
    for loss in ("cross_entropy", "mse"):
        metrics = one_label.train(configured(loss=loss, epochs=1), tmp_path / loss).reports[0].metrics
        assert metrics["val_loss"] == pytest.approx(metrics["val_log_loss"], rel=1e-4)


# Optimizers and schedules


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(one_label: Case, tmp_path: Path, optimizer: str) -> None:
    learns(one_label, configured(optimizer=optimizer, lr=OPTIMIZERS[optimizer], schedule="constant"), tmp_path)


def test_nesterov_is_another_way(one_label: Case, tmp_path: Path) -> None:
    found = [
        one_label.train(configured(optimizer="sgd", lr=0.1, nesterov=nesterov, epochs=1), tmp_path / str(nesterov))
        for nesterov in (False, True)
    ]
    assert found[0].reports[0].metrics["train_loss"] != found[1].reports[0].metrics["train_loss"]


@pytest.mark.parametrize(
    "values",
    [
        {"schedule": "constant"},
        {"schedule": "step", "step_epochs": 1, "lr_gamma": 0.5},
        {"schedule": "cosine", "warmup_epochs": 1},
        {"schedule": "one_cycle"},
        {"schedule": "plateau", "plateau_patience": 0, "lr": 0.02},
    ],
    ids=name_of,
)
def test_schedules(one_label: Case, tmp_path: Path, values: dict[str, Any]) -> None:
    resumes_to_the_bit(one_label, configured(epochs=4, **values), tmp_path, broken_after=2)


def test_the_rate_falls_on_a_plateau_and_stays_down_after_a_stop(one_label: Case, tmp_path: Path) -> None:
    config = configured(
        schedule="plateau", monitor="val_accuracy", plateau_patience=1, lr_gamma=0.5, lr=1e-7, epochs=6, batch_size=36
    )
    rates = [report.metrics["lr"] for report in resumes_to_the_bit(one_label, config, tmp_path, broken_after=4).reports]
    assert rates == pytest.approx([1e-7, 1e-7, 1e-7, 5e-8, 5e-8, 2.5e-8])


# Early stopping


def test_a_trial_that_gains_nothing_ends_early(one_label: Case, tmp_path: Path) -> None:
    config = configured(monitor="val_accuracy", early_stopping_patience=2, lr=1e-9, epochs=20)
    assert len(one_label.train(config, tmp_path / "straight").reports) == 3
    # Killed after the last epoch that it needed, it has nothing more to do.
    assert one_label.train(config, tmp_path / "straight", attempt=2).reports == []
    resumes_to_the_bit(one_label, config, tmp_path / "again", broken_after=2)


def test_a_metric_of_other_data_cannot_be_watched(one_label: Case, tmp_path: Path) -> None:
    with pytest.raises(TrainableError, match="monitor val_map is of multi-label data"):
        one_label.train(configured(monitor="val_map", early_stopping_patience=2), tmp_path)
    assert one_label.train(configured(monitor="val_map", epochs=1), tmp_path).reports, "nobody watches: no matter"


# Augmentation


@pytest.mark.parametrize("values", AUGMENTATIONS, ids=name_of)
def test_augmentations(one_label: Case, tmp_path: Path, values: dict[str, Any]) -> None:
    resumes_to_the_bit(one_label, configured(**values), tmp_path, broken_after=1)


@pytest.mark.parametrize("values", [{"mixup": 0.4}, {"cutmix": 1.0}], ids=name_of)
def test_mixing_of_several_labels(any_labels: Case, tmp_path: Path, values: dict[str, Any]) -> None:
    resumes_to_the_bit(any_labels, configured(**values), tmp_path, broken_after=1)


def test_grayscale_goes_through_every_switch(tmp_path: Path) -> None:
    case = bright_corners(24)
    case.images = case.images[..., :1]
    switches = {key: value for values in AUGMENTATIONS for key, value in values.items() if key != "augment"}
    for augment in ("light", "randaugment", "trivialaugment"):
        config = configured(color="grayscale", epochs=1, **{**switches, "augment": augment})
        assert len(case.train(config, tmp_path / augment).reports) == 1


# Fine-tuning


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    return path


def changed(case: Case, folder: Path, published: Path, **values: Any) -> set[str]:
    """The parameters, and running statistics, that a trial moved away from the published weights."""
    config = configured(model="resnet10t", pretrained=str(published), epochs=2, **values)
    straight = case.train(config, folder / "straight", weights=published)

    def kill(report: EpochReport) -> None:
        if report.epoch == 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        case.train(config, folder / "broken", weights=published, on_report=kill)
    resumed = case.train(config, folder / "broken", weights=published, attempt=2)
    states = []
    for handle in (straight, resumed):
        (checkpoint,) = handle.folder.glob("checkpoints/epoch-00002")
        states.append(load_trained(config, 3, checkpoint).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    before = torch.load(published, weights_only=True)
    return {
        name
        for name, value in states[0].items()
        if name not in before or value.shape != before[name].shape or not torch.equal(value, before[name])
    }


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_last_n_trains_the_last_blocks_and_the_head(
    one_label: Case, tmp_path: Path, published: Path, num_blocks: int
) -> None:
    moved = changed(one_label, tmp_path, published, finetune="last_n", unfrozen_blocks=num_blocks)
    modules = {name.split(".")[0] for name in moved}
    assert modules == {"fc", *(f"layer{number}" for number in range(5 - num_blocks, 5))}
    assert any("running_mean" in name for name in moved)


def test_more_blocks_than_there_are_is_all_of_them(one_label: Case, tmp_path: Path, published: Path) -> None:
    moved = changed(one_label, tmp_path, published, finetune="last_n", unfrozen_blocks=99)
    assert "conv1.0.weight" in moved


def test_gem_is_new_and_therefore_trained_with_the_head(one_label: Case, tmp_path: Path, published: Path) -> None:
    moved = changed(one_label, tmp_path, published, finetune="head", pooling="gem", lr=0.01)
    assert moved == {"fc.weight", "fc.bias", "global_pool.pool.p"}


def test_rates_by_layer_go_on_after_a_stop(one_label: Case, tmp_path: Path, published: Path) -> None:
    assert changed(one_label, tmp_path, published, layer_lr_decay=0.5, head_lr_multiplier=10, optimizer="sgd")


# Averaged weights


def test_averaged_weights_are_judged_and_kept_and_resumed(one_label: Case, tmp_path: Path) -> None:
    config = configured(model="cnn5_avg", width=4, input_resolution=32, ema_decay=0.9, epochs=3, mixed_precision="bf16")
    case = bright_corners(48, size=32)
    handle = resumes_to_the_bit(case, config, tmp_path, broken_after=1)
    (checkpoint,) = handle.folder.glob("checkpoints/epoch-00003")
    averaged, trained = (load_file(checkpoint / name) for name in (MODEL_FILE, TRAINING_FILE))
    assert averaged.keys() == trained.keys()
    assert not torch.equal(averaged["head.fc.weight"], trained["head.fc.weight"])
    rows = case.index.rows("val")
    pixels = torch.from_numpy(case.images[rows]).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model = load_trained(config, 3, checkpoint)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        predicted = model((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).argmax(1)
    correct = (predicted.numpy() == case.index.targets[rows]).mean()
    assert handle.reports[-1].metrics["val_accuracy"] == pytest.approx(correct)


# Unequal classes


@pytest.mark.parametrize("strategy", ["class_weights", "sampler"])
@pytest.mark.parametrize("multilabel", [False, True])
def test_unequal_classes(tmp_path: Path, strategy: str, multilabel: bool) -> None:
    case = bright_corners(48, multilabel=multilabel)
    plain = case.train(configured(epochs=1), tmp_path / "plain")
    balance = Balance.model_validate({"strategy": strategy})
    evened = case.train(configured(epochs=1, loss="bce"), tmp_path / "evened", balance=balance)
    assert plain.reports[0].metrics["train_loss"] != evened.reports[0].metrics["train_loss"]


def test_own_nets_take_batch_norm_or_not(tmp_path: Path) -> None:
    case = bright_corners(24, size=32)
    counts = {}
    for model, batch_norm in itertools.product(("simple_cnn3", "cnn4", "cnn5_avg"), (None, True, False)):
        config = configured(model=model, width=4, input_resolution=32, epochs=1, batch_norm=batch_norm, dropout=0.2)
        report = case.train(config, tmp_path / f"{model}-{batch_norm}").reports[0]
        counts[model, batch_norm] = report.metrics["num_parameters"]
    assert counts["simple_cnn3", None] == counts["simple_cnn3", False] < counts["simple_cnn3", True]
    assert counts["cnn4", None] == counts["cnn4", False] < counts["cnn4", True]
    assert counts["cnn5_avg", None] == counts["cnn5_avg", True] > counts["cnn5_avg", False]


# Before the first trial


def test_what_cannot_go_with_the_data_stops_the_sweep_before_it_starts(tmp_path: Path) -> None:
    data = DataConfig.model_validate({"dataset": "digits", "limit": 40, "cache_dir": tmp_path / "cache"})
    trainable = ImageClassifier(data, tmp_path / "prepared")
    fine = {"model": ["mlp6"], "pretrained": [False], "input_resolution": [8], "loss": ["auto", "focal"]}
    trainable.prepare(fine)
    with pytest.raises(DataError, match="loss asymmetric is for multi-label data"):
        trainable.prepare({**fine, "loss": ["cross_entropy", "asymmetric"]})
    watching = {**fine, "monitor": ["val_map"]}
    trainable.prepare(watching)  # nobody looks at it
    with pytest.raises(DataError, match="monitor val_map is of multi-label data"):
        trainable.prepare({**watching, "schedule": ["cosine", "plateau"]})
