"""Losses and the figures of an epoch, against other people's implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk
from timm.loss import AsymmetricLossMultiLabel
from torchvision.ops import sigmoid_focal_loss

from trainables.image.choices.label_kinds import KINDS
from trainables.image.choices.losses import LOSSES
from trainables.image.config import ImageConfig
from trainables.image.measures.losses import make_loss, training_loss
from trainables.image.measures.metrics import classification_metrics

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 3, 0, 1])
LABELS = (torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()


def found(loss: Any, multilabel: bool, weights: torch.Tensor | None = None, **values: Any) -> float:
    config = ImageConfig.model_validate({"loss": loss, **values})
    return training_loss(config, multilabel, weights)(LOGITS, LABELS if multilabel else CLASSES).item()


def test_label_smoothing_is_cross_entropy_with_a_softened_target() -> None:
    soft = F.one_hot(CLASSES, 4) * 0.9 + 0.1 / 4
    expected = -(soft * LOGITS.log_softmax(1)).sum(1).mean()
    assert found("auto", False, label_smoothing=0.1) == pytest.approx(expected.item(), rel=1e-5)
    assert found("cross_entropy", False) == pytest.approx(F.cross_entropy(LOGITS, CLASSES).item(), rel=1e-5)
    assert make_loss(False)(LOGITS, CLASSES).item() == pytest.approx(F.cross_entropy(LOGITS, CLASSES).item(), rel=1e-5)


def test_label_smoothing_of_several_labels_moves_each_towards_a_half() -> None:
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), LABELS * 0.8 + 0.1)
    assert found("auto", True, label_smoothing=0.2) == pytest.approx(expected.item(), rel=1e-5)


def test_each_loss_is_its_librarys() -> None:
    one_hot = F.one_hot(CLASSES, 4).float()
    expected = {
        ("bce", True): F.binary_cross_entropy_with_logits(LOGITS, LABELS),
        ("multilabel_soft_margin", True): F.multilabel_soft_margin_loss(LOGITS, LABELS),
        ("mse", True): F.mse_loss(LOGITS.sigmoid(), LABELS),
        ("l1", True): F.l1_loss(LOGITS.sigmoid(), LABELS),
        ("focal", True): sigmoid_focal_loss(LOGITS, LABELS, reduction="mean"),
        ("asymmetric", True): AsymmetricLossMultiLabel(reduction="mean")(LOGITS, LABELS),
        ("bce", False): F.binary_cross_entropy_with_logits(LOGITS, one_hot),
        ("mse", False): F.mse_loss(LOGITS.softmax(1), one_hot),
        ("l1", False): F.l1_loss(LOGITS.softmax(1), one_hot),
        ("focal", False): sigmoid_focal_loss(LOGITS, one_hot, reduction="mean"),
    }
    for (name, multilabel), value in expected.items():
        assert found(name, multilabel) == pytest.approx(value.item(), rel=1e-5), name
    focal = sigmoid_focal_loss(LOGITS, LABELS, alpha=-1, gamma=0, reduction="mean")
    assert found("focal", True, focal_alpha=None, focal_gamma=0) == pytest.approx(focal.item(), rel=1e-5)
    asymmetric = AsymmetricLossMultiLabel(gamma_neg=2, gamma_pos=0, reduction="mean")(LOGITS, LABELS)
    assert found("asymmetric", True, asymmetric_gamma_neg=2, asymmetric_gamma_pos=0) == pytest.approx(
        asymmetric.item(), rel=1e-5
    )


def test_weights_of_classes_and_of_positives() -> None:
    weights = torch.tensor([0.5, 1.0, 2.0, 0.5])
    expected = (F.cross_entropy(LOGITS, CLASSES, reduction="none") * weights[CLASSES]).mean()
    assert found("cross_entropy", False, weights) == pytest.approx(expected.item(), rel=1e-5)
    positive = F.binary_cross_entropy_with_logits(LOGITS, LABELS, pos_weight=3.0 * weights)
    assert found("bce", True, weights, pos_weight=3.0) == pytest.approx(positive.item(), rel=1e-5)
    each = F.binary_cross_entropy_with_logits(LOGITS, F.one_hot(CLASSES, 4).float(), reduction="none")
    expected = (each * weights[CLASSES][:, None]).mean()
    assert found("bce", False, weights) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("multilabel", [False, True])
def test_parts_of_a_batch_add_up(multilabel: bool) -> None:
    """A batch that does not fit in memory goes through in parts."""
    weights = torch.tensor([0.5, 1.0, 2.0, 0.5])
    targets = LABELS if multilabel else CLASSES
    for name, choice in LOSSES.items():
        if KINDS[multilabel] in choice.kinds:
            loss = training_loss(ImageConfig(loss=name, label_smoothing=0.1, pos_weight=2.0), multilabel, weights)
            parts = loss(LOGITS[:2], targets[:2]) * 2 / 6 + loss(LOGITS[2:], targets[2:]) * 4 / 6
            assert parts.item() == pytest.approx(loss(LOGITS, targets).item(), rel=1e-5), name


def test_mixed_targets_are_the_mean_of_their_losses() -> None:
    shares = 0.3 * F.one_hot(CLASSES, 4) + 0.7 * F.one_hot(CLASSES.roll(1), 4)
    loss = training_loss(ImageConfig(), False)
    expected = 0.3 * loss(LOGITS, CLASSES) + 0.7 * loss(LOGITS, CLASSES.roll(1))
    assert loss(LOGITS, shares).item() == pytest.approx(expected.item(), rel=1e-5)


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
