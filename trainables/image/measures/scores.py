"""The figures of a final evaluation: from logits and targets to metrics and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.contract import Evaluation
from trainables.image.measures.counting import aurocs, average_precisions, confusion_matrix, count, mean_of_defined
from trainables.image.measures.losses import make_loss
from trainables.image.measures.metrics import classification_metrics, decide_split
from trainables.image.measures.thresholds import Threshold, tune_thresholds
from trainables.image.package import THRESHOLD

YES_NO = ("no", "yes")
"""The classes of one label on its own."""


def score(
    split: str,
    examples: Sequence[str],
    targets: npt.NDArray[np.generic],
    logits: npt.NDArray[np.floating],
    classes: Sequence[str],
    multilabel: bool,
    threshold: Threshold | Tensor = THRESHOLD,
    groups: Sequence[str] | None = None,
) -> Evaluation:
    """Scores a model's outputs on one split.

    Averages over classes ("macro") leave out a class that neither occurs nor is predicted, as scikit-learn
    does; balanced accuracy and mean average precision leave out classes that do not occur; the mean area under the ROC
    curve (`auroc`) also those that every example has, and is left out where no class is left.

    Args:
        split: prefix of the metrics.
        examples: N names.
        targets: as `ImageIndex.targets`, N of them.
        logits: (N, classes).
        classes: their names.
        multilabel: as in `ImageIndex`.
        threshold: as in `classification_metrics`. With `tuned` the table of classes names the thresholds that the
            whole split gives, while its figures are those of `decide_with_tuned`.
        groups: the picture (or patient, ...) from which each example comes; None: not known.
    """
    outputs = torch.from_numpy(logits)
    truth = torch.from_numpy(targets)
    probabilities = outputs.sigmoid() if multilabel else outputs.softmax(dim=-1)
    predicted = decide_split(outputs, truth.long(), multilabel, threshold)
    metrics = {
        f"{split}_loss": make_loss(multilabel)(outputs, truth.to(outputs.dtype) if multilabel else truth).item(),
        **classification_metrics(split, outputs, truth, multilabel, threshold),
    }
    figures = _figures_of_classes(probabilities, predicted, truth.long(), multilabel)
    # Of the final evaluation alone: ranking all examples by each class takes longer than all other figures of an epoch.
    if (area := mean_of_defined(figures["auroc"])) is not None:
        metrics[f"{split}_auroc"] = area
    if multilabel:
        if isinstance(threshold, str):
            threshold = tune_thresholds(probabilities, truth)
        figures["threshold"] = torch.as_tensor(threshold, dtype=torch.float64).expand(len(classes))
        labels, chosen = truth.bool(), predicted.bool()
    else:
        labels, chosen = (F.one_hot(numbers, len(classes)).bool() for numbers in (truth, predicted))
    return Evaluation(
        metrics=metrics,
        num_examples=len(examples),
        predictions=_predictions(
            split, examples, groups, labels.numpy(), chosen.numpy(), probabilities.numpy(), classes
        ),
        classes=_classes(split, classes, figures),
        confusions=_confusions(split, predicted, truth.long(), classes, multilabel),
    )


def _figures_of_classes(probabilities: Tensor, predicted: Tensor, truth: Tensor, multilabel: bool) -> dict[str, Tensor]:
    """Of each class, (C,): how well it was found."""
    num_classes = probabilities.shape[1]
    counts = count(predicted, truth, num_classes, multilabel)
    labels = truth if multilabel else F.one_hot(truth, num_classes)
    return {
        **counts.figures(),
        **({"accuracy": counts.accuracy()} if multilabel else {}),
        "specificity": counts.specificity(),
        "average_precision": average_precisions(probabilities, labels),
        "auroc": aurocs(probabilities, labels),
        "support": labels.sum(dim=0),
    }


def _predictions(
    split: str,
    examples: Sequence[str],
    groups: Sequence[str] | None,
    labels: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
) -> pa.Table:
    return pa.table(
        {
            "split": pa.array([split] * len(examples), pa.string()),
            "example": pa.array(examples, pa.string()),
            **({} if groups is None else {"group": pa.array(groups, pa.string())}),
            "labels": _names(labels, classes),
            "predicted": _names(predicted, classes),
            **{
                f"p_{name}": pa.array(column.astype(np.float32))
                for name, column in zip(classes, probabilities.T, strict=True)
            },
        }
    )


def _classes(split: str, classes: Sequence[str], figures: Mapping[str, Tensor]) -> pa.Table:
    support = figures["support"].numpy()
    nothing = pa.nulls(len(classes), pa.float64())
    return pa.table(
        {
            "split": pa.array([split] * len(classes), pa.string()),
            "class": pa.array(classes, pa.string()),
            "precision": pa.array(figures["precision"].numpy()),
            "recall": pa.array(figures["recall"].numpy()),
            "f1": pa.array(figures["f1"].numpy()),
            "support": pa.array(support, pa.int64()),
            # Without a positive example there is no recall, so no area under the curve.
            "average_precision": pa.array(figures["average_precision"].numpy(), mask=support == 0),
            # Null where no example has the class, or every one.
            **{name: pa.array(figures[name].numpy(), from_pandas=True) for name in ("specificity", "auroc")},
            # Of a label on its own. Where exactly one class is right, "the accuracy of a class" is its recall.
            **{
                name: pa.array(figures[name].numpy()) if name in figures else nothing
                for name in ("accuracy", "threshold")
            },
        }
    )


def _confusions(split: str, predicted: Tensor, truth: Tensor, classes: Sequence[str], multilabel: bool) -> pa.Table:
    """Single-label: the cells of the confusion matrix that are not 0. Multi-label: all four of each label's 2×2."""
    cells: list[tuple[str | None, str, str, int]]
    if multilabel:
        counts = count(predicted, truth, len(classes), multilabel)
        cells = [
            (name, YES_NO[actual], YES_NO[said], int(numbers[position]))
            for position, name in enumerate(classes)
            for actual, said, numbers in (
                (1, 1, counts.true_positives),
                (1, 0, counts.false_negatives),
                (0, 1, counts.false_positives),
                (0, 0, counts.true_negatives),
            )
        ]
    else:
        matrix = confusion_matrix(predicted, truth, len(classes))
        cells = [(None, classes[row], classes[column], int(matrix[row, column])) for row, column in matrix.nonzero()]
    columns = list(zip(*cells, strict=True)) or [(), (), (), ()]
    return pa.table(
        {
            "split": pa.array([split] * len(cells), pa.string()),
            "label": pa.array(columns[0], pa.string()),
            "actual": pa.array(columns[1], pa.string()),
            "predicted": pa.array(columns[2], pa.string()),
            "count": pa.array(columns[3], pa.int64()),
            "rate": pa.array(_rates(cells), pa.float64()),
        }
    )


def _rates(cells: Sequence[tuple[str | None, str, str, int]]) -> list[float | None]:
    """Each cell as a share of the examples that are what its row says; None where there are none."""
    totals: Counter[tuple[str | None, str]] = Counter()
    for label, actual, _, number in cells:
        totals[label, actual] += number
    return [number / totals[label, actual] if totals[label, actual] else None for label, actual, _, number in cells]


def _names(chosen: npt.NDArray[np.bool_], classes: Sequence[str]) -> pa.Array:
    names = [[name for name, yes in zip(classes, row, strict=True) if yes] for row in chosen]
    return pa.array(names, pa.list_(pa.string()))
