"""How right a file is on the examples of a split, and how its answers compare with those of another file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.image.batches.feed import Source
from trainables.image.index import ImageIndex
from trainables.image.package import Package, PackageFacts
from trainables.intervals import share
from trainables.paired import PairedDrop, paired_drop

_BATCH_SIZE = 32

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """What files are judged on.

    Attributes:
        split: which examples these are.
        rows: of the index, (N,).
        index: of the data.
        pixels: of the index.
    """

    split: str
    rows: npt.NDArray[np.int64]
    index: ImageIndex
    pixels: Source

    @property
    def groups(self) -> Sequence[str]:
        """The picture (or patient, ...) that each example comes from."""
        return list(self.index.table["group"].take(self.rows).to_pylist())

    def part(self, most: int) -> Examples:
        """At most this many of them, spread evenly."""
        chosen = np.unique(np.linspace(0, len(self.rows) - 1, most).astype(np.int64))
        return Examples(self.split, self.rows[chosen], self.index, self.pixels)

    def answers(self, package: Package) -> Probabilities:
        """(N, classes)."""
        return np.concatenate(
            [
                package.probabilities(self.pixels.gather(self.rows[start : start + _BATCH_SIZE]))
                for start in range(0, len(self.rows), _BATCH_SIZE)
            ]
        )

    def scores(self, found: Probabilities, facts: PackageFacts) -> npt.NDArray[np.float64]:
        """How right each answer is, (N,): 1 or 0; of labels the F1 score of the example's labels."""
        truth = self.index.targets[self.rows]
        if not facts.multilabel:
            return np.asarray(found.argmax(axis=1) == truth, dtype=np.float64)
        said, actual = found >= facts.thresholds, truth.astype(bool)
        both, either = (said & actual).sum(axis=1), said.sum(axis=1) + actual.sum(axis=1)
        scores: npt.NDArray[np.float64] = np.where(either == 0, 1.0, 2 * both / np.maximum(either, 1))
        return scores


@dataclass(frozen=True)
class Judgement:
    """A file, compared with the float one on the same examples.

    Attributes:
        split: on which.
        score: accuracy; of labels the mean F1 score of an example; with its interval, in words.
        value: the same as a number.
        float_value: of the float file.
        drop: what it loses.
        num_agreeing: on how many examples it answers as the float file does.
        max_difference: of a probability.
        mean_difference: of all probabilities.
    """

    split: str
    score: str
    value: float
    float_value: float
    drop: PairedDrop
    num_agreeing: int
    max_difference: float
    mean_difference: float

    def to_json(self) -> dict[str, Any]:
        """As the card has it."""
        numbers: Mapping[str, Any] = {
            key: value for key, value in vars(self).items() if key not in ("split", "drop", "score")
        }
        return {
            **numbers,
            "score": self.score,
            "num_examples": self.drop.num_examples,
            "drop_points": self.drop.points,
            "drop_low": self.drop.low,
            "drop_high": self.drop.high,
            "drop": str(self.drop),
        }


def judge(examples: Examples, facts: PackageFacts, reference: Probabilities, found: Probabilities) -> Judgement:
    """Compares the answers of a file with those of the float file.

    Args:
        examples: N of them.
        facts: of the model.
        reference: of the float file, (N, classes).
        found: of the other one.
    """
    before, after = (examples.scores(each, facts) for each in (reference, found))
    if facts.multilabel:
        same = ((reference >= facts.thresholds) == (found >= facts.thresholds)).all(axis=1)
    else:
        same = reference.argmax(axis=1) == found.argmax(axis=1)
    difference = np.abs(reference - found)
    return Judgement(
        split=examples.split,
        score=str(share(after, examples.groups)),
        value=float(after.mean()),
        float_value=float(before.mean()),
        drop=paired_drop(before, after, examples.groups),
        num_agreeing=int(same.sum()),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )
