"""95 % confidence intervals of a share of right answers, also for few examples or several per image."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
_Z = 1.959963984540054  # the normal distribution's quantile at (1 + LEVEL) / 2


@dataclass(frozen=True)
class Share:
    """A share of right answers, and between which values the share of all such examples lies.

    Attributes:
        value: the share.
        num_examples: how many examples it is of.
        num_groups: from how many pictures (or patients, ...) they come.
        low, high: of the 95 % interval.
        is_count: every example is right or wrong; else it may be right in part.
    """

    value: float
    num_examples: int
    num_groups: int
    low: float
    high: float
    is_count: bool

    def __str__(self) -> str:
        """`0.875 (49 of 56; 95 %: 0.764 to 0.938)`."""
        of = (
            f"{round(self.value * self.num_examples)} of {self.num_examples:,}"
            if self.is_count
            else (f"mean of {self.num_examples:,} examples")
        )
        groups = f" in {self.num_groups:,} groups" if self.num_groups < self.num_examples else ""
        return f"{self.value:.3f} ({of}{groups}; 95 %: {self.low:.3f} to {self.high:.3f})"


def share(right: Sequence[float] | npt.NDArray[np.float64], groups: Sequence[Hashable] | None = None) -> Share:
    """The mean of how right each example is, with Wilson's interval (1927) for the effective number of examples.

    Examples of one group (crops of one photo) are no independent evidence: the number of examples is divided by the
    design effect, which is how much more the mean varies over groups than it would over examples drawn singly (Kish
    1965). Without such groups and with answers that are right or wrong this is Wilson's interval as it is.

    Args:
        right: 0 to 1 for each example, shape (N,), N at least 1.
        groups: to which group each belongs; None: each is its own.
    """
    scores = np.asarray(right, dtype=np.float64)
    num = len(scores)
    assert num, "a share of nothing"
    members = np.arange(num)
    if groups is not None:
        members = numbered(groups)
    num_groups = int(members.max()) + 1
    value = float(scores.mean())
    is_count = bool(np.isin(scores, (0.0, 1.0)).all())
    effective = _effective(scores, members, num_groups, value)
    if is_count:
        effective = min(effective, float(num))
    low, high = wilson(value, effective)
    return Share(value, num, num_groups, low, high, is_count)


def numbered(groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """The groups as numbers from 0, in the order in which they come."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.int64)


def wilson(value: float, num: float, freedom: int | None = None) -> tuple[float, float]:
    """Wilson's score interval at 95 % for a share that was seen in `num` examples (not necessarily whole).

    Args:
        value: the share.
        num: of how many.
        freedom: degrees of freedom, where `num` was itself estimated from as many groups and one: the quantile is then
            Student's (to first order: Cornish and Fisher 1938) and not the normal one.
    """
    z = _Z if freedom is None else _Z + (_Z**3 + _Z) / (4 * freedom)
    spread = z * math.sqrt(value * (1 - value) / num + z**2 / (4 * num**2))
    middle = value + z**2 / (2 * num)
    scale = 1 + z**2 / num
    # The bounds of 0 and 1 are exact, whatever the arithmetic's last digit says.
    return (
        0.0 if value == 0 else max(0.0, (middle - spread) / scale),
        1.0 if value == 1 else min(1.0, (middle + spread) / scale),
    )


def _effective(scores: npt.NDArray[np.float64], members: npt.NDArray[np.int64], num_groups: int, value: float) -> float:
    """How many examples, each right or wrong and drawn singly, would tell as much."""
    num = len(scores)
    if num_groups == num and np.isin(scores, (0.0, 1.0)).all():
        return float(num)
    residuals = np.bincount(members, weights=scores - value, minlength=num_groups)
    variance = float((residuals**2).sum()) * num_groups / max(1, num_groups - 1) / num**2
    return value * (1 - value) / variance if variance > 0 else float(num_groups)
