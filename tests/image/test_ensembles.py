"""Models that answer together: the mean of their probabilities, in one graph, and a temperature in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from trainables.combining import Member
from trainables.image.config import ImageConfig
from trainables.image.deployment.predict import load_package
from trainables.image.models.ensemble import smaller_by
from trainables.image.models.factory import build_model
from trainables.image.package import Package
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import MODEL_FILE, load_trained, state_to_save

SMALL: dict[str, Any] = {
    "model": "simple_cnn3", "width": 4, "batch_norm": True, "input_resolution": 16, "color": "grayscale",
    "pretrained": False, "finetune": "scratch", "mixed_precision": "no",
}  # fmt: skip
SWEEP = {"sweep": "small", "trial": 1, "epoch": 1}


@pytest.fixture(scope="module")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_CACHE", str(folder / "cache"))
        data = ImageClassifier.data_class(dataset="digits", limit=60)
        made = ImageClassifier(data, folder / "data")
        made.prepare({"input_resolution": (16, 24), "color": ("grayscale",), "pretrained": (False,)})
    return made


def member(folder: Path, seed: int, scale: float = 1.0, **changes: Any) -> Member[ImageConfig]:
    """Random weights as a trial's checkpoint; `scale` makes its outputs surer."""
    config = ImageConfig.model_validate({**SMALL, **changes})
    torch.manual_seed(seed)
    model = build_model(config, 10)
    with torch.no_grad():
        for parameter in model.get_classifier().parameters():  # type: ignore[operator]
            parameter *= scale
    folder.mkdir(parents=True)
    save_file(state_to_save(model), folder / MODEL_FILE)
    return Member(seed, seed, config, folder)


def joined(trainable: ImageClassifier, members: Sequence[Member[ImageConfig]], folder: Path) -> ImageConfig:
    folder.mkdir()
    trainable.join(members, folder)
    return trainable.joined_config(members)


def export(
    trainable: ImageClassifier, config: ImageConfig, checkpoint: Path, package: Path, **info: Any
) -> tuple[Package, dict[str, Any]]:
    """Exports, which verifies the file against the module on real images."""
    package.mkdir()
    trainable.export(config, checkpoint, package, {**SWEEP, **info})
    return load_package(package), json.loads((package / "model.json").read_text())


def test_probabilities_are_the_mean_of_those_of_each_also_at_other_resolutions(
    trainable: ImageClassifier, tmp_path: Path
) -> None:
    members = [member(tmp_path / "1", 1, 9.0), member(tmp_path / "2", 2, 9.0, input_resolution=24)]
    config = joined(trainable, members, tmp_path / "both")
    assert config.input_resolution == 24
    package, card = export(trainable, config, tmp_path / "both", tmp_path / "package")
    assert [each["input_resolution"] for each in card["networks"]] == [16, 24]
    assert "the mean of the probabilities of 2 networks" in (tmp_path / "package" / "README.md").read_text()

    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), np.uint8)
    small = np.stack(
        [np.asarray(Image.fromarray(one[..., 0]).resize((16, 16), Image.Resampling.BILINEAR)) for one in images]
    )
    expected = []
    for each, pixels in zip(members, (small[..., None], images), strict=True):
        alone, _ = export(trainable, each.config, each.checkpoint, tmp_path / f"package-{each.trial}")
        expected.append(alone.probabilities(pixels))
    assert np.abs(expected[0] - expected[1]).max() > 0.1, "they say different things"
    assert np.allclose(package.probabilities(images), np.mean(expected, axis=0), atol=0.01), "within grey levels"

    evaluation = trainable.evaluate(config, tmp_path / "both", "val")
    assert evaluation is not None
    told = np.stack([evaluation.predictions[f"p_{name}"].to_numpy() for name in map(str, range(10))], axis=1)
    assert np.allclose(told.sum(axis=1), 1, atol=1e-5)


def test_heads_on_one_backbone_share_it(trainable: ImageClassifier, tmp_path: Path) -> None:
    first = member(tmp_path / "1", 1)
    other = tmp_path / "2"
    other.mkdir()
    weights = load_file(first.checkpoint / MODEL_FILE)
    head = [name for name in weights if name.startswith("head.fc")]
    assert head
    save_file({name: value + (0.5 if name in head else 0.0) for name, value in weights.items()}, other / MODEL_FILE)
    members = [first, Member(2, 2, first.config, other), member(tmp_path / "3", 3)]
    config = joined(trainable, members, tmp_path / "all")
    model = load_trained(config, 10, tmp_path / "all")
    assert model.num_backbones == 2
    images = torch.rand(4, 1, 16, 16)
    singles = [load_trained(each.config, 10, each.checkpoint) for each in members]
    mean = torch.stack([one((images - 0.449) / 0.226).softmax(-1) for one in singles]).mean(0)
    assert torch.allclose(model(images).softmax(-1), mean, atol=1e-2)
    sizes = [sum(each.numel() for each in one.parameters()) for one in (model, singles[0])]
    assert sizes[0] == 2 * sizes[1] + sum(weights[name].numel() for name in head), "the backbone once, each head once"
    export(trainable, config, tmp_path / "all", tmp_path / "package")


def test_pixels_are_made_smaller_as_pillow_does_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    for size in (36, 32, 17):
        weights = smaller_by(48, size)
        ours = weights @ picture @ weights.T
        theirs = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR), np.float64)
        assert np.abs(ours - theirs).max() < 1.6, "Pillow rounds twice"


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_temperature_changes_how_sure_the_model_is_and_never_what_it_says(
    trainable: ImageClassifier, tmp_path: Path, temperature: float
) -> None:
    one = member(tmp_path / "1", 1, 9.0)
    plain, _ = export(trainable, one.config, one.checkpoint, tmp_path / "plain")
    told = {"value": temperature, "num_examples": 9, "val_calibration_error": [0.2, 0.1], "val_log_loss": [0.9, 0.5]}
    scaled, card = export(trainable, one.config, one.checkpoint, tmp_path / "scaled", temperature=told)
    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), np.uint8)
    before, after = plain.probabilities(images), scaled.probabilities(images)
    assert (before.argmax(1) == after.argmax(1)).all()
    expected = torch.from_numpy(before).double().log().div(temperature).softmax(-1).numpy()
    assert np.allclose(after, expected, atol=1e-4)
    assert card["preprocessing"]["output"]["temperature"] == temperature
    assert "divided by a temperature" in (tmp_path / "scaled" / "README.md").read_text()
    assert scaled.facts.origin["temperature"]["value"] == temperature
