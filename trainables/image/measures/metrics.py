"""The figures of an epoch, from logits and targets."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch.nn.functional as F
from torch import Tensor

from trainables.image.choices.metrics import METRICS, TOP
from trainables.image.measures.counting import Counts, average_precisions, calibration_error, count
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
    scored = Scored(logits, decide_split(logits, truth, multilabel, threshold), truth, multilabel)
    return {
        f"{split}_{name}": _function(metric.computed_by)(scored)
        for name, metric in METRICS.items()
        if metric.is_of(multilabel, logits.shape[1])
    }


@lru_cache
def _function(name: str) -> Callable[[Scored], float]:
    found: Callable[[Scored], float] = pkgutil.resolve_name(name)
    return found


@dataclass(frozen=True)
class Scored:
    """What a metric is computed from: a split's answers, on the CPU.

    Attributes:
        logits: (N, C).
        predicted: class numbers (N,), or of multi-label data 0 and 1 (N, C).
        truth: likewise, int64.
        multilabel: which of the two.
    """

    logits: Tensor
    predicted: Tensor
    truth: Tensor
    multilabel: bool

    @cached_property
    def probabilities(self) -> Tensor:
        """(N, C); of single-label data they add up to 1."""
        return self.logits.sigmoid() if self.multilabel else self.logits.softmax(dim=1)

    @cached_property
    def counts(self) -> Counts:
        """True and false decisions of each class."""
        return count(self.predicted, self.truth, self.logits.shape[1], self.multilabel)

    @cached_property
    def averages(self) -> Mapping[str, float]:
        """`macro_precision`, `micro_f1` and so on.

        A class that neither occurs nor is predicted is left out, as in scikit-learn; a label like that counts as 0.
        """
        counts = self.counts
        touched = counts.true_positives + counts.false_positives + counts.false_negatives > 0
        macro = {name: values if self.multilabel else values[touched] for name, values in counts.figures().items()}
        return {f"macro_{name}": values.mean().item() for name, values in macro.items()} | {
            f"micro_{name}": value.item() for name, value in counts.together().figures().items()
        }


def accuracy_of(scored: Scored) -> float:
    """See `accuracy`."""
    return accuracy(scored.predicted, scored.truth)


def _average(name: str) -> Callable[[Scored], float]:
    return lambda scored: scored.averages[name]


macro_f1, macro_precision, macro_recall = map(_average, ("macro_f1", "macro_precision", "macro_recall"))
micro_f1, micro_precision, micro_recall = map(_average, ("micro_f1", "micro_precision", "micro_recall"))


def log_loss(scored: Scored) -> float:
    """The mean over the examples; of multi-label data, over all labels of all examples."""
    if scored.multilabel:
        return F.binary_cross_entropy_with_logits(scored.logits, scored.truth.to(scored.logits.dtype)).item()
    return F.cross_entropy(scored.logits, scored.truth).item()


def balanced_accuracy(scored: Scored) -> float:
    """The mean recall of the classes that occur."""
    occurs = scored.counts.true_positives + scored.counts.false_negatives > 0
    return scored.counts.figures()["recall"][occurs].mean().item()


def calibration(scored: Scored) -> float:
    """The expected calibration error, in `NUM_BINS` bins."""
    return calibration_error(scored.probabilities, scored.truth, NUM_BINS)


def top5_accuracy(scored: Scored) -> float:
    """The share of examples whose class is among the five most probable ones."""
    best = scored.logits.topk(TOP, dim=1).indices
    return (best == scored.truth[:, None]).any(dim=1).double().mean().item()


def exact_match(scored: Scored) -> float:
    """The share of examples whose every label is right."""
    return (scored.predicted == scored.truth).all(dim=1).double().mean().item()


def mean_average_precision(scored: Scored) -> float:
    """The mean over the labels that occur."""
    precisions = average_precisions(scored.probabilities, scored.truth)
    occurs = scored.truth.sum(dim=0) > 0
    # Without any label in the split there is nothing to rank: 0, since a report holds finite numbers.
    return precisions[occurs].mean().item() if occurs.any() else 0.0
