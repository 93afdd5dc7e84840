"""From which probability a label counts as predicted: fixed, or tuned for each label on the validation split."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainables.image.measures.counting import precision_recall_curve
from trainables.image.package import THRESHOLD

Threshold = float | Literal["tuned"]
"""As in the config."""

NUM_FOLDS = 5
LOWEST, HIGHEST = 0.01, 0.99
"""Of tuned thresholds. Beyond them float32 probabilities of two runtimes differ by more than they say."""


def tune_thresholds(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The threshold of each label that gives the best F1, (C,) float64.

    It lies half way between the lowest probability that is to count and the next one below, and from 0.01 to 0.99.
    Of thresholds that are as good the one nearest to 0.5 is taken; a label that no example has keeps 0.5.

    Args:
        probabilities: (N, C).
        targets: 0 or 1, (N, C).
    """
    tuned = torch.full((probabilities.shape[1],), THRESHOLD, dtype=torch.float64)
    for label in targets.any(dim=0).nonzero().flatten().tolist():
        precision, recall, scores = precision_recall_curve(probabilities[:, label], targets[:, label].long())
        f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        below = torch.cat([scores.new_zeros(1), scores[:-1]])
        candidates = ((scores.double() + below.double()) / 2).clamp(LOWEST, HIGHEST)
        possible = (candidates > below) & (candidates <= scores)
        if possible.any():
            best = candidates[possible & (f1 >= f1[possible].max() - 1e-6)]
            tuned[label] = best[(best - THRESHOLD).abs().argmin()]
    return tuned


def decide_with_tuned(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Decisions of val itself with thresholds tuned on val, without looking at the example that is decided.

    The examples are cut into five folds, and each fold is decided with the thresholds of the other four. Decided with
    thresholds that were tuned on the very same examples, val would look better than new data will.

    Args:
        probabilities: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        0 or 1, (N, C).
    """
    predicted = torch.empty(probabilities.shape, dtype=torch.long)
    fold = torch.arange(len(probabilities)) % NUM_FOLDS
    for number in range(NUM_FOLDS):
        inside, others = fold == number, fold != number
        if others.any():
            thresholds = tune_thresholds(probabilities[others], targets[others])
        else:
            thresholds = torch.full((probabilities.shape[1],), THRESHOLD, dtype=torch.float64)
        predicted[inside] = (probabilities[inside].double() >= thresholds).long()
    return predicted
