"""A key that is not known where it is written, and where in a sweep file it belongs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from sweep_runner.errors import Problem
from sweep_runner.spec.explain import UnknownKey, models_in
from sweep_runner.spec.model import SweepSpec
from trainables.contract import Trainable

_NEAR = 0.8
"""Of difflib's ratio: a key of another section is further from what was meant than one of the same section."""
_MOST = 3
_TELLING = 6  # letters: a shorter value, such as max, is one of many things


def with_places(problems: Sequence[Problem], trainable: type[Trainable[Any, Any]]) -> list[Problem]:
    """The problems, where an unknown key that another section has, or a value of that name, names it in its hint."""
    return [
        replace(problem, hint=_hint(problem, trainable)) if isinstance(problem, UnknownKey) else problem
        for problem in problems
    ]


def _hint(problem: UnknownKey, trainable: type[Trainable[Any, Any]]) -> str:
    key, own = problem.key, _likeness(problem.key, problem.near)
    known = _known(trainable)
    if key in known:
        places = list(known[key])
        return f"It belongs here: {' or '.join(places[:_MOST])}{', …' if len(places) > _MOST else ''}."
    if (meant := trainable.other_names.get(key.lower())) is not None:
        return f"Did you mean {' or '.join(known[meant])}?"
    near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)
    if near and _likeness(key, near[0]) > own:
        return f"Did you mean {' or '.join(list(known[near[0]])[:_MOST])}?"
    return problem.hint


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio() if other else 0.0


@cache
def _known(trainable: type[Trainable[Any, Any]]) -> dict[str, dict[str, None]]:
    """Each key of a sweep file, and each value that is one of a few, → where it is written."""
    known: dict[str, dict[str, None]] = {}
    hyperparameters = [
        (name, f"{section}.{name}") for name in trainable.config_class.model_fields for section in ("fixed", "space")
    ]
    keys = [*hyperparameters, *_keys(SweepSpec, ""), *_keys(trainable.data_class, "data.")]
    for key, place in keys:
        known.setdefault(key, {})[place] = None
    for value, place in [*_values(SweepSpec, ""), *_values(trainable.data_class, "data.")]:
        if value not in known and len(value) >= _TELLING:
            known[value] = {place: None}
    return known


def _keys(model: type[BaseModel], at: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield name, f"{at}{name}"
        for section in _sections(field.annotation):
            yield from _keys(section, f"{at}{name}.")


def _values(model: type[BaseModel], at: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal:
            yield from (
                (value, f"{at}{name}: {value}") for value in get_args(field.annotation) if isinstance(value, str)
            )
        for section in _sections(field.annotation):
            yield from _values(section, f"{at}{name}.")


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The section that a key holds; none where it holds several under names of their own, or one of several kinds."""
    if get_origin(annotation) in (dict, tuple):
        return []
    found = models_in(annotation)
    return found if len(found) == 1 else []
