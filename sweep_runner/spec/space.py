"""The search space: what a parameter can be, when it exists, and which values it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None
"""What a choice may hold: what Optuna can store and a table column can show."""

Params = Mapping[str, Scalar]
When = Annotated[dict[str, tuple[Scalar, ...]], Field(default_factory=dict)]


class _Parameter(BaseModel):
    """What every kind of parameter has.

    Attributes:
        when: the parameter exists only while each named parameter has one of the listed values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    when: When


class Choice(_Parameter):
    """One of some values; with a single value it is a constant."""

    values: tuple[Scalar, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        # 1 and True are equal in Python but are two values to a user.
        keys = [(type(value), value) for value in self.values]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise ValueError(f"{key[1]!r} is listed twice")
        return self

    def contains(self, value: Any) -> bool:
        return any(same_value(value, choice) for choice in self.values)

    def describe(self) -> str:
        return "one of " + ", ".join(map(str, self.values))


class _Range(_Parameter):
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}: low must not exceed high")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} with log: true, but a logarithm needs low > 0")
        if self.log and self.step is not None:
            raise ValueError("step and log: true together: a log range has no even steps; leave one of them out")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step {self.step}: must be above 0")
        return self

    def describe(self) -> str:
        extra = (", log" if self.log else "") + (f", step {self.step}" if self.step else "")
        return f"{self.low} to {self.high}{extra}"


class FloatRange(_Range):
    """A number from low to high (both included), even or logarithmic, or on a grid of `step`."""

    @model_validator(mode="after")
    def _finite(self) -> Self:
        if not all(abs(bound) < float("inf") for bound in (self.low, self.high, self.step or 0.0)):
            raise ValueError("low, high and step must be finite")
        return self

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or _on_grid(float(value), self.low, self.step)


class IntRange(_Range):
    """A whole number from low to high (both included)."""

    low: int
    high: int
    step: int | None = None

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return False
        return (value - self.low) % (self.step or 1) == 0


Parameter = Choice | FloatRange | IntRange
Space = Mapping[str, Parameter]


def same_value(one: Any, other: Any) -> bool:
    """Equal, and of one kind: True is not 1, but 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Whether a parameter exists, given the values of the parameters (and fixed keys) that its `when` names."""
    return all(
        name in values and any(same_value(values[name], allowed) for allowed in choices)
        for name, choices in parameter.when.items()
    )


def in_order(space: Space) -> tuple[str, ...]:
    """The names of the space, each after those that its `when` names; the file's order otherwise.

    Raises:
        ValueError: the conditions go in a circle; the message names it.
    """
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError("circular conditions: " + " → ".join((*path[path.index(name) :], name)))
        if name in done:
            return
        for parent in space[name].when:
            if parent in space:
                visit(parent, (*path, name))
        done[name] = None

    for name in space:
        visit(name, ())
    return tuple(done)


def grid_values(parameter: Parameter) -> Sequence[Scalar] | None:
    """Every value of a parameter in order, or None for a range of floats without a step."""
    if isinstance(parameter, Choice):
        return parameter.values
    if isinstance(parameter, IntRange):
        return range(parameter.low, parameter.high + 1, parameter.step or 1)
    if parameter.step is None:
        return (parameter.low,) if parameter.low == parameter.high else None
    count = int((parameter.high - parameter.low) / parameter.step + 1e-9) + 1
    return [round(parameter.low + index * parameter.step, 12) for index in range(count)]


def corner_values(parameter: Parameter) -> Sequence[Scalar]:
    """The values that matter for a check: every choice, the end points of a range."""
    if isinstance(parameter, Choice):
        return parameter.values
    return (parameter.low,) if parameter.low == parameter.high else (parameter.low, parameter.high)


def combinations(
    space: Space, values_of: Mapping[str, Sequence[Scalar]], given: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Scalar]]:
    """Every combination of the given values that the conditions allow, each once.

    Args:
        space: the parameters and their conditions.
        values_of: the values to combine, for the names to enumerate. A condition on a name that is
            neither enumerated nor given is not checked against a parameter's presence.
        given: values that stand already (the fixed keys), for conditions only.
    """
    names = [name for name in in_order(space) if name in values_of]
    known = dict(given or {})

    def exists(parameter: Parameter, chosen: Mapping[str, Scalar]) -> bool:
        values = {**known, **chosen}
        return all(
            (name not in values and name in space and name not in values_of)
            or (name in values and any(same_value(values[name], allowed) for allowed in choices))
            for name, choices in parameter.when.items()
        )

    def extend(position: int, chosen: dict[str, Scalar]) -> Iterator[dict[str, Scalar]]:
        if position == len(names):
            yield dict(chosen)
            return
        name = names[position]
        if not exists(space[name], chosen):
            yield from extend(position + 1, chosen)
            return
        for value in values_of[name]:
            chosen[name] = value
            yield from extend(position + 1, chosen)
        del chosen[name]

    yield from extend(0, {})


def first_params(space: Space, fixed: Mapping[str, Any]) -> dict[str, Scalar]:
    """One configuration inside the space: the first value (a range's low end) of each active parameter."""
    params: dict[str, Scalar] = {}
    for name in in_order(space):
        if is_active(space[name], {**fixed, **params}):
            params[name] = corner_values(space[name])[0]
    return params


def _on_grid(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-6
