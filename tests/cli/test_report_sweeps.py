"""Every sweep file of a report runs on a small folder of the layout that it is made for: one epoch of one trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweep_runner.cli.main import main
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec

SWEEPS = Path(__file__).parents[2] / "sweeps"
REPORTS = ("sports_balls", "one_piece", "cifar10", "multilabel_photos", "voc", "voc_multilabel", "voc_foreground")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "sweep-cache"))


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)


def class_folders(root: Path, splits: tuple[str, ...] = ("",), classes: int = 3, count: int = 10) -> Path:
    for number in range(len(splits) * classes * count):
        split, rest = splits[number % len(splits)], number // len(splits)
        picture(root / split / f"class{rest % classes}" / f"{number}.PNG", number)
    return root


def with_test_folder(root: Path) -> Path:
    return class_folders(root, ("train", "test"))


def photos_with_lists(root: Path) -> Path:
    """im<number>.jpg, and a list of numbers a label; every fourth photo has none."""
    labels = {"baby": range(0, 40, 2), "river": range(1, 40, 4), "sea": range(0, 40, 4)}
    for number in range(40):
        picture(root / "images" / f"im{number}.jpg", number)
    (root / "annotations").mkdir()
    for name, numbers in labels.items():
        (root / "annotations" / f"{name}.txt").write_text("".join(f"{number}\r\n" for number in numbers))
    return root


def voc(root: Path) -> Path:
    """24 photos with a person and another thing each, with masks of both."""
    for folder in ("Annotations", "SegmentationClass", "SegmentationObject"):
        (root / folder).mkdir(parents=True)
    palette = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()
    for number in range(24):
        other, place = (("dog", 12), ("cat", 8))[number % 2]
        boxes = {"person": (2, 2, 18, 28), other: (20, 4, 38, 26)}
        picture(root / "JPEGImages" / f"{number:04}.jpg", number)
        masks = np.zeros((2, 30, 40), dtype=np.uint8)
        for place_of_object, ((left, top, right, bottom), index) in enumerate(
            zip(boxes.values(), (15, place), strict=True), start=1
        ):
            masks[0, top:bottom, left:right] = index
            masks[1, top:bottom, left:right] = place_of_object
        for mask, folder in zip(masks, ("SegmentationClass", "SegmentationObject"), strict=True):
            image = Image.fromarray(mask, mode="P")
            image.putpalette(palette)
            image.save(root / folder / f"{number:04}.png")
        objects = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
            f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for name, box in boxes.items()
        )
        (root / "Annotations" / f"{number:04}.xml").write_text(
            f"<annotation><filename>{number:04}.jpg</filename><size><width>40</width><height>30</height></size>"
            f"{objects}</annotation>"
        )
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "sports_balls": with_test_folder,
    "one_piece": class_folders,
    "cifar10": with_test_folder,
    "multilabel_photos": photos_with_lists,
    "voc": voc,
    "voc_multilabel": voc,
    "voc_foreground": voc,
}


def test_every_report_has_its_sweep_file() -> None:
    assert set(LAYOUTS) == set(REPORTS) <= {path.stem for path in SWEEPS.glob("*.yaml")}


@pytest.mark.parametrize("name", REPORTS)
def test_it_runs_on_a_small_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = LAYOUTS[name](tmp_path / "data")
    spec = check_spec(load_spec(SWEEPS / f"{name}.yaml")).spec
    own = "space" if "input_resolution" in spec.space else "fixed"
    settings = {
        "data.root": root,
        "space.model": "[simple_cnn3]",
        "fixed.epochs": 1,
        "fixed.mixed_precision": "no",
        f"{own}.input_resolution": "[32]" if own == "space" else 32,
        "space.batch_size": "[8]",
        "baselines": "{}",
    }
    if "finetune" in spec.space:
        settings["space.finetune"] = "[scratch]"
    if "dropout" in spec.space:
        settings["space.dropout"] = "[0.2]"
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    assert main(["trial", str(SWEEPS / f"{name}.yaml"), *arguments, "--results", str(tmp_path / "results")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1: ")
    assert spec.objective.metric in out
    assert "warning:" not in err


@pytest.mark.parametrize(
    ("name", "baselines"),
    [
        ("sports_balls", {"adam-max", "sgd-avg"}),
        ("cifar10", {"adam-max", "sgd-avg"}),
        ("one_piece", {"mlp-50", "resnet18-head-200", "resnet18-full-200", "resnet18-scratch-200"}),
        ("multilabel_photos", {"final", "cnn4", "cnn3-batch-norm", "cnn5-average"}),
        ("voc", {"mobilenetv3-full", "mobilenetv3-head", "efficientnet-head", "shufflenet-head", "own-cnn-searched"}),
    ],
)
def test_the_reports_own_settings_are_named_baselines(name: str, baselines: set[str]) -> None:
    assert baselines <= set(check_spec(load_spec(SWEEPS / f"{name}.yaml")).spec.baselines)


def test_the_two_models_of_reports_1_and_3_are_as_reported() -> None:
    for name, model in (("sports_balls", "resnet26d"), ("cifar10", "mobilenetv2_100")):
        spec = check_spec(load_spec(SWEEPS / f"{name}.yaml")).spec
        shared = {"model": model, "batch_size": 32, "input_resolution": 224, "epochs": 5, "schedule": "constant"}
        for baseline, own in (
            ("adam-max", {"optimizer": "adam", "lr": 0.001, "pooling": "max"}),
            ("sgd-avg", {"optimizer": "sgd", "lr": 0.01, "momentum": 0.8, "pooling": "avg"}),
        ):
            config = spec.config_of(spec.baselines[baseline])
            assert {key: config[key] for key in {**shared, **own}} == {**shared, **own}


def test_the_final_model_of_report_4_is_as_reported() -> None:
    spec = check_spec(load_spec(SWEEPS / "multilabel_photos.yaml")).spec
    config = spec.config_of(spec.baselines["final"])
    reported = {"model": "resnet50", "loss": "bce", "optimizer": "adadelta", "lr": 0.2, "batch_size": 32, "epochs": 15}
    assert {key: config[key] for key in reported} == reported
    assert config["threshold"] == 0.5
