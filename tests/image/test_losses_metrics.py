"""Losses and the figures of an epoch, against other people's implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

from trainables.image.losses import make_loss
from trainables.image.metrics import classification_metrics


def test_label_smoothing_is_cross_entropy_with_a_softened_target() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    soft = F.one_hot(targets, 4) * 0.9 + 0.1 / 4
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    assert make_loss(False, 0.1)(logits, targets).item() == pytest.approx(expected.item(), rel=1e-6)
    assert make_loss(False)(logits, targets).item() == pytest.approx(F.cross_entropy(logits, targets).item())


def test_label_smoothing_of_several_labels_moves_each_towards_a_half() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    targets = (torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    expected = F.binary_cross_entropy(logits.sigmoid(), targets * 0.8 + 0.1)
    assert make_loss(True, 0.2)(logits, targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_label_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 200)
    logits = random.normal(size=(200, 5)).astype(np.float32)
    logits[np.arange(200), truth] += 1.0
    logits[:, 4] = -9.0  # never predicted
    predicted = logits.argmax(1)
    found = classification_metrics("val", torch.from_numpy(logits), torch.from_numpy(truth), multilabel=False)
    options = {"average": "macro", "zero_division": 0}
    assert found["val_accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["val_macro_f1"] == pytest.approx(sk.f1_score(truth, predicted, **options), rel=1e-5)
    assert found["val_macro_precision"] == pytest.approx(sk.precision_score(truth, predicted, **options), rel=1e-5)
    assert found["val_macro_recall"] == pytest.approx(sk.recall_score(truth, predicted, **options), rel=1e-5)


def test_several_label_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((150, 4)) > 0.6).astype(np.float32)
    logits = (random.normal(size=(150, 4)) + 2 * (truth - 0.5)).astype(np.float32)
    predicted = (logits >= 0).astype(int)
    found = classification_metrics("val", torch.from_numpy(logits), torch.from_numpy(truth), multilabel=True)
    options = {"average": "macro", "zero_division": 0}
    assert found["val_accuracy"] == pytest.approx((truth == predicted).mean())
    assert found["val_exact_match"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["val_macro_f1"] == pytest.approx(sk.f1_score(truth, predicted, **options), rel=1e-5)
    assert found["val_macro_recall"] == pytest.approx(sk.recall_score(truth, predicted, **options), rel=1e-5)
    assert found["val_map"] == pytest.approx(sk.average_precision_score(truth, logits), rel=1e-4)


@pytest.mark.filterwarnings("error")
def test_labels_without_a_positive_are_left_out_quietly() -> None:
    truth = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    logits = torch.tensor([[2.0, -1.0], [-2.0, -1.0]])
    assert classification_metrics("val", logits, truth, multilabel=True)["val_map"] == 1.0
    assert classification_metrics("val", logits, torch.zeros(2, 2), multilabel=True)["val_map"] == 0.0
