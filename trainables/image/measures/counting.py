"""Counts of right and wrong decisions, and the ratios and curves that follow from them.

The same figures as `torchmetrics.functional.classification`, to which the tests hold them. That is not imported here:
with what it brings along (SciPy, Matplotlib) it takes a worker longer to start than PyTorch itself, and a figure on a
few hundred examples less time than its checks of the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole` in float64; 0 where there is nothing to divide by, as in scikit-learn."""
    return torch.where(whole == 0, 0.0, part.double() / whole.clamp(min=1).double())


@dataclass(frozen=True)
class Counts:
    """How often each class was rightly or wrongly said and not said: four tensors (C,), whole numbers.

    Attributes:
        true_positives: it is there, and was said.
        false_positives: it was said only.
        false_negatives: it is there only.
        true_negatives: neither.
    """

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    true_negatives: Tensor

    def figures(self) -> dict[str, Tensor]:
        """`precision`, `recall` and `f1`, each float64 of the shape of the counts."""
        said = self.true_positives + self.false_positives
        there = self.true_positives + self.false_negatives
        return {
            "precision": ratio(self.true_positives, said),
            "recall": ratio(self.true_positives, there),
            "f1": ratio(2 * self.true_positives, said + there),
        }

    def specificity(self) -> Tensor:
        """Of those without it, the share of which it was not said; NaN where every example has it."""
        without = self.true_negatives + self.false_positives
        return torch.where(without == 0, torch.nan, ratio(self.true_negatives, without))

    def accuracy(self) -> Tensor:
        """The share of right decisions about each class."""
        right = self.true_positives + self.true_negatives
        return ratio(right, right + self.false_positives + self.false_negatives)

    def together(self) -> Counts:
        """Summed over the classes, for micro averages."""
        return Counts(
            self.true_positives.sum(),
            self.false_positives.sum(),
            self.false_negatives.sum(),
            self.true_negatives.sum(),
        )


def count(predicted: Tensor, truth: Tensor, num_classes: int, multilabel: bool) -> Counts:
    """Counts decisions.

    Args:
        predicted: class numbers (N,), or for multi-label data 0 or 1 (N, C).
        truth: likewise.
        num_classes: C.
        multilabel: which of the two.
    """
    if not multilabel:
        predicted, truth = (F.one_hot(numbers, num_classes) for numbers in (predicted, truth))
    both = (predicted * truth).sum(dim=0)
    said, there = predicted.sum(dim=0), truth.sum(dim=0)
    return Counts(both, said - both, there - both, len(truth) - said - there + both)


def confusion_matrix(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """How often a class (row) was taken for another (column), (C, C); from class numbers (N,)."""
    cells = truth * num_classes + predicted
    return cells.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)


def precision_recall_curve(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Precision and recall when everything from a score on counts as said, for each score that occurs.

    Args:
        scores: (N,).
        truth: 0 or 1, (N,).

    Returns:
        Precision and recall in float64, and the scores, ascending; no longer than N. Recall is 0 throughout where
        nothing is there to be found.
    """
    scores, order = scores.sort(descending=True, stable=True)
    last_of_equals = torch.ones_like(scores, dtype=torch.bool)
    last_of_equals[:-1] = scores[1:] != scores[:-1]
    found = truth[order].cumsum(0)
    said = torch.arange(1, len(scores) + 1, device=scores.device)
    total = truth.sum().expand_as(found)
    precision, recall = ratio(found, said), ratio(found, total)
    return precision[last_of_equals].flip(0), recall[last_of_equals].flip(0), scores[last_of_equals].flip(0)


def average_precisions(scores: Tensor, truth: Tensor) -> Tensor:
    """Of each class, (C,) float64: precision, weighted with the recall that it adds; 0 where a class does not occur.

    No interpolation, as in `sklearn.metrics.average_precision_score`.

    Args:
        scores: (N, C).
        truth: 0 or 1, (N, C).
    """
    found = []
    for column, there in zip(scores.T, truth.T, strict=True):
        precision, recall, _ = precision_recall_curve(column, there)
        gained = recall - torch.cat([recall[1:], recall.new_zeros(1)])
        found.append((precision * gained).sum())
    return torch.stack(found)


def aurocs(scores: Tensor, truth: Tensor) -> Tensor:
    """Of each class, (C,) float64: how likely an example that has it scores higher than one that has not.

    The area under the ROC curve as Mann and Whitney's U (1947) gives it: ties count half. NaN where every example has
    the class, or none has.

    Args:
        scores: (N, C).
        truth: 0 or 1, (N, C).
    """
    columns, there = scores.T.contiguous(), truth.T.double()
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    not_above = torch.searchsorted(ordered, columns, right=True)
    ranks = (below + not_above + 1).double() / 2
    num_with = there.sum(dim=1)
    pairs = num_with * (len(truth) - num_with)
    won = (ranks * there).sum(dim=1) - num_with * (num_with + 1) / 2
    return torch.where(pairs == 0, torch.nan, won / pairs.clamp(min=1))


def mean_of_defined(values: Tensor) -> float | None:
    """The mean of those that are no NaN; None where all are."""
    defined = values[~values.isnan()]
    return defined.mean().item() if len(defined) else None


def calibration_error(probabilities: Tensor, truth: Tensor, num_bins: int) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, a mean over bins of confidence.

    As in Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: (N, C).
        truth: class numbers (N,).
        num_bins: bins of equal width.
    """
    confidence, predicted = probabilities.double().max(dim=1)
    bins = (confidence * num_bins).long().clamp(max=num_bins - 1)
    right = (predicted == truth).double()
    sizes = bins.bincount(minlength=num_bins)
    gaps = bins.bincount(right - confidence, minlength=num_bins).abs()
    return (gaps.sum() / sizes.sum()).item()
