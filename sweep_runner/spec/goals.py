"""Limits and further objectives of a sweep file: what they name, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from sweep_runner.spec.document import KeyPath
from sweep_runner.spec.explain import did_you_mean, shown
from trainables.contract import Mode, Trainable
from trainables.facts import ONNX_LATENCY, LatencySetting
from trainables.units import as_bytes

Tell = Callable[[KeyPath, str, str], None]
"""Takes a problem: where it is, what is wrong, what to do."""


_AMOUNT: dict[str, Any] = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


def _number(value: Any) -> Any:
    """A size such as "20MB", or the number that it is."""
    return as_bytes(value) if isinstance(value, str) else value


Batch = Annotated[int, Field(ge=1, le=4096)] | None
Threads = Annotated[int, Field(ge=1, le=1024)] | Literal["all"] | None


class Limit(_Part):
    """The most that a model may have of something that is known before it is trained."""

    max: Annotated[float, BeforeValidator(_number), WithJsonSchema(_AMOUNT)] = Field(
        gt=0, description="The maximum; for bytes also as 20MB."
    )
    batch: Batch = Field(None, description="onnx_latency_ms only: batch size. Default: 1.")
    threads: Threads = Field(None, description="onnx_latency_ms only: CPU threads, or all. Default: 1.")

    def fact(self, name: str) -> str:
        """Under which name what is limited is measured."""
        return fact_of(name, self.batch, self.threads)


class Goal(_Part):
    """A further objective."""

    metric: str = Field(description="A metric of the trainable, or a fact that is known before training.")
    mode: Mode | None = Field(None, description="max or min; known for most metrics.")
    batch: Batch = Field(None, description="onnx_latency_ms only: batch size. Default: 1.")
    threads: Threads = Field(None, description="onnx_latency_ms only: CPU threads, or all. Default: 1.")

    @property
    def column(self) -> str:
        """The metric; of a latency the name that says how it is measured."""
        return fact_of(self.metric, self.batch, self.threads)

    @property
    def better_is(self) -> Mode:
        """Which way is better, once it was checked."""
        return self.mode or "max"


def fact_of(name: str, batch: int | None, threads: int | Literal["all"] | None) -> str:
    """The name of a fact with its setting."""
    if name != ONNX_LATENCY:
        return name
    return LatencySetting(batch or 1, threads or 1).fact


def check_limits(limits: Mapping[str, Limit], trainable: type[Trainable[Any, Any]], name: str, tell: Tell) -> None:
    """Finds limits on what cannot be known before training.

    Args:
        limits: of the sweep file.
        trainable: whose models they are of.
        name: the trainable's, as in the sweep file.
        tell: takes each problem.
    """
    for fact, limit in limits.items():
        at: KeyPath = ("limits", fact)
        if not trainable.facts:
            tell(at, f"limits.{fact}: {name} knows nothing about a model before training", "Remove limits.")
        elif fact not in trainable.facts:
            hint = did_you_mean(fact, trainable.facts)
            if fact in trainable.metrics:
                hint = "It is known only after training: make it an objective."
            tell(at, f"limits.{fact}: it is not known before training", hint)
        else:
            _check_setting(at, f"limits.{fact}", fact, limit.batch, limit.threads, tell)


def check_goals(
    goals: tuple[Goal, ...],
    first: str,
    trainable: type[Trainable[Any, Any]],
    name: str,
    at: Callable[[int], KeyPath],
    tell: Tell,
) -> tuple[Goal, ...]:
    """The further objectives with their modes; problems are told.

    Args:
        goals: of the sweep file, without the first objective.
        first: the first objective's metric.
        trainable: that reports them.
        name: the trainable's, as in the sweep file.
        at: where the goal of an index is written.
        tell: takes each problem.
    """
    checked: list[Goal] = []
    for index, goal in enumerate(goals):
        place = at(index)
        label = f"objective {index + 2}"
        known: Mapping[str, Mode] = {**dict.fromkeys(trainable.facts, "min"), **trainable.metrics}
        if goal.metric not in known and (trainable.metrics or goal.mode is None):
            message = f"{label} is {shown(goal.metric)}: {name} neither reports it nor knows it before training"
            hint = did_you_mean(goal.metric, known) if known else "Add the mode: {metric: ..., mode: min}."
            tell(place, message, hint)
        elif goal.mode is not None and goal.mode != known.get(goal.metric, goal.mode):
            mode = known[goal.metric]
            tell(place, f"{label}: {goal.metric} is better the other way: {mode}", "Remove mode: it is known.")
        elif goal.column in (first, *(other.column for other in checked)):
            tell(place, f"{label}: {goal.column} is an objective already", "")
        else:
            _check_setting(place, label, goal.metric, goal.batch, goal.threads, tell)
        checked.append(goal.model_copy(update={"mode": known.get(goal.metric, goal.mode)}))
    return tuple(checked)


def _check_setting(at: KeyPath, label: str, fact: str, batch: object, threads: object, tell: Tell) -> None:
    if fact != ONNX_LATENCY and (batch is not None or threads is not None):
        tell(at, f"{label}: batch and threads belong to {ONNX_LATENCY} only", "Remove them.")


def over_limits(limits: Mapping[str, Limit], facts: Mapping[str, float], asked: Collection[str]) -> dict[str, float]:
    """By how much of each limit a model is above it, by the limit's name; infinite of what cannot be had of it.

    Pure: the same facts give the same answer after a restart.

    Args:
        limits: of the sweep.
        facts: what is known of the model.
        asked: what was asked for: of these, a fact that is missing cannot be had.
    """
    over: dict[str, float] = {}
    for name, limit in limits.items():
        fact = limit.fact(name)
        value = facts.get(fact)
        if value is None and fact in asked:
            over[name] = math.inf
        elif value is not None and value > limit.max:
            over[name] = value / limit.max - 1
    return over


def over_in_words(limits: Mapping[str, Limit], facts: Mapping[str, float], asked: Collection[str]) -> str:
    """`num_parameters 25,600,000, over limits.num_parameters (5,000,000)`; empty when no limit is broken."""
    return "; ".join(_words(name, limits[name], facts) for name in over_limits(limits, facts, asked))


def _words(name: str, limit: Limit, facts: Mapping[str, float]) -> str:
    fact = limit.fact(name)
    value = facts.get(fact)
    if value is None:
        return f"{fact} cannot be measured for this model, and limits.{name} is {amount(limit.max)}"
    return f"{fact} {amount(value)}, over limits.{name} ({amount(limit.max)})"


def amount(value: float) -> str:
    """A number as people read it: whole ones with commas, others with four significant digits."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def wanted_facts_of(limits: Mapping[str, Limit], goals: tuple[Goal, ...], known: Mapping[str, Any]) -> Iterator[str]:
    """The facts that must be known of a trial before it is trained: those of its limits and of its objectives."""
    yield from (limit.fact(name) for name, limit in limits.items())
    yield from (goal.column for goal in goals if goal.metric in known)
