"""The figures of a final evaluation: from logits and targets to metrics and tables."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import classification as tm

from trainables.contract import Evaluation
from trainables.image.losses import make_loss
from trainables.image.metrics import classification_metrics, decide

TOP = 5
"""Top-5 accuracy is the field's habit since ImageNet; with five classes or fewer it would be 1."""


def score(
    split: str,
    examples: Sequence[str],
    targets: npt.NDArray[np.generic],
    logits: npt.NDArray[np.float32],
    classes: Sequence[str],
    multilabel: bool,
) -> Evaluation:
    """Scores a model's outputs on one split.

    Averages over classes ("macro") leave out a class that neither occurs nor is predicted, as scikit-learn
    does; balanced accuracy and mean average precision leave out classes that do not occur.

    Args:
        split: prefix of the metrics.
        examples: N names.
        targets: as `ImageIndex.targets`, N of them.
        logits: (N, classes).
        classes: their names.
        multilabel: as in `ImageIndex`.
    """
    outputs = torch.from_numpy(logits)
    truth = torch.from_numpy(targets)
    probabilities = outputs.sigmoid() if multilabel else outputs.softmax(dim=-1)
    predicted = decide(outputs, multilabel)
    metrics = {
        f"{split}_loss": make_loss(multilabel)(outputs, truth).item(),
        **classification_metrics(split, outputs, truth, multilabel),
    }
    figures = _figures_of_classes(probabilities, predicted, truth.long(), multilabel)
    if multilabel:
        micro_f1 = tm.multilabel_f1_score(predicted, truth.long(), len(classes), average="micro")
        metrics[f"{split}_micro_f1"] = micro_f1.item()
        labels, chosen = truth.bool(), predicted.bool()
    else:
        metrics[f"{split}_balanced_accuracy"] = figures["recall"][figures["support"] > 0].mean().item()
        if len(classes) > TOP:
            among = probabilities.topk(TOP, dim=1).indices == truth.unsqueeze(1)
            metrics[f"{split}_top5_accuracy"] = among.any(dim=1).double().mean().item()
        labels, chosen = (F.one_hot(numbers, len(classes)).bool() for numbers in (truth, predicted))
    return Evaluation(
        metrics=metrics,
        num_examples=len(examples),
        predictions=_predictions(split, examples, labels.numpy(), chosen.numpy(), probabilities.numpy(), classes),
        classes=_classes(split, classes, figures),
    )


def _figures_of_classes(probabilities: Tensor, predicted: Tensor, truth: Tensor, multilabel: bool) -> dict[str, Tensor]:
    """Of each class, (C,): how well it was found."""
    num_classes = probabilities.shape[1]
    kind = "multilabel" if multilabel else "multiclass"
    names = {"precision": "precision", "recall": "recall", "f1": "f1_score"}
    figures = {
        name: getattr(tm, f"{kind}_{function}")(predicted, truth, num_classes, average="none").double()
        for name, function in names.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Nn]o positive samples.*")  # `support` says so in the table
        ranked = getattr(tm, f"{kind}_average_precision")(probabilities, truth, num_classes, average="none")
    support = truth.sum(dim=0) if multilabel else truth.bincount(minlength=num_classes)
    return {**figures, "average_precision": ranked.double(), "support": support}


def _predictions(
    split: str,
    examples: Sequence[str],
    labels: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.float32],
    classes: Sequence[str],
) -> pa.Table:
    return pa.table(
        {
            "split": pa.array([split] * len(examples), pa.string()),
            "example": pa.array(examples, pa.string()),
            "labels": _names(labels, classes),
            "predicted": _names(predicted, classes),
            **{f"p_{name}": pa.array(column) for name, column in zip(classes, probabilities.T, strict=True)},
        }
    )


def _classes(split: str, classes: Sequence[str], figures: dict[str, Tensor]) -> pa.Table:
    support = figures["support"].numpy()
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
        }
    )


def _names(chosen: npt.NDArray[np.bool_], classes: Sequence[str]) -> pa.Array:
    names = [[name for name, yes in zip(classes, row, strict=True) if yes] for row in chosen]
    return pa.array(names, pa.list_(pa.string()))
