"""Measures of a final evaluation from the table of its predictions: at a threshold, with answers kept back, calibrated.

What is not defined is None, never 0: a class that no example has has no sensitivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.intervals import Share, share

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""From which on the model answers, in the table of accuracy against coverage."""
TOP = (2, 3, 5)
NUM_BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""
_SMALLEST = 1e-12
"""A float32 probability of 0 or 1 would be an infinite logit."""
_TEMPERATURES = (0.05, 20.0)
_OF_LABELS = (0.6, 20.0)
"""Of labels: with a smaller one, a threshold of 0.99 would become one that float32 cannot tell from 1."""


@dataclass(frozen=True)
class Judged:
    """The predictions of one evaluation as arrays.

    Attributes:
        classes: C names.
        probabilities: (N, C).
        truth: which classes each example has, (N, C).
        said: which of them the model says, (N, C).
        groups: the picture or patient of each example; None: not known.
        single: each example has exactly one class.
    """

    classes: tuple[str, ...]
    probabilities: Floats
    truth: Bools
    said: Bools
    groups: tuple[str, ...] | None
    single: bool


@dataclass(frozen=True)
class ClassMeasures:
    """How well one class is told from all others.

    Attributes:
        name: of the class.
        num_with, num_without: examples that have it, and that have not.
        found: of those that have it, how many are said to.
        spared: of those that have it not, how many are not said to.
        auroc: None where one of both numbers is 0.
    """

    name: str
    num_with: int
    num_without: int
    found: int
    spared: int
    auroc: float | None

    @property
    def sensitivity(self) -> float | None:
        """The share of those that have it that is found (recall)."""
        return self.found / self.num_with if self.num_with else None

    @property
    def specificity(self) -> float | None:
        """The share of those that have it not that is spared."""
        return self.spared / self.num_without if self.num_without else None


@dataclass(frozen=True)
class Answered:
    """What is left when the model says "I do not know" below a confidence.

    Attributes:
        confidence: from which on it answers.
        num_answers: how many it gives; of labels, each yes or no is one.
        num_asked: of how many.
        accuracy: of the answers; None where it gives none.
    """

    confidence: float
    num_answers: int
    num_asked: int
    accuracy: Share | None

    @property
    def coverage(self) -> float:
        """The share that is answered."""
        return self.num_answers / self.num_asked


@dataclass(frozen=True)
class Calibration:
    """How far the model's probabilities are from how often it is right, and what one temperature mends.

    Attributes:
        temperature: fitted on val: logits are divided by it. Above 1 the model was too sure.
        num_fitted: val examples that it was fitted on.
        error, scaled_error: expected calibration error as it is, and with the temperature.
        log_loss, scaled_log_loss: likewise.
    """

    temperature: float
    num_fitted: int
    error: float
    scaled_error: float
    log_loss: float
    scaled_log_loss: float


def judged(table: pa.Table) -> Judged | None:
    """Reads a table of predictions; None where it has no example or no probability."""
    columns = [name for name in table.column_names if name.startswith("p_")]
    if not len(table) or not columns:
        return None
    classes = tuple(name.removeprefix("p_") for name in columns)
    labels, predicted = table["labels"].to_pylist(), table["predicted"].to_pylist()
    columns_of = [table[name].to_numpy(zero_copy_only=False) for name in columns]
    groups = tuple(map(str, table["group"].to_pylist())) if "group" in table.column_names else None
    return Judged(
        classes,
        np.stack(columns_of, axis=1).astype(np.float64),
        _membership(labels, classes),
        _membership(predicted, classes),
        groups,
        single=all(len(row) == 1 for row in (*labels, *predicted)),
    )


def _membership(rows: Sequence[Sequence[str]], classes: Sequence[str]) -> Bools:
    position = {name: number for number, name in enumerate(classes)}
    found = np.zeros((len(rows), len(classes)), dtype=bool)
    for number, row in enumerate(rows):
        found[number, [position[name] for name in row]] = True
    return found


def class_measures(found: Judged, threshold: float | None = None) -> list[ClassMeasures]:
    """Sensitivity, specificity and AUROC of each class against all others.

    Args:
        found: the predictions.
        threshold: from which probability on a class counts as said; None: as the model decided.
    """
    said = found.said if threshold is None else found.probabilities >= threshold
    return [
        ClassMeasures(
            name,
            int(has.sum()),
            int((~has).sum()),
            int((said[:, number] & has).sum()),
            int((~said[:, number] & ~has).sum()),
            auroc(found.probabilities[:, number], has),
        )
        for number, name in enumerate(found.classes)
        for has in (found.truth[:, number],)
    ]


def auroc(scores: Floats, truth: Bools) -> float | None:
    """How likely an example that has a class scores higher than one that has not; ties count half (Mann and Whitney
    1947). None where there are none of either."""
    from scipy.stats import rankdata

    num_with = int(truth.sum())
    pairs = num_with * (len(truth) - num_with)
    if not pairs:
        return None
    won = float(rankdata(scores)[truth].sum()) - num_with * (num_with + 1) / 2
    return won / pairs


def answered(found: Judged, confidence: float) -> Answered:
    """What the model says when it keeps answers of less confidence back. Of labels, each yes or no is an answer."""
    if found.single:
        sure = found.probabilities.max(axis=1)
        right = (found.said == found.truth).all(axis=1)
        groups: Sequence[Any] | None = found.groups
    else:
        sure = np.maximum(found.probabilities, 1 - found.probabilities).reshape(-1)
        right = (found.said == found.truth).reshape(-1)
        # The labels of one example are no independent evidence either.
        of_rows: Sequence[Any] = found.groups or range(len(found.truth))
        groups = [group for group in of_rows for _ in found.classes]
    kept = np.flatnonzero(sure >= confidence)
    if not len(kept):
        return Answered(confidence, 0, len(sure), None)
    own = None if groups is None else [groups[number] for number in kept.tolist()]
    return Answered(confidence, len(kept), len(sure), share(right[kept].astype(np.float64), own))


def top_k(found: Judged) -> dict[int, float]:
    """How often the class is among the k likeliest, for each k of `TOP` below their number; not of labels."""
    if not found.single:
        return {}
    actual = found.truth.argmax(axis=1)
    order = np.argsort(-found.probabilities, axis=1, kind="stable")
    return {k: float((order[:, :k] == actual[:, None]).any(axis=1).mean()) for k in TOP if k < len(found.classes)}


def calibration(found: Judged, val: Judged | None) -> Calibration | str:
    """Calibration as it is and with a temperature that was fitted on val (Guo et al. 2017); or why there is none.

    Args:
        found: what is judged; not val itself, on which every temperature looks good.
        val: the same model's predictions on val.
    """
    if val is None:
        return "no temperature: the predictions of this model on val, on which it is fitted, are missing"
    if val.classes != found.classes or val.single != found.single:
        return "no temperature: val has other classes"
    temperature = fit_temperature(val)
    if temperature is None:
        return f"no temperature: all {len(val.truth)} val examples are correct, so it cannot be fitted"
    scaled = with_temperature(found, temperature)
    return Calibration(
        temperature,
        len(val.truth),
        calibration_error(found.probabilities, found),
        calibration_error(scaled, found),
        log_loss(found.probabilities, found),
        log_loss(scaled, found),
    )


def fit_temperature(val: Judged) -> float | None:
    """The temperature at which the log loss is least. None where all is right: then any smaller one is still better."""
    from scipy.optimize import minimize_scalar

    if val.single:
        right = val.probabilities.argmax(axis=1) == val.truth.argmax(axis=1)
    else:
        right = (val.probabilities > 0.5) == val.truth
    if right.all():
        return None
    low, high = np.log(_TEMPERATURES if val.single else _OF_LABELS)
    best = minimize_scalar(
        lambda logarithm: log_loss(with_temperature(val, float(np.exp(logarithm))), val),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(best.x))


def with_temperature(found: Judged, temperature: float) -> Floats:
    """The probabilities when the logits are divided by a temperature, (N, C)."""
    if not found.single:
        given = found.probabilities.clip(_SMALLEST, 1 - _SMALLEST)
        each: Floats = 1 / (1 + np.exp(-(np.log(given) - np.log1p(-given)) / temperature))
        return each
    # Logits but for a constant in each row, which the softmax takes out again.
    logits = np.log(found.probabilities.clip(_SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def calibration_error(probabilities: Floats, found: Judged) -> float:
    """The expected calibration error over bins of equal width: of the likeliest class; of labels, of each."""
    if found.single:
        sure = probabilities.max(axis=1)
        right = found.truth[np.arange(len(sure)), probabilities.argmax(axis=1)].astype(np.float64)
    else:
        sure, right = probabilities.reshape(-1), found.truth.reshape(-1).astype(np.float64)
    bins = np.minimum((sure * NUM_BINS).astype(int), NUM_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=right - sure, minlength=NUM_BINS)).sum() / len(sure))


def log_loss(probabilities: Floats, found: Judged) -> float:
    """The mean negative logarithm of the probability of what is so; of labels, over each yes or no."""
    given = probabilities.clip(_SMALLEST, 1 - _SMALLEST)
    if found.single:
        return float(-np.log(given[found.truth]).mean())
    return float(-np.where(found.truth, np.log(given), np.log1p(-given)).mean())
