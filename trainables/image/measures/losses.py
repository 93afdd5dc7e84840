"""What is minimised. Every loss is a mean over the examples, so that a batch may go through the model in parts."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Protocol

import torch.nn.functional as F
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from trainables.errors import TrainableError
from trainables.image.choices.losses import LOSSES, loss_problem, resolved_loss
from trainables.image.config import ImageConfig


class Loss(Protocol):
    """Logits (N, C) and targets → the mean loss, a scalar.

    Targets are class numbers (N,), or how much of each class or label an example has (N, C).
    """

    def __call__(self, logits: Tensor, targets: Tensor, /) -> Tensor: ...


MakesLoss = Callable[[ImageConfig, bool, Tensor | None], Loss]
"""What `choices.losses.LOSSES` names: config, whether data is multi-label, and class weights (C,) → the loss."""

Elementwise = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, C) and targets (N, C) → losses (N, C)."""


def make_loss(multilabel: bool) -> Loss:
    """The loss that a split is judged by: the log loss, whatever a trial minimises, so that trials compare.

    Args:
        multilabel: targets are 0 or 1, (N, C), each label on its own; else class numbers, (N,).
    """
    return F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy


def training_loss(config: ImageConfig, multilabel: bool, class_weights: Tensor | None = None) -> Loss:
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
    make: MakesLoss = pkgutil.resolve_name(LOSSES[resolved_loss(config.loss, multilabel)].made_by)
    return make(config, multilabel, class_weights)


def cross_entropy(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """The log loss of the right class."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing, reduction="none")
        # Not `weight=`, which divides by the weights of the batch: parts of a batch would not add up.
        return losses.mean() if class_weights is None else (losses * (_shares(logits, targets) @ class_weights)).mean()

    return loss


def bce(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """Binary cross-entropy of each class on its own."""

    def binary(logits: Tensor, goal: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, goal, reduction="none")

    return each_label_alone(config, multilabel, class_weights, binary)


def mse(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """The squared error of the probabilities."""

    def squared(logits: Tensor, goal: Tensor) -> Tensor:
        return F.mse_loss(_probabilities(logits, multilabel), goal, reduction="none")

    return each_label_alone(config, multilabel, class_weights, squared)


def l1(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """The absolute error of the probabilities."""

    def absolute(logits: Tensor, goal: Tensor) -> Tensor:
        return F.l1_loss(_probabilities(logits, multilabel), goal, reduction="none")

    return each_label_alone(config, multilabel, class_weights, absolute)


def focal(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """Lin et al. 2017, "Focal Loss for Dense Object Detection"; `focal_gamma` and `focal_alpha` are read."""
    alpha = -1.0 if config.focal_alpha is None else config.focal_alpha  # torchvision's word for none

    def focused(logits: Tensor, goal: Tensor) -> Tensor:
        found: Tensor = sigmoid_focal_loss(logits, goal, alpha, config.focal_gamma)
        return found

    return each_label_alone(config, multilabel, class_weights, focused)


def asymmetric(config: ImageConfig, multilabel: bool, class_weights: Tensor | None) -> Loss:
    """Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification"; `asymmetric_gamma_*` are read."""
    losses = AsymmetricLossMultiLabel(config.asymmetric_gamma_neg, config.asymmetric_gamma_pos, reduction="none")
    return each_label_alone(config, multilabel, class_weights, losses)


def each_label_alone(
    config: ImageConfig, multilabel: bool, class_weights: Tensor | None, elementwise: Elementwise
) -> Loss:
    """A loss that asks for each class on its own, with smoothed and weighted targets.

    Args:
        config, multilabel, class_weights: as for `training_loss`.
        elementwise: logits and targets, both (N, C), to losses (N, C).
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        shares = _shares(logits, targets)
        losses = elementwise(logits, _smoothed(shares, config.label_smoothing, multilabel))
        if config.pos_weight != 1.0 or (class_weights is not None and multilabel):
            weight = config.pos_weight * (class_weights if class_weights is not None and multilabel else 1.0)
            losses = losses * (1.0 + (weight - 1.0) * shares)
        if class_weights is not None and not multilabel:
            losses = losses * (shares @ class_weights)[:, None]
        return losses.mean()

    return loss


def _probabilities(logits: Tensor, multilabel: bool) -> Tensor:
    return logits.sigmoid() if multilabel else logits.softmax(dim=1)


def _shares(logits: Tensor, targets: Tensor) -> Tensor:
    """Targets as (N, C): of class numbers, 1 for the class and 0 for the others."""
    return F.one_hot(targets, logits.shape[1]).to(logits.dtype) if targets.ndim == 1 else targets.to(logits.dtype)


def _smoothed(shares: Tensor, smoothing: float, multilabel: bool) -> Tensor:
    return shares * (1.0 - smoothing) + smoothing * (0.5 if multilabel else 1.0 / shares.shape[1])
