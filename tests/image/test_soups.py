"""Averaged weights: what they are, what batch normalisation then rests on, and what cannot be averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainables.combining import Member
from trainables.errors import TrainableError
from trainables.image.combining.average import different_layers, mean_state, moved_norms
from trainables.image.combining.lineage import layers, start
from trainables.image.combining.resolution import at_resolution
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.index import ImageIndex
from trainables.image.models.factory import build_model
from trainables.image.models.weights import digest_of
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import BACKBONE_FILE, HEAD_FILE, MODEL_FILE, state_to_save

SMALL: dict[str, Any] = {
    "model": "simple_cnn3", "width": 4, "batch_norm": True, "input_resolution": 16, "color": "grayscale",
    "pretrained": False, "finetune": "scratch", "mixed_precision": "no",
}  # fmt: skip


@pytest.fixture
def trainable(tmp_path: Path) -> ImageClassifier:
    made = ImageClassifier(ImageClassifier.data_class(dataset="digits", limit=60), tmp_path / "data")
    made.prepare({"input_resolution": (16,), "color": ("grayscale",), "pretrained": (False,)})
    return made


def checkpoint(folder: Path, seed: int, classes: int = 10, **changes: Any) -> Member[ImageConfig]:
    """Random weights as a trial's checkpoint, with statistics that no data gave."""
    config = ImageConfig.model_validate({**SMALL, **changes})
    torch.manual_seed(seed)
    model = build_model(config, classes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    folder.mkdir()
    save_file(state_to_save(model), folder / MODEL_FILE)
    return Member(seed, seed, config, folder)


def test_the_mean_of_weights_with_statistics_of_the_training_data(trainable: ImageClassifier, tmp_path: Path) -> None:
    members = [checkpoint(tmp_path / str(seed), seed) for seed in (1, 2, 3)]
    (tmp_path / "soup").mkdir()
    trainable.average(members, tmp_path / "soup")
    states = [load_file(member.checkpoint / MODEL_FILE) for member in members]
    soup = load_file(tmp_path / "soup" / MODEL_FILE)
    for name, value in soup.items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.allclose(value, sum(state[name] for state in states) / 3, atol=1e-6), name  # type: ignore[arg-type]
    means = [name for name in soup if name.endswith("running_mean")]
    assert means
    for name in means:
        assert not torch.allclose(soup[name], sum(state[name] for state in states) / 3, atol=1e-2)  # type: ignore[arg-type]

    # The first layer's statistics can be told apart from the network: they are of its convolution's output.
    index = ImageIndex.load(trainable.folder / INDEX_FILE)
    evaluation = trainable.evaluate(members[0].config, tmp_path / "soup", "val")
    assert evaluation is not None
    assert evaluation.num_examples == len(index.rows("val"))
    again = tmp_path / "again"
    again.mkdir()
    trainable.average(members, again)
    assert all(torch.equal(soup[name], value) for name, value in load_file(again / MODEL_FILE).items())


def test_heads_on_one_backbone_are_averaged_and_the_backbone_stays_as_it_is(
    trainable: ImageClassifier, tmp_path: Path
) -> None:
    backbone = checkpoint(tmp_path / "backbone", 1)
    weights = backbone.checkpoint / MODEL_FILE
    config = backbone.config.model_copy(update={"finetune": "head", "pretrained": str(weights)})
    before = load_file(weights)
    members = []
    for trial in (1, 2):
        folder = tmp_path / f"head-{trial}"
        folder.mkdir()
        torch.manual_seed(trial)
        shapes = {name: before[f"head.{name}"].shape for name in ("fc.weight", "fc.bias")}
        save_file({name: torch.randn(shape) for name, shape in shapes.items()}, folder / HEAD_FILE)
        named = {"weights": str(weights), "digest": digest_of(weights)}
        (folder / BACKBONE_FILE).write_text(json.dumps(named))
        members.append(Member(trial, trial, config, folder))
    (tmp_path / "soup").mkdir()
    trainable.average(members, tmp_path / "soup")
    soup = load_file(tmp_path / "soup" / MODEL_FILE)
    heads = [load_file(member.checkpoint / HEAD_FILE) for member in members]
    for name, value in soup.items():
        own = name.removeprefix("head.")
        if own in heads[0]:
            assert torch.allclose(value, (heads[0][own] + heads[1][own]) / 2)
        else:
            assert torch.equal(value, before[name]), name
    assert trainable.evaluate(config, tmp_path / "soup", "val") is not None


def test_what_is_frozen_alike_keeps_its_statistics() -> None:
    model = build_model(ImageConfig.model_validate(SMALL), 10)
    state = model.state_dict()
    assert moved_norms(model, [state, dict(state)]) == []
    other = {name: value + 1 if name.endswith("running_mean") else value for name, value in state.items()}
    assert len(moved_norms(model, [state, other])) == sum("running_mean" in name for name in state)
    assert all(torch.equal(mean_state([state, state])[name], value) for name, value in state.items())


def test_checkpoints_of_other_classes_and_other_layers_are_refused_in_words(
    trainable: ImageClassifier, tmp_path: Path
) -> None:
    first, wide = checkpoint(tmp_path / "1", 1), checkpoint(tmp_path / "2", 2, width=8)
    with pytest.raises(TrainableError, match="trials 1 and 2 have different layers"):
        trainable.average([first, wide], tmp_path)
    others = checkpoint(tmp_path / "3", 3, classes=4)
    with pytest.raises(TrainableError, match="trial 3: its checkpoint is not of this data"):
        trainable.average([first, others], tmp_path)
    assert "only one of them has b" in different_layers({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)})


def test_only_the_same_network_pixels_and_start_go_together(tmp_path: Path) -> None:
    config = ImageConfig.model_validate(SMALL)
    for change in ({"width": 8}, {"input_resolution": 32}, {"resize": "pad"}, {"pooling": "max"}):
        assert layers(config) != layers(config.model_copy(update=change))
    assert layers(config) == layers(config.model_copy(update={"lr": 0.5, "dropout": 0.1, "ema_decay": 0.9}))
    assert start(config, 1, tmp_path) != start(config, 2, tmp_path), "random weights are the trial's own"
    seeded = config.model_copy(update={"seed": 5})
    assert start(seeded, 1, tmp_path) == start(seeded, 2, tmp_path)


@pytest.mark.parametrize(
    ("model", "resolution", "told"),
    [("simple_cnn3", 4, "it must be from 8 to 2048"), ("vit_tiny_patch16_224", 192, "weights for each position")],
)
def test_a_resolution_that_the_network_cannot_take_is_refused(model: str, resolution: int, told: str) -> None:
    config = ImageConfig(model=model, pretrained=False, input_resolution=224)
    with pytest.raises(TrainableError, match=told):
        at_resolution(config, resolution)
    assert at_resolution(config, 224) == config
