"""What is minimised: cross-entropy for one label an example, binary cross-entropy for any number of labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (N, C) and targets → the mean loss, a scalar."""


def make_loss(multilabel: bool, label_smoothing: float = 0.0) -> Loss:
    """The loss of a kind of data set.

    Args:
        multilabel: targets are 0 or 1, (N, C), each label on its own; else class numbers, (N,).
        label_smoothing: this share of the target is spread evenly over all classes (Szegedy et al. 2016); of
            a label on its own, over yes and no.
    """
    if not multilabel:

        def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

        return cross_entropy

    def binary_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        smooth = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return F.binary_cross_entropy_with_logits(logits, smooth)

    return binary_cross_entropy
