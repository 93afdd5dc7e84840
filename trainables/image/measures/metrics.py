"""The figures of an epoch, from logits and targets."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from trainables.image.measures.counting import Counts, average_precisions, calibration_error, count
from trainables.image.measures.label_kinds import TOP
from trainables.image.measures.thresholds import Threshold, decide_with_tuned
from trainables.image.package import THRESHOLD
from trainables.outcomes import MOST_EXAMPLES, packed

NUM_BINS = 15
"""Of the calibration error, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""


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


def outcomes(logits: Tensor, targets: Tensor, multilabel: bool, threshold: Threshold | Tensor) -> str:
    """How right each decision is, for `EpochReport.outcomes`: their mean is the accuracy. Empty for a large split."""
    if len(targets) > MOST_EXAMPLES:
        return ""
    right = decide_split(logits, targets.long(), multilabel, threshold) == targets
    return packed((right.double().mean(dim=1) if multilabel else right).numpy())


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
    counts = count(predicted, truth, logits.shape[1], multilabel)
    metrics = {
        "accuracy": accuracy(predicted, truth),
        **averages(counts, multilabel),
        **(_multilabel(logits, predicted, truth) if multilabel else _single_label(logits, counts, truth)),
    }
    return {f"{split}_{name}": value for name, value in metrics.items()}


def averages(counts: Counts, multilabel: bool) -> dict[str, float]:
    """`macro_precision`, `micro_f1` and so on."""
    touched = counts.true_positives + counts.false_positives + counts.false_negatives > 0
    # A label that is never there and never said counts as 0; a class like that is left out, as in scikit-learn.
    macro = {name: values if multilabel else values[touched] for name, values in counts.figures().items()}
    return {f"macro_{name}": values.mean().item() for name, values in macro.items()} | {
        f"micro_{name}": value.item() for name, value in counts.together().figures().items()
    }


def _single_label(logits: Tensor, counts: Counts, truth: Tensor) -> dict[str, float]:
    probabilities = logits.softmax(dim=1)
    occurs = counts.true_positives + counts.false_negatives > 0
    metrics = {
        "balanced_accuracy": counts.figures()["recall"][occurs].mean().item(),
        "log_loss": F.cross_entropy(logits, truth).item(),
        "calibration_error": calibration_error(probabilities, truth, NUM_BINS),
    }
    if logits.shape[1] > TOP:
        best = logits.topk(TOP, dim=1).indices
        metrics["top5_accuracy"] = (best == truth[:, None]).any(dim=1).double().mean().item()
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
