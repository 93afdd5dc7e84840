"""What an image model takes: the same before training and after the export, and written into the package."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from trainables.facts import STANDARD, standard_facts
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.deployment.untrained import measure_untrained
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.models.factory import build_model
from trainables.image.trainable import ImageClassifier

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder as `prepare` leaves it, as far as the classes go."""
    row = {"example": "a", "path": "a.png", "labels": [0], "group": "a", "split": "train"}
    ImageIndex(pa.Table.from_pylist([row], schema=SCHEMA), CLASSES, False, "fingerprint").save(tmp_path / INDEX_FILE)
    return tmp_path


@pytest.mark.parametrize("model", ["mlp6", "mobilenetv3_small_050"])
def test_facts_of_a_model_that_is_not_trained(prepared: Path, model: str) -> None:
    config = ImageConfig(model=model, input_resolution=32, pretrained=False)
    facts = measure_untrained(config, prepared, standard_facts(ImageClassifier.facts))
    parameters = sum(each.numel() for each in build_model(config, len(CLASSES)).parameters())
    assert facts["num_parameters"] == parameters
    assert facts["onnx_bytes"] > 3.9 * parameters  # float32
    assert facts["num_flops"] >= 2 * parameters * 0.9 if model == "mlp6" else facts["num_flops"] > 0
    assert all(0 < facts[setting.fact] <= facts[setting.p95_fact] for setting in STANDARD)


def test_only_what_is_asked_for_is_exported(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters and operations are known in a moment; an export takes seconds."""
    monkeypatch.setattr("trainables.image.deployment.untrained.write_onnx", lambda *_: pytest.fail("exported"))
    config = ImageConfig(model="simple_cnn3", input_resolution=32, pretrained=False)
    assert set(measure_untrained(config, prepared, ("num_parameters", "num_flops"))) == {"num_parameters", "num_flops"}


def test_training_settings_do_not_make_another_architecture() -> None:
    def name(**settings: object) -> str:
        return ImageClassifier.architecture(ImageConfig.model_validate({"model": "resnet18", **settings}))

    assert name() == name(lr=0.5, finetune="head", dropout=0.3, batch_size=8, seed=4)
    others = [{"model": "resnet34"}, {"input_resolution": 96}, {"pooling": "max"}, {"color": "grayscale"}]
    assert len({name(), *(name(**other) for other in others)}) == 5
