"""Settings that are worth a try before anything is known: the user's baselines, and what the trainable knows."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sweep_runner.spec.model import SPACE_RESOURCES, SweepSpec
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter, Scalar, in_order, is_active, same_value
from trainables.contract import Trainable

Params = dict[str, Scalar]

NETWORK = "model"
"""The parameter whose every value gets a recipe."""


def usual_recipes(spec: SweepSpec, trainable: type[Trainable[Any, Any]]) -> list[Params]:
    """For each network of the space (or one, if it has none) the settings that are usual for it, inside the space.

    Args:
        spec: the sweep.
        trainable: that it trains; without usual values it has no recipes.
    """
    network = spec.space.get(NETWORK)
    recipes = []
    for value in network.values if isinstance(network, Choice) else (None,):
        first: Params = {} if value is None else {NETWORK: value}
        if not trainable.usual({**spec.fixed, **first}):
            continue
        # Twice: what is usual for one parameter may depend on a later one, such as the learning rate on the optimizer.
        recipe = _recipe(spec, trainable, first, first)
        recipe = _recipe(spec, trainable, first, recipe)
        if recipe not in recipes:
            recipes.append(recipe)
    return recipes


def _recipe(spec: SweepSpec, trainable: type[Trainable[Any, Any]], first: Params, known: Params) -> Params:
    usual = trainable.usual({**spec.fixed, **known})
    chosen: Params = {}
    for name in in_order(spec.space):
        parameter = spec.space[name]
        if is_active(parameter, {**spec.fixed, **chosen}):
            wanted = first.get(name, usual.get(name, _default(name, trainable.config_class)))
            chosen[name] = nearest(parameter, wanted)
    return {name: chosen[name] for name in spec.space if name in chosen}


def _default(name: str, config_class: type[BaseModel]) -> Any:
    if name in SPACE_RESOURCES:
        return 1
    field = config_class.model_fields.get(name)
    return None if field is None or field.default is PydanticUndefined else field.default


def nearest(parameter: Parameter, wanted: Any) -> Scalar:
    """The value of a parameter that is nearest to what is wanted; its first, or the middle of its range, if none is."""
    is_number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    if isinstance(parameter, Choice):
        if parameter.contains(wanted):
            return next(value for value in parameter.values if same_value(value, wanted))
        numbers = [one for one in parameter.values if isinstance(one, int | float) and not isinstance(one, bool)]
        if is_number and numbers:
            return min(numbers, key=lambda number: abs(number - wanted))
        return parameter.values[0]
    low, high = parameter.low, parameter.high
    middle = (low * high) ** 0.5 if parameter.log else (low + high) / 2
    value = min(max(wanted if is_number else middle, low), high)
    if isinstance(parameter, IntRange):
        step = parameter.step or 1
        return low + min(round((value - low) / step), (parameter.high - parameter.low) // step) * step
    assert isinstance(parameter, FloatRange)
    if parameter.step is None:
        return float(value)
    steps = min(round((value - low) / parameter.step), int((high - low) / parameter.step + 1e-9))
    return round(low + steps * parameter.step, 12)


def settings_first(spec: SweepSpec, trainable: type[Trainable[Any, Any]]) -> list[Params]:
    """The prior of a sweep, the user's own first. Recipes are a third of the trials at most: the others search."""
    return [*own_settings(spec), *usual_recipes(spec, trainable)[: max(1, spec.search.trials // 3)]]


def own_settings(spec: SweepSpec) -> list[Params]:
    """The baselines, without what the space does not have."""
    return [{name: params[name] for name in spec.space if name in params} for params in spec.baselines.values()]
