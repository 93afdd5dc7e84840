"""The figures of an epoch, from logits and targets."""

from __future__ import annotations

import warnings

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import classification as tm

from trainables.image.measures.label_kinds import TOP
from trainables.image.measures.thresholds import Threshold, decide_with_tuned
from trainables.image.package import THRESHOLD

NUM_BINS = 15
"""Of the calibration error, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""
AVERAGED = {"precision": "precision", "recall": "recall", "f1": "f1_score"}
"""Our name → torchmetrics' name, after `multiclass_` or `multilabel_`."""


def decide(logits: Tensor, multilabel: bool, thresholds: float | Tensor = THRESHOLD) -> Tensor:
    """What a model says.

    Args:
        logits: (N, C).
        multilabel: each class on its own, or exactly one of them.
        thresholds: of multi-label data: from which probability a label counts; one for all, or (C,).

    Returns:
        Class numbers (N,), or for multi-label data 0 or 1 (N, C).
    """
    if not multilabel:
        return logits.argmax(dim=1)
    return (logits.sigmoid().double() >= thresholds).long()


def decide_split(logits: Tensor, targets: Tensor, multilabel: bool, threshold: Threshold | Tensor) -> Tensor:
    """As `decide`; with `tuned`, as `decide_with_tuned`: only for the split that is tuned on."""
    if not isinstance(threshold, str):
        return decide(logits, multilabel, threshold)
    return decide_with_tuned(logits.sigmoid(), targets) if multilabel else decide(logits, multilabel)


def accuracy(predicted: Tensor, targets: Tensor) -> float:
    """The share of right decisions; of multi-label data, over all labels of all examples."""
    return (predicted == targets).double().mean().item()


def classification_metrics(
    split: str,
    logits: Tensor,
    targets: Tensor,
    multilabel: bool,
    threshold: Threshold | Tensor = THRESHOLD,
) -> dict[str, float]:
    """Scores one split, on the CPU.

    Macro averages leave out classes that neither occur nor are predicted, as in scikit-learn; balanced accuracy and
    the mean average precision leave out classes that do not occur. Where each example has one label, the micro
    averages are the accuracy by definition.

    Args:
        split: prefix of the names.
        logits: (N, C).
        targets: class numbers (N,), or 0 and 1 (N, C).
        multilabel: which of the two.
        threshold: of multi-label data: from which probability a label counts; one for all, (C,), or `tuned` for
            `decide_with_tuned`.

    Returns:
        Both kinds: accuracy, log_loss, and micro and macro precision, recall and f1. Single-label: also
        balanced_accuracy, calibration_error, and top5_accuracy with more than five classes. Multi-label: also
        exact_match and map.
    """
    truth = targets.long()
    predicted = decide_split(logits, truth, multilabel, threshold)
    scores = _multilabel if multilabel else _single_label
    metrics = {
        "accuracy": accuracy(predicted, truth),
        **averages(predicted, truth, logits.shape[1], multilabel),
        **scores(logits, predicted, truth),
    }
    return {f"{split}_{name}": value for name, value in metrics.items()}


def averages(predicted: Tensor, truth: Tensor, num_classes: int, multilabel: bool) -> dict[str, float]:
    """`macro_precision`, `micro_f1` and so on."""
    kind = "multilabel" if multilabel else "multiclass"
    return {
        f"{average}_{name}": getattr(tm, f"{kind}_{function}")(
            predicted, truth, num_classes, average=average, validate_args=False
        ).item()
        for average in ("macro", "micro")
        for name, function in AVERAGED.items()
    }


def _single_label(logits: Tensor, predicted: Tensor, truth: Tensor) -> dict[str, float]:
    num_classes = logits.shape[1]
    probabilities = logits.softmax(dim=1)
    recalls = tm.multiclass_recall(predicted, truth, num_classes, average="none", validate_args=False)
    occurs = truth.bincount(minlength=num_classes) > 0
    metrics = {
        # Not torchmetrics' macro accuracy: it counts classes that are predicted but do not occur.
        "balanced_accuracy": recalls[occurs].mean().item(),
        "log_loss": F.cross_entropy(logits, truth).item(),
        "calibration_error": tm.multiclass_calibration_error(
            probabilities, truth, num_classes, n_bins=NUM_BINS, norm="l1", validate_args=False
        ).item(),
    }
    if num_classes > TOP:
        metrics["top5_accuracy"] = tm.multiclass_accuracy(
            probabilities, truth, num_classes, average="micro", top_k=TOP, validate_args=False
        ).item()
    return metrics


def _multilabel(logits: Tensor, predicted: Tensor, truth: Tensor) -> dict[str, float]:
    precisions = average_precisions(logits.sigmoid(), truth)
    occurs = truth.sum(dim=0) > 0
    return {
        "exact_match": (predicted == truth).all(dim=1).double().mean().item(),
        # Without any label in the split there is nothing to rank: 0, since a report holds finite numbers.
        "map": precisions[occurs].mean().item() if occurs.any() else 0.0,
        "log_loss": F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype)).item(),
    }


def average_precisions(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Of each label of multi-label data, (C,); what stands for a label that does not occur means nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Nn]o positive samples.*")
        precisions: Tensor = tm.multilabel_average_precision(
            probabilities, truth, truth.shape[1], average="none", validate_args=False
        )
    return precisions.reshape(truth.shape[1])  # torchmetrics squeezes one label
