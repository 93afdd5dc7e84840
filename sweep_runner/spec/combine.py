"""Whole configurations checked against the trainable: every combination that its `check` cares for, each baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError

from sweep_runner.errors import Problem
from sweep_runner.spec.document import KeyPath, Places
from sweep_runner.spec.explain import dotted, reasons
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import Space, combinations, corner_values, grid_values, in_order, is_active, same_value
from trainables.contract import ConfigProblem, Trainable
from trainables.errors import TrainableError
from trainables.telling import count

MAX_COMBINATIONS = 20_000


def check_configs(
    spec: SweepSpec,
    trainable: type[Trainable[Any, Any]],
    places: Places,
    value_places: Mapping[str, Sequence[str]],
    problems: list[Problem],
    warnings: list[str],
    begun: bool = False,
) -> None:
    """Asks `Trainable.check` about every combination of its `check_keys`, and about each baseline.

    Args:
        spec: of which single values are right already; what is not has been left out.
        trainable: whose config class and `check` are asked.
        places: of the sweep file's keys.
        value_places: of the values of each choice, in their order.
        problems: what is wrong is added here, each message once.
        warnings: what the user should know is added here.
        begun: whether the sweep has begun: then a setting without effect is no problem, but a warning.
    """
    told: dict[tuple[str, str], Problem] = {}
    of_values: dict[tuple[str, str], list[Any]] = {}

    def fatal(values: Mapping[str, Any]) -> Iterator[ConfigProblem]:
        found = _check(trainable, values)
        for problem in (one for one in found if one.of_value):
            has = of_values.setdefault((problem.key, problem.message), [])
            if values[problem.key] not in has:
                has.append(values[problem.key])
        return _fatal([one for one in found if not one.of_value], warnings, begun)

    for keys in _groups(trainable.check_keys):
        several = list(islice(_params(spec.space, spec.fixed, keys), MAX_COMBINATIONS + 1))
        if len(several) > MAX_COMBINATIONS:
            warnings.append(f"only the first {MAX_COMBINATIONS:,} combinations of {', '.join(keys)} were checked")
            several.pop()
        for number, params in enumerate(several, start=1):
            count(number, len(several))
            for found in fatal(spec.config_of(params)):
                told.setdefault((found.key, found.message), _located(found, params, spec, places, value_places))
    for name, baseline in spec.baselines.items():
        if problems and not _complete(baseline, spec):
            continue
        for found in fatal(spec.config_of(baseline)):
            at: KeyPath = ("baselines", name, found.key) if found.key in baseline else ("baselines", name)
            problem = Problem(f"{dotted(at)}: {found.message}", where=places.where(at))
            told.setdefault((found.key, found.message), problem)
    problems += told.values()
    warnings += [_of_values(key, message, values, spec) for (key, message), values in of_values.items()]


def _of_values(key: str, message: str, values: Sequence[Any], spec: SweepSpec) -> str:
    """`model: a, b (2 of 3): what is true of them`."""
    chosen = corner_values(spec.space[key]) if key in spec.space else [spec.fixed.get(key)]
    possible = {*chosen, *(baseline[key] for baseline in spec.baselines.values() if key in baseline)}
    count_of = f" ({len(values)} of {len(possible)})" if len(possible) > 1 else ""
    return f"{key}: {', '.join(map(str, values))}{count_of}: {message}"


def _fatal(found: Sequence[ConfigProblem], warnings: list[str], begun: bool) -> Iterator[ConfigProblem]:
    """The problems that nothing can start with; what else there is to know goes to the warnings, each once."""
    for problem in found:
        goes_on = begun and problem.without_effect
        message = f"{problem.message} (the sweep continues as it began)" if goes_on else problem.message
        if problem.fatal and not goes_on:
            yield problem
        elif message not in warnings:
            warnings.append(message)


def _groups(check_keys: tuple[str, ...] | tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    single = tuple(key for key in check_keys if isinstance(key, str))
    groups = [key for key in check_keys if not isinstance(key, str)]
    return groups if groups and not single else [single, *groups]


def _params(space: Space, fixed: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Complete params: every combination of `keys` (and of what their conditions name), the first value elsewhere."""
    wanted: dict[str, None] = {}
    pending = [key for key in keys if key in space]
    while pending:
        key = pending.pop(0)
        if key not in wanted:
            wanted[key] = None
            pending.extend(parent for parent in space[key].when if parent in space)
    values_of = {name: corner_values(space[name]) for name in wanted}
    order = in_order(space)
    for chosen in combinations(space, values_of, fixed):
        params: dict[str, Any] = {}
        for name in order:
            if name in chosen:
                params[name] = chosen[name]
            elif name not in wanted and is_active(space[name], {**fixed, **params}):
                params[name] = corner_values(space[name])[0]
        yield params


def _check(trainable: type[Trainable[Any, Any]], values: Mapping[str, Any]) -> list[ConfigProblem]:
    try:
        return trainable.check(trainable.config_class.model_validate(values))
    except ValidationError as error:
        # A single value is right by now; what is left are rules over several (and missing keys, told elsewhere).
        several = [details for details in error.errors(include_url=False) if details["type"] != "missing"]
        missing = [details for details in error.errors(include_url=False) if details["type"] == "missing"]
        found = [
            ConfigProblem(_key(details), reasons([details], details["input"])[0].lstrip(": ")) for details in several
        ]
        return found + [ConfigProblem(_key(details), "is missing in some of the settings") for details in missing]
    except TrainableError as error:
        return [ConfigProblem("", str(error))]


def _key(details: Any) -> str:
    return str(details["loc"][0]) if details["loc"] else ""


def _located(
    found: ConfigProblem,
    params: Mapping[str, Any],
    spec: SweepSpec,
    places: Places,
    value_places: Mapping[str, Sequence[str]],
) -> Problem:
    """At the value that the problem names, as near as it was written."""
    key = found.key
    if key in spec.space:
        where = places.where(("space", key))
        if key in params and key in value_places:
            values = grid_values(spec.space[key]) or ()
            where = next(
                place for value, place in zip(values, value_places[key], strict=True) if same_value(value, params[key])
            )
        return Problem(f"space.{key}: {found.message}", where=where)
    if key in spec.fixed:
        return Problem(f"fixed.{key}: {found.message}", where=places.where(("fixed", key)))
    return Problem(f"{key}: {found.message}" if key else found.message, where=places.where(("space",)))


def _complete(baseline: Mapping[str, Any], spec: SweepSpec) -> bool:
    return all(
        (name in baseline) == is_active(parameter, {**spec.fixed, **baseline}) for name, parameter in spec.space.items()
    )
