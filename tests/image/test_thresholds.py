"""Thresholds tuned on val: the best F1 there is, and figures of val that do not flatter themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from trainables.image.measures.metrics import classification_metrics
from trainables.image.measures.thresholds import decide_with_tuned, tune_thresholds


def _rare_labels(count: int, seed: int, signal: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets of labels that are rarer and rarer; the model's probabilities are as low as they are rare."""
    random = np.random.default_rng(seed)
    rates = np.array([0.3, 0.1, 0.05])
    targets = random.random((count, 3)) < rates
    logits = random.normal(size=(count, 3)) + signal * targets + np.log(rates / (1 - rates)) - signal / 2
    return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(targets.astype(np.float32))


def test_no_other_threshold_gives_a_better_f1() -> None:
    logits, targets = _rare_labels(300, seed=0)
    probabilities = logits.sigmoid()
    thresholds = tune_thresholds(probabilities, targets)
    for label in range(3):

        def f1(threshold: float, label: int = label) -> float:
            return sk.f1_score(targets[:, label], probabilities[:, label].double() >= threshold, zero_division=0)

        best = max(f1(float(value)) for value in probabilities[:, label])
        assert f1(float(thresholds[label])) == pytest.approx(best)
        assert 0.01 <= thresholds[label] < 0.5


def test_a_label_that_no_example_has_keeps_one_half() -> None:
    probabilities = torch.tensor([[0.9, 0.2], [0.4, 0.3], [0.2, 0.1]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    thresholds = tune_thresholds(probabilities, targets)
    assert thresholds.tolist() == pytest.approx([0.3, 0.5])


def test_of_thresholds_that_are_as_good_the_one_nearest_to_one_half() -> None:
    probabilities = torch.tensor([[0.95], [0.9], [0.1], [0.05]])
    assert tune_thresholds(probabilities, torch.tensor([[1.0], [1.0], [0.0], [0.0]])).tolist() == pytest.approx([0.5])


def test_tuned_decisions_of_val_are_as_good_as_on_new_data_and_no_better() -> None:
    """On noise, thresholds tuned on the very examples that they decide would find an F1 that is not there."""
    flattering, honest, new = [], [], []
    for seed in range(20):
        logits, targets = _rare_labels(60, seed, signal=0.0)
        more_logits, more_targets = _rare_labels(2000, 1000 + seed, signal=0.0)
        thresholds = tune_thresholds(logits.sigmoid(), targets)
        for figures, x, y, threshold in (
            (flattering, logits, targets, thresholds),
            (honest, logits, targets, "tuned"),
            (new, more_logits, more_targets, thresholds),
        ):
            figures.append(classification_metrics("val", x, y, True, threshold)["val_macro_f1"])
    assert np.mean(flattering) > np.mean(new) + 0.05
    assert np.mean(honest) < np.mean(new) + 0.03


def test_tuning_helps_rare_labels_on_new_data() -> None:
    logits, targets = _rare_labels(400, seed=3)
    new_logits, new_targets = _rare_labels(4000, seed=4)
    tuned = classification_metrics("test", new_logits, new_targets, True, tune_thresholds(logits.sigmoid(), targets))
    fixed = classification_metrics("test", new_logits, new_targets, True, 0.5)
    assert tuned["test_macro_f1"] > fixed["test_macro_f1"] + 0.1
    assert tuned["test_map"] == fixed["test_map"]


def test_a_model_that_is_always_sure_gets_no_extreme_thresholds() -> None:
    probabilities = torch.tensor([[1e-20, 0.9999], [1e-18, 1.0], [1e-16, 0.999]])
    targets = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    thresholds = tune_thresholds(probabilities, targets)
    assert thresholds.tolist() == pytest.approx([0.5, 0.5], abs=0.001)
    assert tune_thresholds(torch.tensor([[1e-9], [0.6]]), torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([0.3])


@pytest.mark.parametrize("count", [1, 3])
def test_so_few_examples_that_a_fold_is_empty(count: int) -> None:
    logits, targets = _rare_labels(count, seed=0)
    assert decide_with_tuned(logits.sigmoid(), targets).shape == (count, 3)
