"""Samplers that propose the same at every run: pure functions of the sweep's seed, an index and the space.

The index counts the proposed trials from 0. Baselines and retries do not count, so a sweep with another baseline
proposes the same settings as without it. An interrupted sweep that goes on proposes exactly what it would have
proposed without the interruption.

When the space of a sweep changes after some trials, these stay. From then on random and qmc propose what a sweep
of the new space has at the same index, and the grid goes through those of its new combinations that were not
proposed before.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from sweep_runner.errors import Problem, RequestError
from sweep_runner.search.distributions import Params, at_unit, distribution_of, encode, same_configuration_key
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import FloatRange, Parameter, Scalar, combinations, grid_values
from sweep_runner.spec.strategies import GridOptions, QmcOptions

MAX_GRID = 100_000
"""More combinations than anyone trains; enumerating many more takes seconds and memory."""

IndexOf = Callable[[int], int]
"""From an Optuna trial number to the index among proposed trials; negative (and unlike any other) for a baseline."""


def unit_hash(*parts: object) -> float:
    """A number from 0 (included) to 1 (excluded) that looks random and is the same everywhere, for ever."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


class Repeatable(BaseSampler):
    """What the repeatable samplers share: each parameter on its own, from the trial's index."""

    def __init__(self, seed: int, index_of: IndexOf) -> None:
        self._seed = seed
        self._index_of = index_of

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        index = self._index_of(trial.number)
        if index < 0:  # A baseline that leaves this parameter open.
            return self._random_value(index, param_name, param_distribution)
        return self.value(index, param_name, param_distribution)

    @abstractmethod
    def value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        """The value of one parameter in the proposal with this index (0 or more)."""

    def _random_value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        return at_unit(distribution, unit_hash("random", self._seed, index, name))


class RandomPoints(Repeatable):
    """Every parameter drawn independently and evenly (in the logarithm, where the range says so)."""

    def value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        return self._random_value(index, name, distribution)


class GridPoints(Repeatable):
    """Every combination once, in an order shuffled by the seed.

    Shuffled, because a grid that is cut off by `trials` in file order would never vary the first parameters.
    """

    def __init__(self, seed: int, index_of: IndexOf, points: Sequence[Params]) -> None:
        """Shuffles the grid.

        Args:
            seed: the sweep's.
            index_of: see `IndexOf`.
            points: `grid_points` of the sweep; their order does not matter.
        """
        super().__init__(seed, index_of)
        self._points = {same_configuration_key(point): point for point in points}
        self._order = sorted(self._points, key=lambda key: (unit_hash("grid", seed, key), key))

    def go_on_after(self, proposed: Sequence[Params]) -> None:
        """Puts what was proposed already in front, in its order; the rest keeps its own.

        Without a change of the space this changes nothing: what was proposed is the front.

        Args:
            proposed: the proposals so far, as Optuna stores the values; they need not be of this grid.
        """
        first = [same_configuration_key(point) for point in proposed]
        self._points.update(zip(first, proposed, strict=True))
        known = set(first)
        self._order = [*first, *(key for key in self._order if key not in known)]

    def value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        return self._points[self._order[index]][name]

    def __len__(self) -> int:
        """How many combinations there are, with those of earlier spaces that were proposed."""
        return len(self._order)


class QmcPoints(Repeatable):
    """A low-discrepancy sequence over all parameters; those that a condition switches off are left out."""

    def __init__(self, seed: int, index_of: IndexOf, names: Sequence[str], options: QmcOptions) -> None:
        """Gives every parameter a dimension.

        Args:
            seed: the sweep's; matters only when the sequence is scrambled.
            index_of: see `IndexOf`.
            names: the parameters with more than one value.
            options: which sequence.
        """
        super().__init__(seed, index_of)
        self._options = options
        self._dimension = {name: position for position, name in enumerate(sorted(names))}
        self._cached: tuple[int, npt.NDArray[np.float64]] | None = None

    def value(self, index: int, name: str, distribution: BaseDistribution) -> Scalar:
        if self._cached is None or self._cached[0] != index:
            self._cached = (index, self._point(index))
        return at_unit(distribution, float(self._cached[1][self._dimension[name]]))

    def _point(self, index: int) -> npt.NDArray[np.float64]:
        # Here, not above: importing scipy.stats takes half a second that the other samplers need not wait.
        from scipy.stats import qmc

        kind = qmc.Sobol if self._options.sequence == "sobol" else qmc.Halton
        engine = kind(len(self._dimension), scramble=self._options.scramble, seed=np.random.default_rng(self._seed))
        if index > 0:
            engine.fast_forward(index)
        point: npt.NDArray[np.float64] = engine.random(1)[0]
        return point


def varying(spec: SweepSpec) -> list[str]:
    """The names of the parameters that have more than one value."""
    return [name for name, parameter in spec.space.items() if not distribution_of(parameter).single()]


def grid_points(spec: SweepSpec) -> list[Params]:
    """Every combination of a grid search, as Optuna stores the values, in the file's order.

    Raises:
        RequestError: a range of floats has no steps, or the grid is too large; names every such parameter.
    """
    options = GridOptions.model_validate(spec.search.options)
    problems: list[Problem] = []
    values_of: dict[str, Sequence[Scalar]] = {}
    for name, parameter in spec.space.items():
        values = _values(parameter, options.points)
        if values is None:
            problems.append(
                Problem(
                    f"space.{name}: a grid needs a number of values, but {parameter.describe()} has no steps",
                    hint="give it a step or a list of values, or set search.options.points",
                )
            )
        else:
            values_of[name] = values
    if problems:
        raise RequestError(problems)
    points = list(islice(combinations(spec.space, values_of, spec.fixed), MAX_GRID + 1))
    if len(points) > MAX_GRID:
        raise RequestError(
            f"the grid has more than {MAX_GRID:,} combinations",
            hint="use wider steps or fewer values, or another sampler (qmc covers a space evenly with few trials)",
        )
    return [_stored(spec.space, point) for point in points]


def _stored(space: Mapping[str, Parameter], point: Mapping[str, Scalar]) -> Params:
    return {name: encode(space[name], value) for name, value in point.items()}


def _values(parameter: Parameter, num_points: int | None) -> Sequence[Scalar] | None:
    values = grid_values(parameter)
    if values is not None or num_points is None:
        return values
    assert isinstance(parameter, FloatRange)
    space = np.geomspace if parameter.log else np.linspace
    # Twelve digits, as other grid values have: 0.001, not 0.0010000000000000002.
    return [float(f"{value:.12g}") for value in space(parameter.low, parameter.high, num_points)]
