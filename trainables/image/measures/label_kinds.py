"""One label an example, or any number: which loss and which metric is for which kind of data. Light to import."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.image.config import Loss, Monitor

TOP = 5
"""Top-5 accuracy is the field's habit since ImageNet; with five classes or fewer it would be 1."""

KINDS = ("single-label", "multi-label")
_EXAMPLES = ("one label per example", "any number of labels per example")

LOSSES: dict[Loss, tuple[str, ...]] = {
    "auto": KINDS,
    # Exactly one class is right: meaningless for any number of labels.
    "cross_entropy": ("single-label",),
    # Of data with one label per example, each class is asked for on its own: is it this one, or not?
    "bce": KINDS,
    "mse": KINDS,
    "l1": KINDS,
    "focal": KINDS,
    # Defined for any number of labels.
    "multilabel_soft_margin": ("multi-label",),
    "asymmetric": ("multi-label",),
}
SINGLE_LABEL_ONLY = ("balanced_accuracy", "calibration_error", "top5_accuracy")
MULTILABEL_ONLY = ("exact_match", "map")
MULTILABEL_METRICS: tuple[Monitor, ...] = ("val_exact_match", "val_map")


def loss_problem(loss: Loss, multilabel: bool) -> str | None:
    """Why a loss cannot be used with a kind of data, None if it can."""
    kind = KINDS[multilabel]
    if kind in LOSSES[loss]:
        return None
    others = ", ".join(name for name, kinds in LOSSES.items() if kind in kinds)
    return f"loss {loss} is for {LOSSES[loss][0]} data, and this data has {_EXAMPLES[multilabel]}: use {others}"


def monitor_problem(monitor: Monitor, multilabel: bool) -> str | None:
    """Why a metric cannot be watched with a kind of data, None if it can."""
    if multilabel or monitor not in MULTILABEL_METRICS:
        return None
    return f"monitor {monitor} is of multi-label data, and this data has {_EXAMPLES[0]}: use val_accuracy or val_loss"


def reported(metrics: Iterable[str], multilabel: bool, num_classes: int) -> frozenset[str]:
    """Those of the metrics (`val_map`, …) that are reported of a kind of data."""
    others = {*(SINGLE_LABEL_ONLY if multilabel else MULTILABEL_ONLY)}
    if num_classes <= TOP:
        others.add(f"top{TOP}_accuracy")
    return frozenset(name for name in metrics if name.partition("_")[2] not in others)


def resolved_loss(loss: Loss, multilabel: bool) -> Loss:
    """The loss that `auto` stands for."""
    if loss != "auto":
        return loss
    return "bce" if multilabel else "cross_entropy"
