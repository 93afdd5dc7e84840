"""The difference between two models on the same examples, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainables.intervals import numbered

_Z = 1.959963984540054  # the normal distribution's quantile for 95 %


@dataclass(frozen=True)
class PairedDrop:
    """What a model loses against another one on the same examples.

    Attributes:
        points: percentage points of the mean score; negative: it gains.
        low, high: of the 95 % interval.
        num_examples: how many examples that rests on.
        num_lost: examples on which it scores less than the other.
        num_gained: examples on which it scores more.
    """

    points: float
    low: float
    high: float
    num_examples: int
    num_lost: int
    num_gained: int

    def __str__(self) -> str:
        """`0.50 points (3 of 200 lost, 2 gained; 95 %: -1.7 to 2.7)`."""
        return (
            f"{self.points + 0.0:.2f} points ({self.num_lost} of {self.num_examples:,} lost, {self.num_gained} gained; "
            f"95 %: {self.low:.1f} to {self.high:.1f})"
        )


def paired_drop(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], groups: Sequence[Hashable] | None = None
) -> PairedDrop:
    """Compares two models by their scores on the same examples.

    The interval is that of Agresti and Min (2005) for matched pairs, which adds half an example that was lost and half
    one that was gained, so that no disagreement at all still leaves room for some. Examples of one group (crops of one
    photo) count as one.

    Args:
        before: how right the one is on each example, 0 to 1, (N,), N at least 1.
        after: the other, whose loss is asked for.
        groups: to which group each example belongs; None: each is its own.
    """
    assert before.shape == after.shape, "scores of other examples"
    assert len(before), "a loss on nothing"
    lost = np.asarray(before, dtype=np.float64) - after
    num = len(lost)
    sums = lost if groups is None else np.bincount(numbered(groups), weights=lost)
    total, room = float(lost.sum()), num + 2
    middle = total / room
    spread = _Z * math.sqrt(max(0.0, float((sums**2).sum()) + 1 - total**2 / room)) / room
    return PairedDrop(
        points=100 * total / num,
        low=100 * max(-1.0, middle - spread),
        high=100 * min(1.0, middle + spread),
        num_examples=num,
        num_lost=int((lost > 0).sum()),
        num_gained=int((lost < 0).sum()),
    )
