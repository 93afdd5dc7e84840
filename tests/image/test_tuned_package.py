"""Thresholds tuned on val: in the evaluation, in the package, in prediction; test has no say in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.image.test_deploy import INFO, SMALL, Case
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.deployment.predict import predict_paths
from trainables.image.index import ImageIndex
from trainables.image.package import CARD_FILE, PackageFacts, load_package
from trainables.image.training.evaluate import evaluate_checkpoint


def test_the_package_decides_as_the_evaluation_does(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", multilabel=True)
    config = case.trained(**SMALL, threshold="tuned")
    case.export(config)
    package = load_package(case.package)
    val, test = (
        evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, split) for split in ("val", "test")
    )
    assert val is not None
    assert test is not None
    tuned = test.classes["threshold"].to_pylist()
    assert len(set(tuned)) > 1
    assert package.facts.thresholds.tolist() == pytest.approx(tuned)
    assert val.classes["threshold"].to_pylist() == pytest.approx(tuned)
    assert json.loads((case.package / CARD_FILE).read_text())["threshold"] == pytest.approx(tuned)

    paths = [case.images / name for name in test.predictions["example"].to_pylist()]
    said = pa.Table.from_batches(predict_paths(package, paths))["predicted"].to_pylist()
    assert said == test.predictions["predicted"].to_pylist()


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_a_temperature_moves_the_thresholds_and_no_decision(tmp_path: Path, temperature: float) -> None:
    case = Case(tmp_path / "case", multilabel=True)
    config = case.trained(**SMALL, threshold="tuned")
    told = {"value": temperature, "num_examples": 9, "val_calibration_error": [0.2, 0.1], "val_log_loss": [0.9, 0.5]}
    case.export(config, {**INFO, "temperature": told})
    package = load_package(case.package)
    test = evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, "test")
    assert test is not None
    tuned = np.array(test.classes["threshold"].to_pylist())
    expected = 1 / (1 + np.exp(-np.log(tuned / (1 - tuned)) / temperature))
    assert package.facts.thresholds.tolist() == pytest.approx(expected.tolist())
    paths = [case.images / name for name in test.predictions["example"].to_pylist()]
    said = pa.Table.from_batches(predict_paths(package, paths))
    assert said["predicted"].to_pylist() == test.predictions["predicted"].to_pylist()
    names = [name for name in test.predictions.column_names if name.startswith("p_")]
    assert not np.allclose(said[names[0]].to_numpy(), test.predictions[names[0]].to_numpy(), atol=1e-3)


def test_labels_of_the_test_split_move_no_threshold(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", multilabel=True)
    config = case.trained(**SMALL, threshold="tuned")
    before = evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, "test")
    table = case.index.table
    labels = [[5] if row["split"] == "test" else row["labels"] for row in table.to_pylist()]
    column = table.schema.get_field_index("labels")
    other = table.set_column(column, table.schema.field("labels"), pa.array(labels, table.schema.field("labels").type))
    ImageIndex(other, case.index.classes, True, "fingerprint-1").save(case.folder / INDEX_FILE)
    after = evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, "test")
    assert before is not None
    assert after is not None
    assert after.classes["threshold"].equals(before.classes["threshold"])
    assert after.metrics != before.metrics


def test_a_fixed_threshold_is_the_packages(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", multilabel=True)
    case.export(case.trained(**SMALL, threshold=0.3))
    assert load_package(case.package).facts.threshold == 0.3


@pytest.mark.parametrize("threshold", [0.25, (0.1, 0.9)])
def test_metadata_and_back(threshold: float | tuple[float, ...]) -> None:
    facts = PackageFacts(("sea", "sky"), True, 32, 3, threshold)
    assert PackageFacts.from_metadata(facts.to_metadata()) == facts
    assert facts.thresholds.shape == (2,)
    np.testing.assert_allclose(facts.thresholds, threshold)


def test_a_package_with_too_few_thresholds_is_refused() -> None:
    metadata = PackageFacts(("sea", "sky"), True, 32, 3, (0.1, 0.9)).to_metadata() | {"threshold": "[0.1]"}
    with pytest.raises(ValueError, match="1 thresholds for 2 classes"):
        PackageFacts.from_metadata(metadata)


def test_one_class_an_example_has_no_threshold(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    config = case.trained(**SMALL, threshold="tuned")
    assert isinstance(config, ImageConfig)
    case.export(config)
    assert load_package(case.package).facts.threshold == 0.5
