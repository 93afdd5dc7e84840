"""A sweep file that fits its trainable: what the run is made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from sweep_runner.spec.fields import ConfigFields
from sweep_runner.spec.loader import LoadedSpec
from sweep_runner.spec.model import SPACE_RESOURCES, SweepSpec
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter, Space, combinations, grid_values, is_active
from sweep_runner.spec.suggested import Taken
from trainables.contract import Trainable

MAX_LISTED = 1000
"""A range with more values than this is known by its ends."""

_MAX_PARENTS = 100_000


@dataclass(frozen=True)
class Plan:
    """A validated sweep.

    Attributes:
        spec: normalised: ranges of the kind that their config field wants, paths absolute, baselines complete,
            the objective's mode and the pruner's `max_epochs` filled in.
        loaded: the file that it came from.
        trainable: its class.
        data: the data section as the trainable's `data_class`.
        candidates: for `Trainable.prepare`: what each config key can be in this sweep, typed as in the config.
        grid_size: how many different settings the space holds; None: any number.
        max_epochs: the most `epochs` that a trial can have; None when the config has no such field.
        warnings: what the user should know but that stops nothing.
        taken: sections that the file does not have, and that were suggested; None: it has all.
    """

    spec: SweepSpec
    loaded: LoadedSpec
    trainable: type[Trainable[Any, Any]]
    data: BaseModel
    candidates: Mapping[str, Sequence[Any]]
    grid_size: int | None
    max_epochs: int | None
    warnings: tuple[str, ...] = field(default=())
    taken: Taken | None = None

    @property
    def num_trials(self) -> int:
        """How many trials the sweep will have: fewer than asked for where a grid ends before."""
        if self.spec.search.sampler != "grid" or self.grid_size is None:
            return self.spec.search.trials
        return min(self.spec.search.trials, len(self.spec.baselines) + self.grid_size)

    @property
    def workers(self) -> tuple[int, ...]:
        """How many workers a trial can have; of a range without a step the ends."""
        return possible_workers(self.spec.space, self.spec.resources.workers)

    def make_config(self, params: Mapping[str, Any]) -> BaseModel:
        """The config of a trial with these params.

        Raises:
            pydantic.ValidationError: params that are not of this sweep's space.
        """
        return self.trainable.config_class.model_validate(self.spec.config_of(params))


def find_candidates(spec: SweepSpec, fields: ConfigFields) -> dict[str, tuple[Any, ...]]:
    """What each config key can be: see `Trainable.prepare`. A key that exists only sometimes has its default, too."""
    found: dict[str, tuple[Any, ...]] = {}
    for name in dict.fromkeys((*fields.names, *spec.fixed, *spec.space)):
        if name in SPACE_RESOURCES and name not in fields.names:
            continue
        if name in spec.fixed:
            values: Sequence[Any] = (spec.fixed[name],)
        elif name in spec.space:
            values = _values(spec.space[name])
        else:
            found[name] = (fields.default(name),)
            continue
        typed = tuple(fields.check(name, value).typed for value in values)
        conditional = name in spec.space and bool(spec.space[name].when)
        default = fields.default(name)
        found[name] = (*typed, default) if conditional and default not in typed else typed
    return found


def possible_workers(space: Space, otherwise: int) -> tuple[int, ...]:
    """How many workers a trial can have.

    Args:
        space: where each trial may have a number of its own.
        otherwise: where the space has none.
    """
    parameter = space.get("workers")
    if parameter is None:
        return (otherwise,)
    return tuple(int(value) for value in (*_values(parameter), *([otherwise] if parameter.when else [])))


def most_epochs(candidates: Mapping[str, Sequence[Any]]) -> int | None:
    """The largest value that `epochs` can have."""
    numbers = [value for value in candidates.get("epochs", ()) if isinstance(value, int | float)]
    return int(max(numbers)) if numbers else None


def count_settings(space: Space, fixed: Mapping[str, Any], points: int | None = None) -> int | None:
    """How many different settings a space holds; None without end (or beyond counting).

    Args:
        space: the parameters.
        fixed: for conditions on fixed keys.
        points: how many values a float range without a step counts for; None: it has no end.
    """
    counts = {name: _count(parameter, points) for name, parameter in space.items()}
    if any(count is None for count in counts.values()):
        return None
    parents: set[str] = set()
    pending = [name for parameter in space.values() for name in parameter.when]
    while pending:
        name = pending.pop()
        if name in space and name not in parents:
            parents.add(name)
            pending.extend(space[name].when)
    if math.prod(counts[name] or 1 for name in parents) > _MAX_PARENTS:
        return None
    values_of = {name: values for name in parents if (values := grid_values(space[name])) is not None}
    if len(values_of) < len(parents):
        return None
    total = 0
    for chosen in combinations(space, values_of, fixed):
        known = {**fixed, **chosen}
        active = (name for name in space if name not in parents and is_active(space[name], known))
        total += math.prod(counts[name] or 1 for name in active)
    return total


def _count(parameter: Parameter, points: int | None) -> int | None:
    if isinstance(parameter, Choice):
        return len(parameter.values)
    if parameter.low == parameter.high:
        return 1
    if isinstance(parameter, IntRange):
        return (parameter.high - parameter.low) // (parameter.step or 1) + 1
    if parameter.step is None:
        return points
    steps = (parameter.high - parameter.low) / parameter.step
    return int(steps + 1e-9) + 1 if math.isfinite(steps) else None


def _values(parameter: Parameter) -> Sequence[Any]:
    """Every value of a choice or of a range with a step; else the ends."""
    if isinstance(parameter, Choice):
        return parameter.values
    ends = (parameter.low,) if parameter.low == parameter.high else (parameter.low, parameter.high)
    stepped = isinstance(parameter, FloatRange | IntRange) and parameter.step is not None
    if not stepped or (_count(parameter, None) or MAX_LISTED + 1) > MAX_LISTED:
        return ends
    return grid_values(parameter) or ends
