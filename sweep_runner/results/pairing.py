"""Two models on the same examples: whether one is right more often than the other by more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sweep_runner.results.rightness import groups_of, scores
from trainables.intervals import numbered

RESAMPLES = 10_000
_AT_ONCE = 500
LEVEL = 0.95


@dataclass(frozen=True)
class Significance:
    """The difference in accuracy of two models on the same examples, second minus first.

    Attributes:
        split: whose examples they are.
        num_examples: that both models have predicted.
        num_left_out: examples that only one of them has.
        first, second: accuracy of each; of labels, the mean share of an example's labels that are right.
        low, high: the 95 % confidence interval of the difference (paired bootstrap over groups, percentile).
        p_value: how likely a difference this large is if the models were alike (signs of the groups' differences are
            permuted).
    """

    split: str
    num_examples: int
    num_left_out: int
    first: float
    second: float
    low: float
    high: float
    p_value: float

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0.0 <= self.high


def paired(split: str, one: pa.Table, other: pa.Table) -> Significance | str:
    """The difference of two models, or in words why there is none.

    Examples are paired by their names and labels.

    Args:
        split: whose examples they are.
        one, other: the predictions of each, as the table `predictions` has them.
    """
    firsts, seconds = _by_example(one), _by_example(other)
    both = [key for key in firsts if key in seconds]
    left_out = len(firsts) + len(seconds) - 2 * len(both)
    if len(both) < 2:
        return f"they were evaluated on different {split} examples: nothing to pair"
    first = np.array([firsts[key][0] for key in both])
    second = np.array([seconds[key][0] for key in both])
    gaps, mean = second - first, float(first.mean())
    if not gaps.any():
        return Significance(split, len(both), left_out, mean, mean, 0.0, 0.0, 1.0)
    members = numbered([firsts[key][1] for key in both])
    sums, sizes = np.bincount(members, weights=gaps), np.bincount(members).astype(float)
    random = np.random.default_rng(0)
    drawn: list[npt.NDArray[np.float64]] = []
    as_large = 0
    for _ in range(0, RESAMPLES, _AT_ONCE):
        times = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_AT_ONCE)
        drawn.append((times @ sums) / (times @ sizes))
        # Signs of the groups' differences are exchangeable if the models are alike.
        signs = random.choice((-1.0, 1.0), size=(_AT_ONCE, len(sums)))
        as_large += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    low, high = np.quantile(np.concatenate(drawn), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    p_value = (as_large + 1) / (len(drawn) * _AT_ONCE + 1)
    return Significance(split, len(both), left_out, mean, float(second.mean()), float(low), float(high), p_value)


def _by_example(table: pa.Table) -> dict[tuple[str, tuple[str, ...]], tuple[float, str]]:
    """How right each prediction is, and its group, by the example's name and labels."""
    names = zip(table["example"].to_pylist(), table["labels"].to_pylist(), strict=True)
    found = zip(names, scores(table), groups_of(table), strict=True)
    return {(name, tuple(sorted(labels))): (right, group) for (name, labels), right, group in found}
