"""Measures from stored predictions, against scikit-learn and torchmetrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit, softmax
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from sweep_runner.results.measures import (
    Calibration,
    Judged,
    answered,
    calibration,
    calibration_error,
    class_measures,
    fit_temperature,
    judged,
    log_loss,
    top_k,
    with_temperature,
)
from trainables.image.measures.scores import score

Logits = npt.NDArray[np.float32]
NAMES = ("a", "b", "c", "d", "e", "f", "g")


def one_class(seed: int, count: int = 400, sharpness: float = 3.0) -> tuple[Logits, npt.NDArray[np.int64]]:
    """Logits that are too sure by a factor, and classes; class g never occurs."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 6, count)
    logits = random.normal(size=(count, 7))
    logits[np.arange(count), truth] += 1.5
    return (sharpness * logits).astype(np.float32), truth


def labels(seed: int, count: int = 300, sharpness: float = 3.0) -> tuple[Logits, npt.NDArray[np.float32]]:
    """Likewise of labels; label g never occurs, and every example has a."""
    random = np.random.default_rng(seed)
    truth = (random.random((count, 7)) < 0.3).astype(np.float32)
    truth[:, 0], truth[:, 6] = 1, 0
    logits = random.normal(size=(count, 7)) + 1.5 * truth - 0.7
    return (sharpness * logits).astype(np.float32), truth


def found(
    logits: Logits, truth: npt.NDArray[Any], *, multilabel: bool = False, groups: list[str] | None = None
) -> Judged:
    """What comes back from the stored table."""
    examples = [f"{number}.jpg" for number in range(len(truth))]
    table = score("test", examples, truth, logits, NAMES, multilabel, groups=groups).predictions
    back = judged(table)
    assert back is not None
    assert back.single is not multilabel
    return back


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("multilabel", [False, True])
def test_sensitivity_specificity_and_auroc_are_scikit_learns(threshold: float, multilabel: bool) -> None:
    logits, truth = labels(1) if multilabel else one_class(1)
    probabilities = expit(logits) if multilabel else softmax(logits.astype(np.float64), axis=1)
    for number, each in enumerate(class_measures(found(logits, truth, multilabel=multilabel), threshold)):
        has = truth[:, number] > 0 if multilabel else truth == number
        said = probabilities[:, number] >= threshold
        assert (each.num_with, each.num_without) == (has.sum(), (~has).sum())
        if has.any():
            assert each.sensitivity == pytest.approx(sk.recall_score(has, said))
        else:
            assert each.sensitivity is each.auroc is None, "not defined, and not 0"
        if has.all():
            assert each.specificity is each.auroc is None
        else:
            assert each.specificity == pytest.approx(sk.recall_score(~has, ~said))
        if has.any() and not has.all():
            assert each.auroc == pytest.approx(sk.roc_auc_score(has, probabilities[:, number]), abs=1e-6)


def test_without_a_threshold_a_class_counts_as_the_model_decides() -> None:
    logits, truth = one_class(2)
    predicted = logits.argmax(1)
    expected = tm.multiclass_specificity(torch.from_numpy(predicted), torch.from_numpy(truth), 7, average="none")
    own = class_measures(found(logits, truth))
    assert [each.specificity for each in own] == pytest.approx(expected.tolist())
    recalls = sk.recall_score(truth, predicted, average=None, labels=range(6))
    assert [each.sensitivity for each in own[:6]] == pytest.approx(recalls)


def test_accuracy_against_coverage() -> None:
    logits, truth = one_class(3)
    sure, right = softmax(logits, axis=1).max(1), logits.argmax(1) == truth
    own = found(logits, truth)
    for confidence in (0.0, 0.7, 0.95):
        kept = sure >= confidence
        each = answered(own, confidence)
        assert (each.num_answers, each.num_asked) == (kept.sum(), 400)
        assert each.coverage == pytest.approx(kept.mean())
        assert each.accuracy is not None
        assert each.accuracy.value == pytest.approx(right[kept].mean())
    nothing = answered(own, 1.0 + 1e-9)
    assert (nothing.num_answers, nothing.accuracy) == (0, None)


def test_answers_of_labels_are_no_independent_evidence() -> None:
    logits, truth = labels(4)
    each = answered(found(logits, truth, multilabel=True), 0.8)
    probabilities = expit(logits)
    kept = np.maximum(probabilities, 1 - probabilities) >= 0.8
    assert (each.num_answers, each.num_asked) == (kept.sum(), truth.size)
    assert each.accuracy is not None
    assert each.accuracy.value == pytest.approx(((probabilities >= 0.5) == truth)[kept].mean())
    assert each.accuracy.num_groups <= len(truth)


def test_top_k_is_torchmetrics() -> None:
    logits, truth = one_class(5)
    own = top_k(found(logits, truth))
    assert list(own) == [2, 3, 5]
    for k, value in own.items():
        expected = tm.multiclass_accuracy(
            torch.from_numpy(logits), torch.from_numpy(truth), 7, average="micro", top_k=k
        )
        assert value == pytest.approx(expected.item(), abs=1e-6)
    assert top_k(found(*labels(5), multilabel=True)) == {}


def test_calibration_errors_are_torchmetrics() -> None:
    logits, truth = one_class(6)
    own = found(logits, truth)
    expected = tm.multiclass_calibration_error(
        torch.from_numpy(logits).softmax(1), torch.from_numpy(truth), 7, n_bins=15, norm="l1"
    )
    assert calibration_error(own.probabilities, own) == pytest.approx(expected.item(), abs=1e-5)
    assert log_loss(own.probabilities, own) == pytest.approx(
        sk.log_loss(truth, softmax(logits.astype(np.float64), axis=1), labels=range(7)), abs=1e-5
    )
    logits, truth = labels(6)
    own = found(logits, truth, multilabel=True)
    each = torch.from_numpy(logits).sigmoid().flatten()
    expected = tm.binary_calibration_error(each, torch.from_numpy(truth).long().flatten(), n_bins=15, norm="l1")
    # Theirs takes a probability of "no" below a half for one of "yes": the bins are the same.
    assert calibration_error(own.probabilities, own) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_temperature_from_val_mends_test(multilabel: bool) -> None:
    make: Any = labels if multilabel else one_class
    val, test = (found(*make(seed, 2000), multilabel=multilabel) for seed in (7, 8))
    result = calibration(test, val)
    assert isinstance(result, Calibration)
    assert result.temperature > 1, "the model is too sure"
    assert result.num_fitted == 2000
    # Of labels it mends how sure the model is, not how often it says a label.
    assert result.scaled_error < result.error * (1 if multilabel else 0.5)
    assert result.scaled_log_loss < result.log_loss
    # The best there is, by brute force over many temperatures.
    losses = {each: log_loss(with_temperature(val, each), val) for each in np.geomspace(0.5, 8, 400)}
    assert result.temperature == pytest.approx(min(losses, key=lambda each: losses[each]), rel=0.02)
    # Dividing by a temperature changes no order.
    assert (with_temperature(test, 3.0).argmax(1) == test.probabilities.argmax(1)).all()


def test_a_temperature_of_the_logits_is_that_of_the_probabilities() -> None:
    logits, truth = one_class(9)
    expected = softmax(logits.astype(np.float64) / 2.5, axis=1)
    assert with_temperature(found(logits, truth), 2.5) == pytest.approx(expected, abs=1e-4)


def test_why_there_is_no_temperature_is_said() -> None:
    own = found(*one_class(10))
    assert calibration(own, None) == (
        "no temperature: the predictions of this model on val, on which it is fitted, are missing"
    )
    logits = np.full((4, 7), -5, np.float32)
    logits[np.arange(4), [0, 1, 2, 3]] = 5
    perfect = found(logits, np.arange(4))
    assert fit_temperature(perfect) is None
    assert "all 4 val examples are correct" in str(calibration(own, perfect))
    assert "other classes" in str(calibration(own, found(*labels(10), multilabel=True)))
