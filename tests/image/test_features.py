"""Head-only trials on features that were computed once: the same as with the backbone in every epoch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch

from tests.support.alike import assert_alike, bound
from tests.support.trials import TIMES, Case, bright_corners
from trainables.errors import WeightsError
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.features import store
from trainables.image.features.backbone import backbone_of
from trainables.image.features.store import open_features
from trainables.image.features.wanted import wants_features
from trainables.image.index import ImageIndex
from trainables.image.models.factory import starting_model
from trainables.image.models.own_head import OwnHead
from trainables.image.training import evaluate
from trainables.image.training.checkpoint import HEAD_FILE, MODEL_FILE, load_trained
from trainables.image.training.classifier import train_classifier
from trainables.local import LocalHandle

NUM_VAL = 15


class Pictures:
    """Stands for the decoded pixels of a case."""

    def __init__(self, case: Case) -> None:
        self.gather = case.gather

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def corners() -> Case:
    return bright_corners(60, size=32)


@pytest.fixture
def data(tmp_path: Path, corners: Case, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    monkeypatch.setattr(store, "open_pixels", lambda *_, **__: Pictures(corners))
    return DataConfig.model_validate({"dataset": "digits", "cache_dir": str(tmp_path / "cache")})


def weights_of(model: str, folder: Path) -> Path:
    torch.manual_seed(1)
    sized = {"img_size": 64} if model.startswith("swin") else {"img_size": 32} if model[:4] in ("deit", "levi") else {}
    net = timm.create_model(model, num_classes=7, **sized)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that are not those of a new one
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = folder / f"{model}.pth"
    torch.save(net.state_dict(), path)
    return path


def configured(model: str, weights: Path, **values: Any) -> ImageConfig:
    base = {"model": model, "pretrained": str(weights), "finetune": "head", "features": "auto", "input_resolution": 32}
    return ImageConfig.model_validate(base | {"epochs": 3, "batch_size": 8, "lr": 0.01} | values)


def without_times(handle: LocalHandle) -> list[dict[str, float]]:
    return [{name: v for name, v in report.metrics.items() if name not in TIMES} for report in handle.reports]


def train_apart(
    config: ImageConfig, index: ImageIndex, data: DataConfig, weights: Path, folder: Path, **options: Any
) -> LocalHandle:
    features = open_features(config, index, data, weights, 1)
    assert features is not None
    handle = LocalHandle(folder, **{"seed": 3, **options})
    train_classifier(config, index, features, weights, handle)
    features.close()
    return handle


def test_the_trial_that_computes_features_says_what_that_took(corners: Case, data: DataConfig, tmp_path: Path) -> None:
    """Otherwise the first trials would look slow, and those that find the features quick."""
    weights = weights_of("resnet10t", tmp_path)
    config = configured("resnet10t", weights)
    first, second = (train_apart(config, corners.index, data, weights, tmp_path / name) for name in ("a", "b"))
    assert [report.metrics.get("shared_s", 0.0) > 0 for report in first.reports] == [True, False, False]
    assert not any("shared_s" in report.metrics for report in second.reports)


def test_features_are_computed_with_the_threads_of_their_trial(
    corners: Case, data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with one for each CPU, which trials at the same time would take from each other."""
    weights, used, compute = weights_of("resnet10t", tmp_path), set(), store.FrozenBackbone.__call__

    def counted(backbone: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
        used.add(torch.get_num_threads())
        return compute(backbone, images)

    monkeypatch.setattr(store.FrozenBackbone, "__call__", counted)
    with threads(3):
        features = open_features(configured("resnet10t", weights), corners.index, data, weights, 1)
        assert torch.get_num_threads() == 3
    assert features is not None
    assert used == {1}
    features.close()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("resnet10t", {"pooling": "avg", "optimizer": "sgd", "weight_decay": 0.01}),
        ("resnet10t", {"pooling": "max", "dropout": 0.4, "head_lr_multiplier": 2.0}),
        ("mobilenetv3_small_050", {"pooling": "avgmax", "dropout": 0.2, "label_smoothing": 0.1}),
        ("mobilenetv2_050", {"ema_decay": 0.9, "schedule": "one_cycle"}),
        ("mobilenetv2_050", {"average_weights": 2, "dropout": 0.2}),
        ("convnext_atto", {"dropout": 0.3}),
        ("vit_tiny_patch16_224", {"dropout": 0.3, "pooling": "token"}),
        ("dla46x_c", {"dropout": 0.3}),  # the classifier is a convolution of 1×1
        ("sequencer2d_s", {"dropout": 0.3}),  # its pooling and its dropout are a part of the classifier
        ("coat_tiny", {"dropout": 0.2}),  # several maps, and tensors that blocks share
        ("swiftformer_xs", {"dropout": 0.3, "head_lr_multiplier": 2.0}),  # two classifiers of one vector
        ("deit_tiny_distilled_patch16_224", {"dropout": 0.3}),  # of two vectors
        ("levit_128s", {"dropout": 0.3}),  # with the dropout in them
        ("repvit_m1", {"dropout": 0.3}),  # two, each with a normalisation before it
        ("efficientvim_m1_dist", {"dropout": 0.3}),  # two of each stage, weighted
    ],
)
def test_a_trial_is_the_same_with_and_without_its_backbone(
    corners: Case, data: DataConfig, tmp_path: Path, model: str, values: dict[str, Any]
) -> None:
    weights = weights_of(model, tmp_path)
    config = configured(model, weights, mixed_precision="no", **values)
    apart = train_apart(config, corners.index, data, weights, tmp_path / "apart")
    whole = corners.train(config, tmp_path / "whole", weights)
    assert_alike(without_times(apart), without_times(whole), NUM_VAL)
    small, large = (next(handle.folder.glob("checkpoints/epoch-00003")) for handle in (apart, whole))
    assert (small / HEAD_FILE).stat().st_size < (large / MODEL_FILE).stat().st_size / 10
    one, other = (load_trained(config, 3, folder).state_dict() for folder in (small, large))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=bound(3), atol=bound(3) / 10)


@pytest.mark.parametrize("model", ["resnet10t", "deit_tiny_distilled_patch16_224"])
def test_the_final_evaluation_of_a_head_runs_no_backbone(
    corners: Case, data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """It says what the whole model says; where the features are gone that is what runs."""
    weights = weights_of(model, tmp_path)
    config = configured(model, weights, mixed_precision="no")
    handle = train_apart(config, corners.index, data, weights, tmp_path / "trial")
    checkpoint = next(handle.folder.glob("checkpoints/epoch-00003"))
    corners.index.save(tmp_path / INDEX_FILE)
    monkeypatch.setattr(evaluate, "open_pixels", lambda *_, **__: Pictures(corners))
    runs = []
    monkeypatch.setattr(evaluate, "load_trained", lambda *given: runs.append(given) or load_trained(*given))
    found = evaluate.evaluate_checkpoint(config, data, tmp_path, checkpoint, "val")
    assert not runs
    without = data.model_copy(update={"cache_dir": tmp_path / "another"})
    whole = evaluate.evaluate_checkpoint(config, without, tmp_path, checkpoint, "val")
    assert len(runs) == 1
    assert found is not None
    assert whole is not None
    assert found.metrics == pytest.approx(whole.metrics, abs=1e-4)
    assert found.metrics["val_accuracy"] == handle.reports[-1].metrics["val_accuracy"]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("resnet10t", 64),
        ("swin_tiny_patch4_window7_224", 64),
        ("convnext_atto", 64),
        ("dla46x_c", 64),
        ("sequencer2d_s", 64),
    ],
)
def test_each_stored_pooling_is_what_the_net_gives_its_own_head(model: str, size: int, tmp_path: Path) -> None:
    weights = weights_of(model, tmp_path)
    backbone = backbone_of(configured(model, weights, mixed_precision="no", input_resolution=size), 3, weights)
    assert not isinstance(backbone, str)
    assert set(backbone.widths) == {"avg", "max", "avgmax"}
    images = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(5))
    stored = backbone(images)
    for kind, values in stored.items():
        config = configured(model, weights, pooling=kind, input_resolution=size)
        net: Any = starting_model(config, 3, weights).eval()
        with torch.no_grad():
            own = net.forward_head(net.forward_features(images), pre_logits=True).flatten(1)
        assert backbone.widths[kind] == own.shape[1]
        torch.testing.assert_close(values, own, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(stored["avg"], stored["max"])


@pytest.mark.parametrize(
    ("model", "size", "width"),
    [
        ("crossvit_tiny_240", 240, 96 + 192),  # a vector of each branch
        ("efficientformer_l1", 224, 448),
        ("cpubone_nano", 64, 1600),
        ("caformer_s18", 64, 512),  # a hidden layer and a normalisation in its classifier
        ("iformer_t", 64, 256),
        ("pit_ti_distilled_224", 64, 2 * 256),
    ],
)
def test_an_own_head_on_stored_features_says_what_the_net_says(
    model: str, size: int, width: int, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    sized = {"img_size": size} if model.startswith("pit") else {}
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model(model, num_classes=7, **sized).state_dict(), weights)
    config = configured(model, weights, mixed_precision="no", input_resolution=size)
    backbone = backbone_of(config, 3, weights)
    assert not isinstance(backbone, str)
    assert backbone.widths == {"native": width}
    assert backbone.layout is not None
    net = starting_model(config, 3, weights).eval()
    images = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        said = OwnHead(net, backbone.layout, 0.0).eval()(backbone(images)["native"])
        torch.testing.assert_close(said, net(images), rtol=1e-3, atol=1e-4)


def test_why_a_net_has_no_stored_features_is_said(tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("volo_d1_224", num_classes=7, img_size=64).state_dict(), weights)
    why = backbone_of(configured("volo_d1_224", weights, input_resolution=64), 3, weights)
    assert why == "volo_d1_224 gives a classifier more than one vector of features per image"


def test_one_pass_serves_other_poolings(
    corners: Case, data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of("resnet10t", tmp_path)
    train_apart(configured("resnet10t", weights), corners.index, data, weights, tmp_path / "first")
    monkeypatch.setattr(store, "backbone_of", None)  # would fail when called
    config = configured("resnet10t", weights, pooling="max", mixed_precision="auto", dropout=0.3)
    apart = train_apart(config, corners.index, data, weights, tmp_path / "second")
    whole = corners.train(config, tmp_path / "whole", weights)
    for one, other in zip(without_times(apart), without_times(whole), strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)


def test_an_interrupted_trial_goes_on_with_and_without_features(
    corners: Case, data: DataConfig, tmp_path: Path
) -> None:
    weights = weights_of("mobilenetv2_050", tmp_path)
    config = configured("mobilenetv2_050", weights, dropout=0.2, mixed_precision="no")
    straight = train_apart(config, corners.index, data, weights, tmp_path / "straight")
    short = config.model_copy(update={"epochs": 3, "features": "auto"})

    def kill(report: Any) -> None:
        if report.epoch == 1:
            raise SystemExit

    for name in ("apart", "whole"):
        with pytest.raises(SystemExit):
            train_apart(short, corners.index, data, weights, tmp_path / name, on_report=kill)
    apart = train_apart(short, corners.index, data, weights, tmp_path / "apart", attempt=2)
    assert without_times(apart) == without_times(straight)[1:]
    whole = corners.train(short, tmp_path / "whole", weights, attempt=2)
    assert_alike(without_times(whole), without_times(straight)[1:], NUM_VAL, first_epoch=2)


def test_a_trial_on_stored_versions_is_the_same_as_one_that_changes_images(
    corners: Case, data: DataConfig, tmp_path: Path
) -> None:
    """Mirrored for certain, an image has one version only, which both ways must see."""
    weights = weights_of("mobilenetv2_050", tmp_path)
    config = configured("mobilenetv2_050", weights, mixed_precision="no", hflip=1.0, feature_views=2)
    apart = train_apart(config, corners.index, data, weights, tmp_path / "apart")
    whole = corners.train(config.model_copy(update={"feature_views": 0}), tmp_path / "whole", weights)
    assert_alike(without_times(apart), without_times(whole), NUM_VAL)
    unchanged = train_apart(configured("mobilenetv2_050", weights), corners.index, data, weights, tmp_path / "plain")
    assert apart.reports[0].metrics["train_loss"] != unchanged.reports[0].metrics["train_loss"]


def test_epochs_take_the_versions_in_turn_and_trials_share_them(
    corners: Case, data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of("resnet10t", tmp_path)
    config = configured("resnet10t", weights, augment="light", feature_views=2)
    train, val = corners.index.rows("train"), corners.index.rows("val")
    features = open_features(config, corners.index, data, weights, 1)
    plain = open_features(configured("resnet10t", weights), corners.index, data, weights, 1)
    assert features is not None
    assert plain is not None
    first, second, third = (features.gather(features.rows_of_epoch(train, epoch)) for epoch in (1, 2, 3))
    assert (first == third).all()
    assert (first != second).any(axis=1).all()
    assert (first != plain.gather(train)).any(axis=1).all()
    judged, unchanged = features.gather(val), plain.gather(val)
    assert judged == pytest.approx(unchanged, rel=1e-3, abs=1e-3), "what is judged on is not changed"
    monkeypatch.setattr(store, "backbone_of", None)  # would fail when called
    again = open_features(config.model_copy(update={"lr": 0.1, "dropout": 0.3}), corners.index, data, weights, 1)
    assert again is not None
    assert (again.gather(train) == first).all()


@pytest.mark.parametrize("values", [{"mixup": 0.2}, {"cutmix": 1.0}, {"drop_path": 0.1}])
def test_what_no_stored_version_can_stand_for_runs_the_backbone(tmp_path: Path, values: dict[str, Any]) -> None:
    config = configured("resnet10t", tmp_path / "x.pth", augment="light", feature_views=4)
    assert wants_features(config)
    assert not wants_features(config.model_copy(update=values))


@pytest.mark.parametrize(
    "values",
    [
        {"features": "none"},
        {"finetune": "full"},
        {"augment": "light"},
        {"hflip": 0.5},
        {"mixup": 0.2},
        {"crop_scale": 0.5},
        {"pooling": "gem"},
        {"drop_path": 0.1},
    ],
)
def test_what_changes_from_epoch_to_epoch_runs_the_backbone(tmp_path: Path, values: dict[str, Any]) -> None:
    assert wants_features(configured("resnet10t", tmp_path / "x.pth"))
    assert not wants_features(configured("resnet10t", tmp_path / "x.pth", **values))


def test_a_pooling_with_layers_of_its_own_runs_the_backbone(corners: Case, data: DataConfig, tmp_path: Path) -> None:
    weights = weights_of("vit_tiny_patch16_224", tmp_path)
    config = configured("vit_tiny_patch16_224", weights, pooling="avg")
    assert open_features(config, corners.index, data, weights, 1) is None  # its normalisation is trained, too
    assert open_features(config, corners.index, data, weights, 1) is None


def test_test_examples_are_not_looked_at(corners: Case, data: DataConfig, tmp_path: Path) -> None:
    import pyarrow as pa

    weights = weights_of("resnet10t", tmp_path)
    table = corners.index.table
    splits = ["test" if number % 5 == 0 else "val" if number % 5 == 1 else "train" for number in range(len(table))]
    table = table.set_column(table.schema.get_field_index("split"), "split", pa.array(splits))
    index = dataclasses.replace(corners.index, table=table, fingerprint="with a test split")
    features = open_features(configured("resnet10t", weights), index, data, weights, 1)
    assert features is not None
    assert not features.gather(index.rows("test")).any()
    assert features.gather(index.rows("val")).any(axis=1).all()


def test_other_weights_under_the_same_name_are_noticed(corners: Case, data: DataConfig, tmp_path: Path) -> None:
    weights = weights_of("resnet10t", tmp_path)
    config = configured("resnet10t", weights, epochs=1)
    handle = train_apart(config, corners.index, data, weights, tmp_path / "trial")
    checkpoint = next(handle.folder.glob("checkpoints/*"))
    weights.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not the weights"):
        load_trained(config, 3, checkpoint)
    weights.unlink()
    with pytest.raises(WeightsError, match="put them back"):
        load_trained(config, 3, checkpoint)


def test_with_folds_every_training_image_is_there_as_it_is_and_in_each_version(
    corners: Case, data: DataConfig, tmp_path: Path
) -> None:
    weights = weights_of("resnet10t", tmp_path)
    num = len(corners.index.table)
    folds = pa.array([[number % 3] for number in range(num)], pa.list_(pa.int32()))
    table = corners.index.table.append_column("folds", folds)
    splits = pa.array(["train"] * num)
    table = table.set_column(table.schema.get_field_index("split"), "split", splits)
    index = dataclasses.replace(corners.index, table=table, fingerprint="with folds")
    rows = np.arange(num)
    found = {}
    for name, values in {"plain": {}, "changed": {"augment": "light", "feature_views": 2}}.items():
        features = open_features(configured("resnet10t", weights, **values), index, data, weights, 1)
        assert features is not None
        found[name] = features
    plain, changed = found["plain"], found["changed"]
    np.testing.assert_array_equal(changed.gather(rows), plain.gather(rows))
    first, second, third = (changed.gather(changed.rows_of_epoch(rows, epoch)) for epoch in (1, 2, 3))
    assert (first != plain.gather(rows)).any(axis=1).all()
    assert (first != second).any(axis=1).all()
    np.testing.assert_array_equal(first, third)
    for features in found.values():
        features.close()
