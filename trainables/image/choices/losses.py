"""The losses that `loss` names: for which data each is, and the function that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.image.choices.label_kinds import EXAMPLES, KINDS, Kind

AUTO = "auto"
"""Stands for `cross_entropy` with one label per example, for `bce` with any number."""


@dataclass(frozen=True)
class LossChoice:
    """A loss.

    Attributes:
        made_by: "module:function" of `(ImageConfig, multilabel, class_weights) -> Loss`: see `measures.losses`.
        kinds: of data that it is for.
    """

    made_by: str
    kinds: tuple[Kind, ...] = KINDS


_HERE = "trainables.image.measures.losses:"

LOSSES: Mapping[str, LossChoice] = {
    # Exactly one class is right: meaningless for any number of labels.
    "cross_entropy": LossChoice(_HERE + "cross_entropy", ("single-label",)),
    # Of data with one label per example, each class is asked for on its own: is it this one, or not?
    "bce": LossChoice(_HERE + "bce"),
    # Defined for any number of labels. The same function as bce, but for PyTorch's order of the means.
    "multilabel_soft_margin": LossChoice(_HERE + "bce", ("multi-label",)),
    "mse": LossChoice(_HERE + "mse"),
    "l1": LossChoice(_HERE + "l1"),
    "focal": LossChoice(_HERE + "focal"),
    "asymmetric": LossChoice(_HERE + "asymmetric", ("multi-label",)),
}


def loss_problem(loss: str, multilabel: bool) -> str | None:
    """Why a loss cannot be used with a kind of data, None if it can."""
    kind = KINDS[multilabel]
    if loss == AUTO or kind in LOSSES[loss].kinds:
        return None
    others = ", ".join([AUTO, *(name for name, choice in LOSSES.items() if kind in choice.kinds)])
    return f"loss {loss} is for {LOSSES[loss].kinds[0]} data, and this data has {EXAMPLES[multilabel]}: use {others}"


def resolved_loss(loss: str, multilabel: bool) -> str:
    """The loss that `auto` stands for."""
    if loss != AUTO:
        return loss
    return "bce" if multilabel else "cross_entropy"
