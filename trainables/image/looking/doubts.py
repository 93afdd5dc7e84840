"""Labels that a head on frozen features disagrees with: confident learning (Northcutt et al., 2021).

Every example is judged by a head that was trained without it and without its group. A label is in doubt when another
class is as probable as it is, on average, for the examples that are labelled so (the class's threshold), and more
probable than the label itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_FOLDS = 5
_DIMENSIONS = 128
_FEWEST = 2  # examples of a class, in different groups
_REGULARIZATION = 0.005
"""scikit-learn's C. With 20 labels of 400 photos exchanged, 0.1 lists 49, 11 of them rightly; this 20, 10 rightly."""
_FEW_EXAMPLES = 400  # of fewer, C grows: it weighs a sum over them
_MOST_LABELS = 50  # of multi-label data, for each of which five heads are trained

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Doubt:
    """A label in doubt.

    Attributes:
        example: its number among those judged.
        given: the label that it has; of multi-label data None where it lacks `suggested`.
        suggested: what the head finds more probable; of multi-label data None where it finds `given` to be wrong.
        probability: of what is suggested (of the label's being there or not).
    """

    example: int
    given: int | None
    suggested: int | None
    probability: float


@dataclass(frozen=True)
class Judgement:
    """What came out.

    Attributes:
        doubts: the worst first.
        num_judged: examples.
        accuracy: cross-validated: how often the head agrees with the labels.
        baseline: how often one does who always says the commonest class (multi-label: the commoner of yes and no).
        left_out: classes with too few examples to judge.
    """

    doubts: tuple[Doubt, ...]
    num_judged: int
    accuracy: float
    baseline: float
    left_out: tuple[int, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether the head has learned anything that a doubt could rest on."""
        return self.accuracy > self.baseline


def judge(
    vectors: npt.NDArray[np.float32], targets: npt.NDArray[np.generic], groups: Sequence[str]
) -> Judgement | None:
    """Looks for labels in doubt.

    Args:
        vectors: features, (N, D).
        targets: class numbers, (N,), or for multi-label data 0 and 1, (N, C).
        groups: a name each; examples of one group are never judged by a head that has seen another of it.

    Returns:
        None when there are too few examples of more than one class.
    """
    numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    reduced = _reduced(vectors)
    if targets.ndim == 2:
        return _judge_labels(reduced, targets.astype(np.int64), numbers)
    labels = targets.astype(np.int64)
    classes = np.unique(labels)
    few = tuple(int(each) for each in classes if len(np.unique(numbers[labels == each])) < _FEWEST)
    kept = np.flatnonzero(~np.isin(labels, few))
    present, codes = np.unique(labels[kept], return_inverse=True)
    if len(present) < 2:
        return None
    probabilities = _probabilities(reduced[kept], codes, numbers[kept])
    own = probabilities[np.arange(len(kept)), codes]
    thresholds = np.array([own[codes == each].mean() for each in range(len(present))])
    confident = np.where(probabilities >= thresholds, probabilities, 0.0)
    confident[np.arange(len(kept)), codes] = 0.0
    other = confident.argmax(axis=1)
    best = confident[np.arange(len(kept)), other]
    found = np.flatnonzero(best > own)
    order = found[np.argsort(own[found] - best[found], kind="stable")]
    doubts = tuple(
        Doubt(int(kept[place]), int(present[codes[place]]), int(present[other[place]]), float(best[place]))
        for place in order
    )
    accuracy = float((probabilities.argmax(axis=1) == codes).mean())
    return Judgement(doubts, len(kept), accuracy, float(np.bincount(codes).max() / len(kept)), few)


def _judge_labels(vectors: Floats, targets: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> Judgement | None:
    counts = targets.sum(axis=0)
    enough = (np.minimum(counts, len(targets) - counts) >= _FEWEST * _FOLDS).nonzero()[0]
    judged = enough[np.argsort(-counts[enough], kind="stable")][:_MOST_LABELS]
    if not len(judged):
        return None
    found: list[tuple[float, Doubt]] = []
    right = 0.0
    for label in judged.tolist():
        codes = targets[:, label]
        probabilities = _probabilities(vectors, codes, groups)
        own = probabilities[np.arange(len(codes)), codes]
        thresholds = np.array([own[codes == each].mean() for each in (0, 1)])
        other = 1.0 - own
        for place in np.flatnonzero((other >= thresholds[1 - codes]) & (other > own)).tolist():
            given, suggested = (label, None) if codes[place] else (None, label)
            found.append((own[place] - other[place], Doubt(place, given, suggested, float(other[place]))))
        right += float((own > 0.5).mean())
    found.sort(key=lambda each: each[0])
    shares = counts[judged] / len(targets)
    left = tuple(sorted(set(range(targets.shape[1])) - set(judged.tolist())))
    baseline = float(np.maximum(shares, 1 - shares).mean())
    return Judgement(tuple(doubt for _, doubt in found), len(targets), right / len(judged), baseline, left)


def _probabilities(vectors: Floats, codes: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> Floats:
    """Of each class, for each example by a head that has not seen its group, (N, C)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    num_classes = int(codes.max()) + 1
    result = np.zeros((len(codes), num_classes))
    folds = min(_FOLDS, len(np.unique(groups)))
    for seen, judged in StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(vectors, codes, groups):
        present = np.unique(codes[seen])
        if len(present) == 1:
            result[np.ix_(judged, present)] = 1.0
            continue
        weight = _REGULARIZATION * max(1.0, _FEW_EXAMPLES / len(seen))
        head = LogisticRegression(C=weight, max_iter=200).fit(vectors[seen], codes[seen])
        result[np.ix_(judged, present)] = head.predict_proba(vectors[judged])
    return result


def _reduced(vectors: npt.NDArray[np.float32]) -> Floats:
    """The main directions of the features, each with unit variance on average, (N, at most 128)."""
    from sklearn.decomposition import PCA

    dimensions = min(_DIMENSIONS, *vectors.shape)
    reduced = PCA(dimensions, random_state=0, svd_solver="randomized").fit_transform(vectors).astype(np.float64)
    scale = reduced.std()
    return np.asarray(reduced / scale if scale > 0 else reduced)
