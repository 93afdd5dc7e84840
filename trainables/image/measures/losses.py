"""What is minimised. Every loss is a mean over the examples, so that a batch may go through the model in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from timm.loss import AsymmetricLossMultiLabel
from torchvision.ops import sigmoid_focal_loss

from trainables.errors import TrainableError
from trainables.image.config import ImageConfig
from trainables.image.measures.label_kinds import loss_problem, resolved_loss


class Loss(Protocol):
    """Logits (N, C) and targets → the mean loss, a scalar.

    Targets are class numbers (N,), or how much of each class or label an example has (N, C).
    """

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, /) -> torch.Tensor: ...


Elementwise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (N, C) and targets (N, C) → losses (N, C)."""


def make_loss(multilabel: bool) -> Loss:
    """The loss that a split is judged by: the log loss, whatever a trial minimises, so that trials compare.

    Args:
        multilabel: targets are 0 or 1, (N, C), each label on its own; else class numbers, (N,).
    """
    return F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy


def training_loss(config: ImageConfig, multilabel: bool, class_weights: torch.Tensor | None = None) -> Loss:
    """The loss that a configuration minimises.

    Args:
        config: `loss`, `label_smoothing`, `pos_weight` and the settings of single losses are read. Smoothing spreads
            a share of the target evenly over the classes (Szegedy et al. 2016); of labels each on their own, over yes
            and no.
        multilabel: see `make_loss`.
        class_weights: as `balancing.class_weights` has them, (C,), on the device. With one label per example, how
            much an example of each class counts; with any number, how much each label counts where it is there, times
            `pos_weight`.

    Raises:
        TrainableError: the loss is not for this kind of data.
    """
    problem = loss_problem(config.loss, multilabel)
    if problem is not None:
        raise TrainableError(problem)
    name = resolved_loss(config.loss, multilabel)

    if name == "cross_entropy":

        def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            losses = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing, reduction="none")
            # Not `weight=`, which divides by the weights of the batch: parts of a batch would not add up.
            return (
                losses.mean() if class_weights is None else (losses * (_shares(logits, targets) @ class_weights)).mean()
            )

        return cross_entropy

    elementwise = _elementwise(config, multilabel)[name]

    def each_label_alone(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        shares = _shares(logits, targets)
        losses = elementwise(logits, _smoothed(shares, config.label_smoothing, multilabel))
        if config.pos_weight != 1.0 or (class_weights is not None and multilabel):
            weight = config.pos_weight * (class_weights if class_weights is not None and multilabel else 1.0)
            losses = losses * (1.0 + (weight - 1.0) * shares)
        if class_weights is not None and not multilabel:
            losses = losses * (shares @ class_weights)[:, None]
        return losses.mean()

    return each_label_alone


def _elementwise(config: ImageConfig, multilabel: bool) -> dict[str, Elementwise]:
    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if multilabel else logits.softmax(dim=1)

    def binary(logits: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits, goal, reduction="none")

    alpha = -1.0 if config.focal_alpha is None else config.focal_alpha  # torchvision's word for none
    asymmetric = AsymmetricLossMultiLabel(config.asymmetric_gamma_neg, config.asymmetric_gamma_pos, reduction="none")
    return {
        "bce": binary,
        "multilabel_soft_margin": binary,  # one function under two names, but for PyTorch's order of the means
        "mse": lambda logits, goal: F.mse_loss(probabilities(logits), goal, reduction="none"),
        "l1": lambda logits, goal: F.l1_loss(probabilities(logits), goal, reduction="none"),
        "focal": lambda logits, goal: sigmoid_focal_loss(logits, goal, alpha, config.focal_gamma),
        "asymmetric": asymmetric,
    }


def _shares(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Targets as (N, C): of class numbers, 1 for the class and 0 for the others."""
    return F.one_hot(targets, logits.shape[1]).to(logits.dtype) if targets.ndim == 1 else targets.to(logits.dtype)


def _smoothed(shares: torch.Tensor, smoothing: float, multilabel: bool) -> torch.Tensor:
    return shares * (1.0 - smoothing) + smoothing * (0.5 if multilabel else 1.0 / shares.shape[1])
