"""The figures of an epoch, from logits and targets."""

from __future__ import annotations

import warnings

import torch
from torchmetrics.functional import classification as tm


def decide(logits: torch.Tensor, multilabel: bool) -> torch.Tensor:
    """Logits (N, C) → class numbers (N,), or for multi-label data 0 or 1 (N, C): 1 from probability 0.5."""
    return (logits >= 0).long() if multilabel else logits.argmax(dim=1)


def accuracy(predicted: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of right decisions; of multi-label data, over all labels of all examples."""
    return (predicted == targets).double().mean().item()


def classification_metrics(
    split: str, logits: torch.Tensor, targets: torch.Tensor, multilabel: bool
) -> dict[str, float]:
    """Scores one split, on the CPU.

    Macro averages leave out classes that neither occur nor are predicted, as in scikit-learn; the mean average
    precision leaves out classes that do not occur.

    Args:
        split: prefix of the names.
        logits: (N, C).
        targets: class numbers (N,), or 0 and 1 (N, C).
        multilabel: which of the two.
    """
    num_classes = logits.shape[1]
    predicted = decide(logits, multilabel)
    truth = targets.long()
    options = {"average": "macro", "validate_args": False}
    if not multilabel:
        return {
            f"{split}_accuracy": accuracy(predicted, truth),
            f"{split}_macro_f1": tm.multiclass_f1_score(predicted, truth, num_classes, **options).item(),
            f"{split}_macro_precision": tm.multiclass_precision(predicted, truth, num_classes, **options).item(),
            f"{split}_macro_recall": tm.multiclass_recall(predicted, truth, num_classes, **options).item(),
        }
    metrics = {
        f"{split}_accuracy": accuracy(predicted, truth),
        f"{split}_exact_match": (predicted == truth).all(dim=1).double().mean().item(),
        f"{split}_macro_f1": tm.multilabel_f1_score(predicted, truth, num_classes, **options).item(),
        f"{split}_macro_precision": tm.multilabel_precision(predicted, truth, num_classes, **options).item(),
        f"{split}_macro_recall": tm.multilabel_recall(predicted, truth, num_classes, **options).item(),
    }
    occurs = truth.sum(dim=0) > 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Nn]o positive samples.*")  # left out below
        precisions = tm.multilabel_average_precision(logits.sigmoid(), truth, num_classes, average="none")
    # Without any label in the split there is nothing to rank: 0, since a report holds finite numbers.
    metrics[f"{split}_map"] = precisions[occurs].mean().item() if occurs.any() else 0.0
    return metrics
