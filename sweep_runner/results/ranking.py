"""What a trial counts by, for all who put trials in order: the driver, the leaderboard, and what reads either.

A trial counts by its best epoch. Trials that were confirmed (run again with other seeds) count by the mean of their
runs instead, and come before all others: the value of a trial that was not run again is that of its luckiest run.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Runs:
    """The objective of a confirmed trial's runs.

    Attributes:
        values: each run's best epoch, the trial's own first.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """The standard deviation between runs (n - 1)."""
        return statistics.stdev(self.values)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f} (mean of {len(self.values)} runs)"


def place(
    value: float, trial: int, mode: Literal["min", "max"] | str, confirmed_mean: float | None = None
) -> tuple[bool, float, int]:
    """A key to sort trials by, best first; a tie goes to the lower number."""
    counts = value if confirmed_mean is None else confirmed_mean
    return confirmed_mean is None, -counts if mode == "max" else counts, trial


def runs_of(own: float | None, repetitions: Sequence[float]) -> Runs | None:
    """The runs of a trial; None where it has not been run again."""
    return Runs((own, *repetitions)) if own is not None and repetitions else None
