"""From the sweep file's search space to Optuna's distributions, and back to values a user knows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep_runner.spec.space import (
    Choice,
    FloatRange,
    IntRange,
    Parameter,
    Scalar,
    Space,
    in_order,
    is_active,
    same_value,
)

Params = dict[str, Scalar]


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Optuna's distribution of a parameter.

    The upper end of a stepped range is the last step, so that Optuna has nothing to warn about.
    """
    if isinstance(parameter, Choice):
        return CategoricalDistribution(_stored_choices(parameter))
    if isinstance(parameter, IntRange):
        step = parameter.step or 1
        high = parameter.low + (parameter.high - parameter.low) // step * step
        return IntDistribution(parameter.low, high, log=parameter.log, step=step)
    if parameter.step is None or parameter.log:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    steps = (_exact(parameter.high) - _exact(parameter.low)) // _exact(parameter.step)
    return FloatDistribution(parameter.low, _step_value(parameter, int(steps)), step=parameter.step)


def unit_of(parameter: Parameter, value: Scalar) -> float:
    """Where a value lies in its range, 0 to 1; a choice of numbers by its place among them."""
    assert isinstance(value, int | float)
    if isinstance(parameter, Choice):
        values = sorted(float(one) for one in parameter.values if isinstance(one, int | float))
        return values.index(float(value)) / max(1, len(values) - 1)
    low, high = parameter.low, parameter.high
    if low == high:
        return 0.5
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def suggest(trial: Trial, space: Space, fixed: Mapping[str, Any]) -> Params:
    """Lets the sampler choose a value for every parameter that exists, conditions first.

    A parameter that the trial has already keeps its value, so a trial that a crash left half suggested is
    completed by calling this again.

    Args:
        trial: a running Optuna trial.
        space: the search space.
        fixed: the fixed keys, which conditions may name.

    Returns:
        The values of the existing parameters, in the order of the space.
    """
    chosen: Params = {}
    for name in in_order(space):
        if is_active(space[name], {**fixed, **chosen}):
            chosen[name] = decode(space[name], _suggest(trial, name, distribution_of(space[name])))
    return {name: chosen[name] for name in space if name in chosen}


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Scalar:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def encode(parameter: Parameter, value: Scalar) -> Scalar:
    """What Optuna stores for a value that the parameter can take."""
    if isinstance(parameter, Choice):
        return _stored_choices(parameter)[_choice_index(parameter, value)]
    assert isinstance(value, int | float)
    return int(value) if isinstance(parameter, IntRange) else float(value)


def decode(parameter: Parameter, stored: Scalar) -> Scalar:
    """The value behind what Optuna stores: the inverse of `encode`, with steps free of rounding errors."""
    if isinstance(parameter, Choice):
        return parameter.values[_stored_choices(parameter).index(stored)]
    assert isinstance(stored, int | float)
    if isinstance(parameter, IntRange):
        return int(stored)
    if parameter.step is None or parameter.log:
        return float(stored)
    return _step_value(parameter, round((stored - parameter.low) / parameter.step))


def decode_all(space: Space, stored: Mapping[str, Scalar]) -> Params:
    """`decode` for the params of a trial, in the order of the space."""
    return {name: decode(parameter, stored[name]) for name, parameter in space.items() if name in stored}


def at_unit(distribution: BaseDistribution, unit: float) -> Scalar:
    """The value at a fraction of the distribution: uniform fractions give what the distribution means.

    Args:
        distribution: of the parameter.
        unit: from 0 (included) to 1 (excluded).
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(unit * len(distribution.choices))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution) and distribution.log:
        # Half a step beyond both ends, so that the ends are as likely as their neighbours.
        return min(max(round(_between(math.log(low - 0.5), math.log(high + 0.5), unit)), low), high)
    if distribution.log:
        return min(max(_between(math.log(low), math.log(high), unit), low), high)
    if distribution.step is not None:
        count = round((high - low) / distribution.step) + 1
        return min(low + int(unit * count) * distribution.step, high)  # 0.0 + 3 * 0.1 is more than 0.3
    return min(low + unit * (high - low), high)


def _between(log_low: float, log_high: float, unit: float) -> float:
    return math.exp(log_low + unit * (log_high - log_low))


def same_configuration_key(params: Mapping[str, Scalar]) -> str:
    """Equal for equal params, whatever their order; tells True, 1 and "1" apart."""
    return json.dumps(params, sort_keys=True)


def _stored_choices(choice: Choice) -> tuple[Scalar, ...]:
    """The choices as they are, but as JSON text when Python would take two of them for equal (1, True, 1.0)."""
    if len(set(choice.values)) == len(choice.values):
        return choice.values
    return tuple(json.dumps(value) for value in choice.values)


def _choice_index(choice: Choice, value: Scalar) -> int:
    for index, candidate in enumerate(choice.values):
        if type(candidate) is type(value) and candidate == value:
            return index
    return next(index for index, candidate in enumerate(choice.values) if same_value(candidate, value))


def _step_value(parameter: FloatRange, index: int) -> float:
    assert parameter.step is not None
    return float(_exact(parameter.low) + index * _exact(parameter.step))


def _exact(value: float) -> Decimal:
    return Decimal(str(value))
