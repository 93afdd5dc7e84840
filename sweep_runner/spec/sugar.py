"""The short forms of the sweep file → what the models take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sweep_runner.errors import Problem
from sweep_runner.spec.document import KeyPath, Places
from sweep_runner.spec.explain import did_you_mean, dotted, explain, known_keys, shown
from sweep_runner.spec.model import Search, SweepSpec
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter
from sweep_runner.spec.strategies import SAMPLERS

_FORMS = "a list of values, {values: [...]}, {low: ..., high: ...}, or one value"


def resolve_sugar(
    values: Mapping[str, Any], places: Places, problems: list[Problem], wrong: set[KeyPath]
) -> dict[str, Any]:
    """The sections as `SweepSpec` takes them; what is wrong with a short form goes to `problems`, its path to `wrong`.

    A section that is empty (`data:` and nothing below) counts as left out, and so does an empty baseline.
    `pruner: median` is short for `pruner: {kind: median}`, `limits: {num_parameters: 5e6}` for `{max: 5e6}`.
    """
    plain = {key: value for key, value in values.items() if value is not None or key not in SweepSpec.model_fields}
    if isinstance(plain.get("pruner"), str):
        plain["pruner"] = {"kind": plain["pruner"]}
    if isinstance(plain.get("baselines"), dict):  # `--set baselines.name=null` leaves one out
        plain["baselines"] = {name: given for name, given in plain["baselines"].items() if given is not None}
    if isinstance(plain.get("space"), dict):
        read = {name: read_parameter(name, value, places, problems) for name, value in plain["space"].items()}
        plain["space"] = {name: parameter for name, parameter in read.items() if parameter is not None}
        wrong |= {("space", name) for name, parameter in read.items() if parameter is None}
    if "objective" in plain:
        plain["objective"] = _objective(plain["objective"])
    if isinstance(plain.get("limits"), dict):  # `--set limits.name=null` leaves one out
        plain["limits"] = {
            name: limit if isinstance(limit, dict) else {"max": limit}
            for name, limit in plain["limits"].items()
            if limit is not None
        }
    export = plain.get("export")
    if isinstance(export, dict) and isinstance(formats := export.get("formats"), list | str):
        plain["export"] = {**export, "formats": (formats,) if isinstance(formats, str) else tuple(formats)}
    if isinstance(plain.get("loggers"), list):
        plain["loggers"] = tuple(plain["loggers"])
    search = plain.get("search")
    if isinstance(search, dict) and isinstance(search.get("options"), dict):
        before = len(problems)
        plain["search"] = _checked_options(search, places, problems)
        if len(problems) > before:
            wrong.add(("search",))
    return plain


def _objective(value: Any) -> Any:
    """`val_accuracy` is short for `{metric: val_accuracy}`; of a list the first is the objective, the others `also`."""
    if isinstance(value, list) and value:
        first, *others = (_goal(each) for each in value)
        return {**first, "also": others} if isinstance(first, dict) else value
    value = _goal(value)
    if isinstance(value, dict) and isinstance(value.get("also"), list):
        return {**value, "also": [_goal(each) for each in value["also"]]}
    return value


def _goal(value: Any) -> Any:
    return {"metric": value} if isinstance(value, str) else value


def read_parameter(name: str, value: Any, places: Places, problems: list[Problem]) -> Parameter | None:
    """One entry of the space. None, and something in `problems`, when it makes no parameter."""
    path: KeyPath = ("space", name)
    if not isinstance(value, dict):
        value = {"values": value if isinstance(value, list) else [value]}
    raw = dict(value)
    before = len(problems)
    raw["when"] = _when(raw.pop("when", None), path, places, problems)
    kind = _kind(raw)
    if kind is None:
        near = [hint for key in raw if (hint := did_you_mean(key, known_keys(FloatRange))).startswith("Did")]
        message = f"{dotted(path)} is {shown(value)}: must be {_FORMS}"
        problems.append(Problem(message, where=places.where(path), hint=near[0] if near else ""))
        return None
    if kind is Choice:
        raw["values"] = _values(raw["values"], path, places, problems)
    if len(problems) > before:
        return None
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        problems += explain(error, raw=raw, where=places.where, model=kind, at=path)
        return None


def _kind(raw: Mapping[str, Any]) -> type[Choice] | type[FloatRange] | type[IntRange] | None:
    if "values" in raw:
        return Choice
    if "low" not in raw and "high" not in raw:
        return None
    numbers = [raw[key] for key in ("low", "high", "step") if raw.get(key) is not None]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    return IntRange if whole else FloatRange


def _values(values: Any, path: KeyPath, places: Places, problems: list[Problem]) -> tuple[Any, ...]:
    if not isinstance(values, list):
        message = f"{dotted(path)}.values is {shown(values)}: must be a list"
        problems.append(Problem(message, where=places.where((*path, "values"))))
        return ()
    if not values:
        problems.append(Problem(f"{dotted(path)} lists no values: it needs at least one", where=places.where(path)))
    for position, value in enumerate(values):
        if isinstance(value, list | dict):
            message = (
                f"{dotted(path)}: the value {shown(value)} must be one plain value (text, number, true, false, null)"
            )
            problems.append(Problem(message, where=value_place(places, str(path[1]), position)))
    return tuple(values)


def _when(when: Any, path: KeyPath, places: Places, problems: list[Problem]) -> dict[str, tuple[Any, ...]]:
    """`{optimizer: sgd}` and `{optimizer: [sgd, lion]}` both become a tuple of values."""
    where = places.where((*path, "when"))
    if when is None:
        return {}
    if not isinstance(when, dict):
        message = f"{dotted(path)}.when is {shown(when)}: must be a mapping such as {{optimizer: sgd}}"
        problems.append(Problem(message, where=where))
        return {}
    conditions: dict[str, tuple[Any, ...]] = {}
    for name, allowed in when.items():
        several = tuple(allowed) if isinstance(allowed, list) else (allowed,)
        if not several or any(isinstance(value, list | dict) for value in several):
            message = f"{dotted(path)}.when.{name} is {shown(allowed)}: must be a value or a list of values"
            problems.append(Problem(message, where=places.where((*path, "when", name))))
        conditions[name] = several
    return conditions


def value_place(places: Places, name: str, position: int) -> str:
    """The place of one listed value of a parameter, in either form of a choice."""
    for path in (("space", name, "values", position), ("space", name, position)):
        if places.has(path):
            return places.where(path)
    return places.where(("space", name))


def _checked_options(search: dict[str, Any], places: Places, problems: list[Problem]) -> dict[str, Any]:
    sampler = search.get("sampler", Search().sampler)
    kind = next((choice.options for name, choice in SAMPLERS.items() if name == sampler), None)
    if kind is None:
        return {**search, "options": {}}  # the unknown sampler is the problem
    try:
        kind.model_validate(search["options"])
    except ValidationError as error:
        problems += explain(error, raw=search["options"], where=places.where, model=kind, at=("search", "options"))
        return {**search, "options": {}}
    return search
