"""The final evaluation's figures, held against scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit, softmax
from sklearn import metrics as sk

from trainables.image.measures.scores import score


def _examples(count: int) -> list[str]:
    return [f"{number}.png" for number in range(count)]


@pytest.mark.parametrize(("num_classes", "present"), [(3, 3), (8, 8), (8, 6)])
def test_single_label_metrics_are_scikit_learns(num_classes: int, present: int) -> None:
    random = np.random.default_rng(num_classes + present)
    targets = random.integers(0, present, 60)
    logits = random.normal(size=(60, num_classes)).astype(np.float32)
    logits[np.arange(60), targets] += 1.5
    logits[:, present:] -= 20  # classes that neither occur nor are predicted
    classes = [f"c{number}" for number in range(num_classes)]
    evaluation = score("test", _examples(60), targets, logits, classes, multilabel=False)
    predicted, probabilities = logits.argmax(axis=1), softmax(logits.astype(np.float64), axis=1)
    expected = {
        "test_accuracy": sk.accuracy_score(targets, predicted),
        "test_balanced_accuracy": sk.balanced_accuracy_score(targets, predicted),
        "test_macro_f1": sk.f1_score(targets, predicted, average="macro"),
        "test_macro_precision": sk.precision_score(targets, predicted, average="macro", zero_division=0),
        "test_macro_recall": sk.recall_score(targets, predicted, average="macro", zero_division=0),
        "test_micro_f1": sk.f1_score(targets, predicted, average="micro"),
        "test_micro_precision": sk.precision_score(targets, predicted, average="micro"),
        "test_micro_recall": sk.recall_score(targets, predicted, average="micro"),
        "test_loss": sk.log_loss(targets, probabilities, labels=range(num_classes)),
        "test_log_loss": sk.log_loss(targets, probabilities, labels=range(num_classes)),
        "test_calibration_error": calibration_error(predicted == targets, probabilities.max(axis=1)),
    }
    areas = [sk.roc_auc_score(targets == label, probabilities[:, label]) for label in range(present)]
    expected["test_auroc"] = np.mean(areas)
    if num_classes > 5:
        expected["test_top5_accuracy"] = sk.top_k_accuracy_score(targets, logits, k=5, labels=range(num_classes))
    assert dict(evaluation.metrics) == pytest.approx(expected, abs=1e-5)

    figures = sk.precision_recall_fscore_support(targets, predicted, labels=range(num_classes), zero_division=0)
    for position, row in enumerate(evaluation.classes.to_pylist()):
        assert (row["split"], row["class"], row["support"]) == ("test", classes[position], figures[3][position])
        for name, column in zip(("precision", "recall", "f1"), figures, strict=False):
            assert row[name] == pytest.approx(column[position], abs=1e-5)
        if position < present:
            average_precision = sk.average_precision_score(targets == position, probabilities[:, position])
            assert row["average_precision"] == pytest.approx(average_precision, abs=1e-5)
            assert row["auroc"] == pytest.approx(areas[position], abs=1e-5)
        else:
            assert row["average_precision"] is row["auroc"] is None
        # Specificity is the recall of "not this class".
        others = sk.recall_score(targets != position, predicted != position)
        assert row["specificity"] == pytest.approx(others, abs=1e-5)
        assert row["accuracy"] is row["threshold"] is None

    matrix = sk.confusion_matrix(targets, predicted, labels=range(num_classes))
    cells = evaluation.confusions.to_pylist()
    assert {(row["actual"], row["predicted"]): row["count"] for row in cells} == {
        (classes[actual], classes[said]): matrix[actual, said] for actual, said in np.argwhere(matrix)
    }
    assert {(row["split"], row["label"]) for row in cells} == {("test", None)}
    rates = sk.confusion_matrix(targets, predicted, labels=range(num_classes), normalize="true")
    assert [row["rate"] for row in cells] == pytest.approx(
        [rates[each] for each in zip(*matrix.nonzero(), strict=True)]
    )


def calibration_error(right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64], bins: int = 15) -> float:
    """Expected calibration error as in Guo et al. 2017."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[place == number].mean() - confidence[place == number].mean()) * (place == number).mean()
        for number in np.unique(place)
    ]
    return float(sum(gaps))


def test_multilabel_metrics_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    targets = (random.random((50, 4)) < 0.4).astype(np.float32)
    targets[:, 3] = 0  # a label that no example has
    logits = (random.normal(size=(50, 4)) + 2 * targets - 1).astype(np.float32)
    classes = ["sky", "sea", "sun", "none"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = score("val", _examples(50), targets, logits, classes, multilabel=True)
    predicted, probabilities = logits >= 0, expit(logits.astype(np.float64))
    average = [sk.average_precision_score(targets[:, label], probabilities[:, label]) for label in range(3)]
    expected = {
        "val_accuracy": (predicted == targets.astype(bool)).mean(),
        "val_exact_match": sk.accuracy_score(targets, predicted),
        "val_macro_f1": sk.f1_score(targets, predicted, average="macro", zero_division=0),
        "val_macro_precision": sk.precision_score(targets, predicted, average="macro", zero_division=0),
        "val_macro_recall": sk.recall_score(targets, predicted, average="macro", zero_division=0),
        "val_micro_f1": sk.f1_score(targets, predicted, average="micro"),
        "val_micro_precision": sk.precision_score(targets, predicted, average="micro"),
        "val_micro_recall": sk.recall_score(targets, predicted, average="micro"),
        "val_map": np.mean(average),
        "val_auroc": np.mean([sk.roc_auc_score(targets[:, label], probabilities[:, label]) for label in range(3)]),
        "val_loss": -(np.where(targets > 0, np.log(probabilities), np.log1p(-probabilities))).mean(),
        "val_log_loss": np.mean([sk.log_loss(targets[:, i], probabilities[:, i], labels=[0, 1]) for i in range(4)]),
    }
    assert dict(evaluation.metrics) == pytest.approx(expected, abs=1e-5)
    rows = evaluation.classes.to_pylist()
    assert [row["average_precision"] for row in rows] == [*(pytest.approx(value, abs=1e-5) for value in average), None]
    assert [row["support"] for row in rows] == targets.sum(axis=0).tolist()
    right = [sk.accuracy_score(targets[:, label], predicted[:, label]) for label in range(4)]
    assert [row["accuracy"] for row in rows] == pytest.approx(right)
    assert {row["threshold"] for row in rows} == {0.5}

    matrices = sk.multilabel_confusion_matrix(targets, predicted)
    cells = {(row["label"], row["actual"], row["predicted"]): row["count"] for row in evaluation.confusions.to_pylist()}
    assert cells == {
        (name, actual, said): matrices[label, i, j]
        for label, name in enumerate(classes)
        for i, actual in enumerate(("no", "yes"))
        for j, said in enumerate(("no", "yes"))
    }


def test_a_threshold_decides_on_labels_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    targets = (random.random((80, 3)) < 0.4).astype(np.float32)
    logits = (random.normal(size=(80, 3)) + targets).astype(np.float32)
    names, classes = _examples(80), ["a", "b", "c"]
    usual = score("test", names, targets, logits, classes, multilabel=True)
    each = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    other = score("test", names, targets, logits, classes, multilabel=True, threshold=each)
    predicted = expit(logits.astype(np.float64)) >= each.numpy()
    assert other.metrics["test_macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro"), abs=1e-5)
    assert other.metrics["test_exact_match"] == pytest.approx(sk.accuracy_score(targets, predicted))
    assert other.metrics["test_map"] == usual.metrics["test_map"]
    assert other.metrics["test_loss"] == usual.metrics["test_loss"]
    assert other.classes["threshold"].to_pylist() == [0.2, 0.5, 0.9]
    assert [len(row) for row in other.predictions["predicted"].to_pylist()] == predicted.sum(axis=1).tolist()


def test_the_predictions_table_has_labels_as_names_and_a_column_a_class() -> None:
    logits = np.array([[2, 0, 0], [0, 0, 3]], dtype=np.float32)
    single = score("test", ["a.png", "b.png"], np.array([0, 1]), logits, ["x", "y", "z"], multilabel=False)
    assert single.predictions.column_names == ["split", "example", "labels", "predicted", "p_x", "p_y", "p_z"]
    rows = single.predictions.to_pylist()
    assert [(row["example"], row["labels"], row["predicted"]) for row in rows] == [
        ("a.png", ["x"], ["x"]),
        ("b.png", ["y"], ["z"]),
    ]
    assert sum(rows[0][f"p_{name}"] for name in "xyz") == pytest.approx(1, abs=1e-5)
    targets = np.array([[1, 1, 0], [0, 0, 0]], dtype=np.float32)
    several = score("test", ["a.png", "b.png"], targets, logits - 1, ["x", "y", "z"], multilabel=True)
    rows = several.predictions.to_pylist()
    assert [(row["labels"], row["predicted"]) for row in rows] == [(["x", "y"], ["x"]), ([], ["z"])]
    assert several.num_examples == 2


def test_a_single_label_that_is_there_or_not() -> None:
    targets = np.array([[1], [0], [1], [0]], dtype=np.float32)
    logits = np.array([[2], [1], [3], [-1]], dtype=np.float32)
    found = score("test", _examples(4), targets, logits, ["cell"], multilabel=True, threshold=0.9)
    assert found.metrics["test_map"] == 1.0
    (row,) = found.classes.to_pylist()
    assert (row["class"], row["support"], row["recall"], row["precision"]) == ("cell", 2, 0.5, 1.0)
    assert [cell["count"] for cell in found.confusions.to_pylist()] == [1, 1, 0, 2]
