"""How much choosing the best of many trials flatters its figure, and which other trials may be as good.

Everything here rests on one table: how right each candidate (a trial's epoch) was on each val example.

Expected on unseen data. The choice is repeated on three quarters of the val groups, and what it chose is judged on the
quarter that it did not see; the mean over all of that is what the choice is worth on data that it was not made on
(cross-validation of a selection: Varma and Simon 2006, "Bias in error estimation when using cross-validation for
model selection"; Tsamardinos et al. 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation", do it with resamples). Its interval is Wilson's, for the effective number of examples.

Cannot be told apart. A trial stays as long as it may be the best: it is compared with all others at once, on the same
examples, and drops out only where one of them is better by more than the largest of all such differences would be by
chance in 95 of 100 cases (subset selection, Gupta 1965; comparisons with the best, Hsu 1984; differences in units of
their standard error, and their common distribution from a bootstrap over groups). Looking at many trials widens it.

`benchmarks/answer_holds.py` compares both with a known truth.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.intervals import LEVEL, numbered, wilson

Scores = npt.NDArray[Any]
"""How right each candidate was on each example, 0 to 1: (candidates, examples), the first one wins a tie."""

PARTS = 4
"""The choice is made on all parts but one. Fewer parts would choose worse than the sweep did, more vary more."""
REPEATS = 50
INSTABILITY = 1.35
"""By how much the variance of the estimate exceeds that of a share of as many examples: it would have been another
candidate on other examples. Measured on generated curves, see `benchmarks/answer_holds.py`."""
RESAMPLES = 2_000
FEWEST_GROUPS = 8
"""With fewer nothing is estimated."""
MOST_VALUES = 50_000_000
"""Candidates times examples that are looked at; of more candidates the best ones."""
MOST_COMPARED = 100
"""Trials that are compared with each other; of more the best ones."""


@dataclass(frozen=True)
class Unseen:
    """What the chosen candidate is expected to be worth on unseen data.

    Attributes:
        value: the share of right answers to expect.
        low, high: of the 95 % interval, which accounts for the choice.
        seen: the share on the examples by which it was chosen.
        num_candidates: among how many was chosen.
    """

    value: float
    low: float
    high: float
    seen: float
    num_candidates: int

    @property
    def drop(self) -> float:
        """By how much the figure on val is expected to be too high; 0 or more."""
        return self.seen - self.value


@dataclass(frozen=True)
class Alike:
    """Which candidates may be as good as the first.

    Attributes:
        members: positions of those that cannot be told apart from the best; the best one is among them.
        enough: about how many examples would tell the best two apart, if they differ as much as they seem to. None:
            there is no second, or nothing between the two.
    """

    members: tuple[int, ...]
    enough: int | None


def on_unseen(scores: Scores, groups: Sequence[Hashable] | None = None, seed: int = 0) -> Unseen | None:
    """What the best candidate is worth on unseen data; None with fewer than `FEWEST_GROUPS` groups.

    Args:
        scores: of all candidates that the choice fell among.
        groups: to which group each example belongs; None: each is its own. Groups stay together.
        seed: of the parts.
    """
    num = scores.shape[1]
    sums, sizes = _by_group(scores, groups)
    num_groups = len(sizes)
    if num_groups < FEWEST_GROUPS:
        return None
    random = np.random.default_rng(seed)
    parts = np.zeros((REPEATS * PARTS, num_groups), dtype=np.float32)
    places = np.arange(num_groups) % PARTS
    for repeat in range(REPEATS):
        parts[repeat * PARTS + places, random.permutation(num_groups)] = 1
    totals = sums.sum(axis=0)
    outside = parts @ sums
    # In whole counts, so that ties are ties; rounded where answers are right in part.
    chosen = np.round(totals - outside, 3).argmax(axis=1)
    judged = float(outside[np.arange(len(parts)), chosen].sum(dtype=np.float64))
    value = judged / float((parts @ sizes).sum(dtype=np.float64))
    effective = num / _design_effect(sums, sizes, chosen) / INSTABILITY
    low, high = wilson(value, effective, num_groups - 1 if num_groups < num else None)
    best = int(np.round(totals, 3).argmax())
    seen = float(scores[best].mean(dtype=np.float64))
    return Unseen(min(value, seen), low, high, seen, len(scores))


def alike(scores: Scores, groups: Sequence[Hashable] | None = None, seed: int = 0) -> Alike:
    """Which candidates cannot be told apart from the best one: with 95 % the truly best of them is among these.

    Args:
        scores: a row for each trial, at its best epoch.
        groups: as for `on_unseen`; they are drawn together.
        seed: of the resamples.
    """
    num_trials, num = scores.shape
    sums, sizes = _by_group(scores, groups)
    num_groups = len(sizes)
    if num_trials < 2 or num_groups < 2:
        return Alike(tuple(range(num_trials)), None)
    means = scores.mean(axis=1, dtype=np.float64)
    residuals = (sums - sizes[:, None] * means).astype(np.float64) * math.sqrt(num_groups / (num_groups - 1)) / num
    covariance = residuals.T @ residuals
    own = np.diag(covariance)
    spread = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0.0))  # of each difference
    drawn = np.random.default_rng(seed).multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=RESAMPLES)
    chance = (drawn - 1).astype(np.float32) @ residuals.astype(np.float32)
    members = [place for place in range(num_trials) if _may_be_best(place, means, spread, chance)]
    first, second = np.argsort(-means, kind="stable")[:2]
    gap = means[first] - means[second]
    enough = math.ceil(num * (1.96 * spread[first, second] / gap) ** 2) if gap > 0 else None
    return Alike(tuple(members), enough)


def _may_be_best(
    place: int,
    means: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
    chance: npt.NDArray[np.floating],
) -> bool:
    ahead = means - means[place]
    others = spread[place] > 1e-9
    if (ahead[~others] > 1e-9).any():
        return False  # better on every group by as much
    if not others.any():
        return True
    observed = float((ahead[others] / spread[place, others]).max())
    largest = ((chance[:, others] - chance[:, [place]]) / spread[place, others]).max(axis=1)
    return observed <= float(np.quantile(largest, LEVEL)) + 1e-9


def _by_group(
    scores: Scores, groups: Sequence[Hashable] | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Sums of the scores in each group, (groups, candidates), and how many examples each group has."""
    values = np.ascontiguousarray(scores.T, dtype=np.float32)
    if groups is None:
        return values, np.ones(len(values), dtype=np.float32)
    members = numbered(groups)
    sizes = np.bincount(members).astype(np.float32)
    if len(sizes) == len(values):
        return values, sizes
    sums = np.zeros((len(sizes), values.shape[1]), dtype=np.float32)
    np.add.at(sums, members, values)
    return sums, sizes


def _design_effect(
    sums: npt.NDArray[np.float32], sizes: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64]
) -> float:
    """How much more a share varies over groups than over examples drawn singly: of the candidates that were chosen."""
    num, num_groups = float(sizes.sum()), len(sizes)
    if num_groups == num:
        return 1.0
    which, times = np.unique(chosen, return_counts=True)
    shares = sums[:, which].sum(axis=0, dtype=np.float64) / num
    residuals = sums[:, which] - sizes[:, None] * shares
    between = (residuals.astype(np.float64) ** 2).sum(axis=0) * num_groups / (num_groups - 1) / num**2
    single = shares * (1 - shares) / num
    return max(1.0, float((between * times).sum() / max((single * times).sum(), 1e-12)))
