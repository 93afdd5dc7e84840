"""Whether each baseline is one complete configuration of the space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep_runner.errors import Problem
from sweep_runner.spec.explain import Where, did_you_mean, shown
from sweep_runner.spec.fields import ConfigFields
from sweep_runner.spec.space import Choice, Parameter, Scalar, Space, in_order, is_active, same_value


def complete_baseline(
    name: str,
    given: Mapping[str, Scalar],
    space: Space,
    fixed: Mapping[str, Any],
    fields: ConfigFields,
    where: Where,
    problems: list[Problem],
) -> dict[str, Scalar]:
    """A baseline as params: every active parameter of the space and nothing else, in the space's own values.

    A parameter with a single value need not be given; a fixed key may be, if it says the same.

    Args:
        name: the baseline's.
        given: what the sweep file says.
        space: without circles.
        fixed: the fixed keys.
        fields: of the trainable's config class.
        where: key path → place.
        problems: what is wrong is added here.
    """
    at = ("baselines", name)
    params: dict[str, Scalar] = {}
    in_doubt: set[str] = set()  # parameters of which we cannot say whether they exist
    for key, value in given.items():
        if key in space:
            continue
        if key in fixed:
            if not same_value(fields.check(key, value).value, fixed[key]):
                rule = f"must be {shown(fixed[key])}, as under fixed"
                problems.append(Problem(f"baselines.{name}.{key} is {shown(value)}: {rule}", where=where((*at, key))))
        elif key in fields:
            message = f"baselines.{name}.{key}: {key} is not in the space"
            hint = f"Add {key} to the space, or to fixed if it is the same in all trials."
            problems.append(Problem(message, where=where((*at, key)), hint=hint))
        else:
            message = f"baselines.{name} has no key {shown(key)}"
            problems.append(Problem(message, where=where((*at, key)), hint=did_you_mean(key, space)))
    for key in in_order(space):
        parameter = space[key]
        if any(parent in in_doubt for parent in parameter.when):
            in_doubt.add(key)
        elif not is_active(parameter, {**fixed, **params}):
            if key in given:
                message = f"baselines.{name}.{key}: exists only {_condition(parameter)}"
                problems.append(Problem(message, where=where((*at, key)), hint="Leave it out."))
        elif key in given:
            value = _own_value(parameter, fields.check(key, given[key]).value)
            if parameter.contains(value):
                params[key] = value
            else:
                in_doubt.add(key)
                problems.append(_outside(name, key, value, parameter, where))
        elif isinstance(parameter, Choice) and len(parameter.values) == 1:
            params[key] = parameter.values[0]
        else:
            in_doubt.add(key)
            hint = f"A baseline gives all parameters: add {key} ({parameter.describe()})."
            problems.append(Problem(f"baselines.{name}: {key} is missing", where=where(at), hint=hint))
    return params


def _own_value(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return next((choice for choice in parameter.values if same_value(choice, value)), value)
    return value


def _outside(name: str, key: str, value: Any, parameter: Parameter, where: Where) -> Problem:
    message = f"baselines.{name}.{key} is {shown(value)}: outside the space ({parameter.describe()})"
    near = did_you_mean(value, parameter.values) if isinstance(parameter, Choice) and isinstance(value, str) else ""
    otherwise = "Add the value to the space, or leave the baseline out (--set baselines={} leaves out all)."
    hint = near if near.startswith("Did") else otherwise
    return Problem(message, where=where(("baselines", name, key)), hint=hint)


def _condition(parameter: Parameter) -> str:
    return " and ".join(f"when {key} is {' or '.join(map(shown, allowed))}" for key, allowed in parameter.when.items())
