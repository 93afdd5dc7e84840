"""Counts, ratios and curves against torchmetrics, which does not come along with a sweep but is the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional import classification as tm

from trainables.image.measures.counting import (
    aurocs,
    average_precisions,
    calibration_error,
    confusion_matrix,
    count,
    mean_of_defined,
    precision_recall_curve,
)
from trainables.image.measures.metrics import classification_metrics
from trainables.image.measures.scores import score

NUM_CLASSES = 7


def one_label(seed: int, num_examples: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and class numbers; class 5 never occurs, class 6 neither occurs nor is predicted."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, num_examples)
    logits = random.normal(size=(num_examples, NUM_CLASSES)).astype(np.float32)
    logits[np.arange(num_examples), truth] += 1.5
    logits[:, 6] = -20
    return torch.from_numpy(logits), torch.from_numpy(truth)


def labels(seed: int, num_examples: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities with many ties, and labels; label 6 never occurs and is never predicted."""
    random = np.random.default_rng(seed)
    truth = (random.random((num_examples, NUM_CLASSES)) < 0.3).astype(np.int64)
    scores = (random.random((num_examples, NUM_CLASSES)) * 0.6 + 0.3 * truth).round(1).astype(np.float32)
    truth[:, 6], scores[:, 6] = 0, 0.1
    return torch.from_numpy(scores), torch.from_numpy(truth)


def equal(found: torch.Tensor | float, expected: torch.Tensor) -> bool:
    return torch.allclose(torch.as_tensor(found).double(), expected.double(), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_one_label_figures_are_torchmetrics(seed: int) -> None:
    logits, truth = one_label(seed)
    predicted = logits.argmax(1)
    figures = count(predicted, truth, NUM_CLASSES, multilabel=False).figures()
    metrics = classification_metrics("val", logits, truth, multilabel=False)
    for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1_score")):
        reference = getattr(tm, f"multiclass_{theirs}")
        assert equal(figures[name], reference(predicted, truth, NUM_CLASSES, average="none")), name
        for average in ("macro", "micro"):
            expected = reference(predicted, truth, NUM_CLASSES, average=average)
            assert equal(metrics[f"val_{average}_{name}"], expected), (average, name)
    assert equal(confusion_matrix(predicted, truth, NUM_CLASSES), tm.multiclass_confusion_matrix(predicted, truth, 7))
    top5 = tm.multiclass_accuracy(logits, truth, NUM_CLASSES, average="micro", top_k=5)
    assert equal(metrics["val_top5_accuracy"], top5)
    probabilities = logits.softmax(1)
    for num_bins in (5, 15):
        expected = tm.multiclass_calibration_error(probabilities, truth, NUM_CLASSES, n_bins=num_bins, norm="l1")
        assert equal(calibration_error(probabilities, truth, num_bins), expected)
    one_hot = F.one_hot(truth, NUM_CLASSES)
    occurs = one_hot.any(dim=0)
    expected = tm.multiclass_auroc(probabilities, truth, NUM_CLASSES, average="none")[occurs]
    found = aurocs(probabilities, one_hot)
    assert equal(found[occurs], expected)
    assert found[~occurs].isnan().all()
    expected = tm.multiclass_specificity(predicted, truth, NUM_CLASSES, average="none")
    assert equal(count(predicted, truth, NUM_CLASSES, multilabel=False).specificity(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_label_figures_are_torchmetrics(seed: int) -> None:
    scores, truth = labels(seed)
    predicted = (scores >= 0.5).long()
    counts = count(predicted, truth, NUM_CLASSES, multilabel=True)
    metrics = classification_metrics("val", scores.logit(), truth, multilabel=True)
    for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1_score")):
        reference = getattr(tm, f"multilabel_{theirs}")
        assert equal(counts.figures()[name], reference(predicted, truth, NUM_CLASSES, average="none")), name
        for average in ("macro", "micro"):
            expected = reference(predicted, truth, NUM_CLASSES, average=average)
            assert equal(metrics[f"val_{average}_{name}"], expected), (average, name)
    assert equal(counts.accuracy(), tm.multilabel_accuracy(predicted, truth, NUM_CLASSES, average="none"))
    occurs = truth.any(dim=0)
    expected = tm.multilabel_average_precision(scores, truth, NUM_CLASSES, average="none")
    assert equal(average_precisions(scores, truth)[occurs], expected[occurs])
    expected = tm.multilabel_auroc(scores, truth, NUM_CLASSES, average="none")
    assert equal(aurocs(scores, truth)[occurs], expected[occurs])
    assert equal(counts.specificity(), tm.multilabel_specificity(predicted, truth, NUM_CLASSES, average="none"))


def test_what_no_example_or_every_one_has_has_no_area_under_its_curve() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.3, 0.9], [0.4, 0.3, 0.9]])
    truth = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 0, 1]])
    found = aurocs(scores, truth)
    assert found[0] == 1.0
    assert found[1:].isnan().all()
    assert mean_of_defined(found) == 1.0
    assert mean_of_defined(found[1:]) is None
    nothing = score(
        "val", ["a", "b", "c"], np.zeros((3, 3), np.float32), scores.logit().numpy(), "xyz", multilabel=True
    )
    assert "val_auroc" not in nothing.metrics
    assert nothing.classes["auroc"].null_count == 3
    assert count(torch.ones(3, 1), torch.ones(3, 1), 1, multilabel=True).specificity().isnan().all()


def test_equal_scores_count_half() -> None:
    tied = torch.tensor([[0.5], [0.5], [0.5], [0.2]])
    assert aurocs(tied, torch.tensor([[1], [0], [0], [0]])).item() == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_a_curve_has_a_point_for_each_score_that_occurs() -> None:
    scores, truth = labels(0)
    precision, recall, thresholds = precision_recall_curve(scores[:, 0], truth[:, 0])
    expected = tm.binary_precision_recall_curve(scores[:, 0], truth[:, 0])
    assert equal(precision, expected[0][:-1])  # theirs ends with a point that belongs to no score
    assert equal(recall, expected[1][:-1])
    assert equal(thresholds, expected[2])
