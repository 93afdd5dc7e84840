"""The metrics of a split: which way each is better, for which data it is, and the function that computes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainables.contract import Mode
from trainables.image.choices.label_kinds import EXAMPLES, KINDS, Kind

TOP = 5
"""Top-5 accuracy is the field's habit since ImageNet; with five classes or fewer it would be 1."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        computed_by: "module:function" of `(Scored) -> float`: see `measures.metrics`.
        mode: which way it is better.
        kinds: of data that it is for.
        min_classes: the fewest classes that it says something of.
        largest: its greatest value; the least is 0.
        monitored: whether `monitor` may name it.
    """

    computed_by: str
    mode: Mode = "max"
    kinds: tuple[Kind, ...] = KINDS
    min_classes: int = 1
    largest: float = 1.0
    monitored: bool = False

    def is_of(self, multilabel: bool, num_classes: int) -> bool:
        """Whether it is reported of such data."""
        return KINDS[multilabel] in self.kinds and num_classes >= self.min_classes


_HERE = "trainables.image.measures.metrics:"

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(_HERE + "accuracy_of", monitored=True),
    "log_loss": Metric(_HERE + "log_loss", mode="min", largest=math.inf),
    "macro_f1": Metric(_HERE + "macro_f1", monitored=True),
    "macro_precision": Metric(_HERE + "macro_precision"),
    "macro_recall": Metric(_HERE + "macro_recall"),
    "micro_f1": Metric(_HERE + "micro_f1", monitored=True),
    "micro_precision": Metric(_HERE + "micro_precision"),
    "micro_recall": Metric(_HERE + "micro_recall"),
    "balanced_accuracy": Metric(_HERE + "balanced_accuracy", kinds=("single-label",)),
    "calibration_error": Metric(_HERE + "calibration", mode="min", kinds=("single-label",)),
    "top5_accuracy": Metric(_HERE + "top5_accuracy", kinds=("single-label",), min_classes=TOP + 1),
    "exact_match": Metric(_HERE + "exact_match", kinds=("multi-label",), monitored=True),
    "map": Metric(_HERE + "mean_average_precision", kinds=("multi-label",), monitored=True),
}
"""By name, without the split: `val_map` is `map` of val."""

MONITORS = ("val_loss", *(f"val_{name}" for name, metric in METRICS.items() if metric.monitored))
"""What `monitor` may name."""


def modes() -> dict[str, Mode]:
    """Which way each figure of training and validation is better, by its full name."""
    seen: dict[str, Mode] = {"train_loss": "min", "train_accuracy": "max", "val_loss": "min"}
    return seen | {f"val_{name}": metric.mode for name, metric in METRICS.items()}


def largest(name: str) -> float:
    """The greatest value that a figure can have, by its full name."""
    _, _, metric = name.partition("_")
    return METRICS[metric].largest if metric in METRICS else math.inf if metric.endswith("loss") else 1.0


def monitor_problem(monitor: str, multilabel: bool) -> str | None:
    """Why a metric cannot be watched with a kind of data, None if it can."""
    metric = METRICS.get(monitor.removeprefix("val_"))
    if metric is None or KINDS[multilabel] in metric.kinds:
        return None
    return (
        f"monitor {monitor} is of {metric.kinds[0]} data, and this data has {EXAMPLES[multilabel]}: "
        "use val_accuracy or val_loss"
    )


def reported(metrics: Iterable[str], multilabel: bool, num_classes: int) -> frozenset[str]:
    """Those of the figures (`val_map`, …) that are reported of a kind of data."""
    others = {name for name, metric in METRICS.items() if not metric.is_of(multilabel, num_classes)}
    return frozenset(name for name in metrics if name.partition("_")[2] not in others)
