"""A small Gaussian process over settings: what a setting would reach, from trials that came more or less far.

Trials that ended early say something, too. The values of each level (how far a trial came) are taken from their own
mean, and two levels are alike by a fixed degree, as in the intrinsic coregionalisation model (Bonilla et al. 2007,
"Multi-task Gaussian Process Prediction"). Networks differ in how fast they learn, so values of an early level say
nothing across networks: there the mean is each network's own. At the end a network has a level of its own, beside what
settings do in all networks: one bad setting must not condemn the network that it was tried with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ALIKE_PER_LEVEL = 0.85
_OWN_LEVEL = 0.3
"""Part of the variance at the end that is the network's own, whatever the setting."""
_FITTED_ON = 80
"""Rows that length scales are fitted on: each step of that costs the cube of them."""


@dataclass(frozen=True)
class Rows:
    """Settings as numbers, N of them.

    Attributes:
        numbers: (N, D), each parameter scaled to 0 to 1.
        choices: (N, C), the index of what was chosen.
        groups: (N,), the network.
    """

    numbers: Array
    choices: Integers
    groups: Integers

    def take(self, rows: Integers) -> Rows:
        return Rows(self.numbers[rows], self.choices[rows], self.groups[rows])


@dataclass(frozen=True)
class Differences:
    """How N settings differ from M others: what stays the same while parameters are fitted.

    Attributes:
        squares: (N, M, D), squared differences of the numbers.
        unlike: (N, M, C), 1 where the choices differ.
        levels: (N, M), how alike the two levels are.
        same: (N, M), 1 where both are of one network, at their end.
    """

    squares: Array
    unlike: Array
    levels: Array
    same: Array

    @classmethod
    def between(cls, a: Rows, b: Rows, levels_a: Integers, levels_b: Integers) -> Self:
        """Of each row of `a` and each of `b`, with their levels, (N,) and (M,)."""
        same = (a.groups[:, None] == b.groups[None, :]) & (levels_a[:, None] == 0) & (levels_b[None, :] == 0)
        return cls(
            squares=(a.numbers[:, None, :] - b.numbers[None, :, :]) ** 2,
            unlike=(a.choices[:, None, :] != b.choices[None, :, :]).astype(np.float64),
            levels=_ALIKE_PER_LEVEL ** np.abs(levels_a[:, None] - levels_b[None, :]),
            same=same.astype(np.float64),
        )


class Surrogate:
    """Fitted when made. Depends on nothing but its arguments."""

    def __init__(self, rows: Rows, levels: Integers, values: Array) -> None:
        """Fits length scales, then the process.

        Args:
            rows: the settings, at least one of level 0; newest last.
            levels: (N,), 0 for trials that ran to their end, 1 for a level below, and so on.
            values: (N,), more is better.
        """
        self._rows, self._levels = rows, levels
        self._mean = float(values[levels == 0].mean())
        residuals = values - self._means(levels, rows.groups, values)
        self._scale = max(float(residuals.std()), 1e-9)
        self._residuals = residuals / self._scale
        num_numbers, num_choices = rows.numbers.shape[1], rows.choices.shape[1]
        # Length scales of numbers, weights of choices, noise; as logarithms, so that steps and priors are even.
        self._parameters = np.log(np.concatenate([np.full(num_numbers, 0.5), np.full(num_choices, 0.5), [0.1]]))
        self._usual = self._parameters.copy()
        self._usual[-1] = math.log(0.05)
        self._fit()
        kernel = self._kernel(Differences.between(rows, rows, levels, levels), self._parameters)
        kernel += self._noise(len(values))
        self._factor = np.linalg.cholesky(kernel)
        half = np.linalg.solve(self._factor, self._residuals)
        self._variance = max(float(half @ half) / len(values), 1e-4)
        self._weights = np.linalg.solve(self._factor.T, half)

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """What these settings would reach at level 0: mean and standard deviation, each (M,)."""
        level = np.zeros(len(rows.numbers), dtype=np.int64)
        kernel = self._kernel(Differences.between(rows, self._rows, level, self._levels), self._parameters)
        explained = np.linalg.solve(self._factor, kernel.T)
        variance = np.maximum(1.0 - (explained**2).sum(axis=0), 1e-9) * self._variance
        return kernel @ self._weights * self._scale + self._mean, np.sqrt(variance) * self._scale

    def _means(self, levels: Integers, groups: Integers, values: Array) -> Array:
        means = np.full(len(values), self._mean)
        for level in np.unique(levels[levels > 0]):
            at_level = levels == level
            of_level = float(values[at_level].mean())
            for group in np.unique(groups[at_level]):
                mine = at_level & (groups == group)
                # Drawn towards the mean of all while the group has few.
                means[mine] = (values[mine].sum() + of_level) / (mine.sum() + 1)
        return means

    def _kernel(self, apart: Differences, parameters: Array) -> Array:
        """Matérn 5/2 over numbers, a factor for each choice that differs, one for each level between; networks' own."""
        scales = np.exp(parameters)
        num_numbers = apart.squares.shape[-1]
        distance = np.sqrt(5.0 * (apart.squares @ scales[:num_numbers] ** -2.0) + 1e-12)
        unlike = apart.unlike @ scales[num_numbers:-1]
        alike = (1 + distance + distance**2 / 3) * np.exp(-distance - unlike) * apart.levels
        return (1 - _OWN_LEVEL) * alike + _OWN_LEVEL * apart.same

    def _noise(self, num_rows: int) -> Array:
        return math.exp(self._parameters[-1]) * np.eye(num_rows)

    def _fit(self) -> None:
        """Coordinate steps up the marginal likelihood with weak priors: a few are enough to see what matters."""
        newest = np.arange(max(0, len(self._residuals) - _FITTED_ON), len(self._residuals))
        rows, levels, residuals = self._rows.take(newest), self._levels[newest], self._residuals[newest]
        apart = Differences.between(rows, rows, levels, levels)
        best = self._cost(apart, residuals, self._parameters)
        for _ in range(2):
            for position in range(len(self._parameters)):
                for step in (-0.6, 0.6):
                    tried = self._parameters.copy()
                    tried[position] = min(max(tried[position] + step, -4.5), 1.5)
                    if (cost := self._cost(apart, residuals, tried)) < best:
                        best, self._parameters = cost, tried

    def _cost(self, apart: Differences, residuals: Array, parameters: Array) -> float:
        kernel = self._kernel(apart, parameters)
        try:
            factor = np.linalg.cholesky(kernel + math.exp(parameters[-1]) * np.eye(len(residuals)))
        except np.linalg.LinAlgError:
            return math.inf
        half = np.linalg.solve(factor, residuals)
        fit = 0.5 * len(residuals) * math.log(max(float(half @ half) / len(residuals), 1e-6))
        prior = 0.4 * float(((parameters - self._usual) ** 2).sum())
        return fit + float(np.log(np.diag(factor)).sum()) + prior
