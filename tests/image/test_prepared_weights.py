"""The weights that trials start from: one file for each model, and the same ones to the end of the sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from trainables.contract import no_progress
from trainables.errors import WeightsError
from trainables.image.checks.weights import prepare_weights
from trainables.image.config import ImageConfig
from trainables.image.models.prepared import weights_of, weights_paths, write_weights

MODELS = ("resnet10t", "mobilenetv3_small_050")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of weights, as `pretrained` names it for several models at once."""
    place = tmp_path / "weights"
    place.mkdir()
    for model in MODELS:
        torch.manual_seed(1)
        torch.save(timm.create_model(model, num_classes=7).state_dict(), place / f"{model}.pth")
    return place


def candidates(**values: Any) -> dict[str, list[Any]]:
    given = {name: [field.default] for name, field in ImageConfig.model_fields.items()}
    return {**given, "input_resolution": [32], "finetune": ["head"], **values}


def config(model: str, pretrained: bool | str) -> ImageConfig:
    return ImageConfig.model_validate({"model": model, "pretrained": pretrained, "finetune": "head"})


def test_each_model_has_its_own_file_of_a_folder(folder: Path, tmp_path: Path) -> None:
    found = prepare_weights(candidates(model=list(MODELS), pretrained=[str(folder)]), no_progress)
    assert found.warnings == ()
    write_weights(tmp_path, found.files)
    for model in MODELS:
        assert weights_of(tmp_path, config(model, str(folder))) == folder / f"{model}.pth"
        assert found.summary[f"weights of {model}"] == str(folder / f"{model}.pth")
    assert weights_of(tmp_path, config(MODELS[0], False)) is None
    assert weights_paths(tmp_path) == [folder / f"{model}.pth" for model in MODELS]


def test_weights_that_were_replaced_or_removed_are_refused(folder: Path, tmp_path: Path) -> None:
    written = str(folder)
    write_weights(tmp_path, prepare_weights(candidates(model=list(MODELS), pretrained=[written]), no_progress).files)
    first, second = (folder / f"{model}.pth" for model in MODELS)
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    second.unlink()
    with pytest.raises(WeightsError, match=r"not the weights of resnet10t .* that the sweep was prepared with"):
        weights_of(tmp_path, config(MODELS[0], written))
    with pytest.raises(WeightsError, match=r"mobilenetv3_small_050.* are missing"):
        weights_of(tmp_path, config(MODELS[1], written))


def test_the_note_of_an_earlier_version_is_read(folder: Path, tmp_path: Path) -> None:
    file = folder / f"{MODELS[0]}.pth"
    (tmp_path / "weights.json").write_text(json.dumps({"relative/weights": str(file)}, indent=1))
    assert weights_of(tmp_path, config(MODELS[0], "relative/weights")) == file
    assert weights_paths(tmp_path) == [file]


def test_a_damaged_note_is_told(folder: Path, tmp_path: Path) -> None:
    write_weights(tmp_path, prepare_weights(candidates(model=[MODELS[0]], pretrained=[str(folder)]), no_progress).files)
    note = tmp_path / "weights.json"
    note.write_bytes(note.read_bytes().replace(b"resnet10t", b"resnet11t"))
    with pytest.raises(WeightsError, match=r"weights.json: damaged"):
        weights_of(tmp_path, config(MODELS[0], str(folder)))
