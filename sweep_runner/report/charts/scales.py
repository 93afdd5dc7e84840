"""Values to places along an axis, and the ticks of that axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

_ROOM = 0.04
"""Share of an axis that is left free at each end."""
_DECADE = 10.0


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        at: a value's place, from 0 to 1.
        ticks: place and label of each.
        is_choice: whether its values are names and not numbers.
    """

    at: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...]
    is_choice: bool = False


def linear(values: Sequence[float], *, zero: bool = False, whole: bool = False, wanted: int = 5) -> Scale:
    """A scale over finite numbers.

    Args:
        values: what is to be placed; at least one.
        zero: whether it begins at 0.
        whole: whether ticks are whole numbers only.
        wanted: about how many ticks.
    """
    low, high = min(values), max(values)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    span = high - low or abs(high) or 1.0
    first, last = low - (0.0 if zero and low == 0 else _ROOM * span), high + _ROOM * span
    step = _nice(span / max(1, wanted - 1))
    step = max(1.0, math.ceil(step)) if whole else step
    number = math.ceil(first / step)
    places = []
    while number * step <= last:
        places.append(number * step)
        number += 1
    ticks = tuple(((place - first) / (last - first), _label(place, step)) for place in places)
    return Scale(lambda value: (value - first) / (last - first), ticks)


def logarithmic(values: Sequence[float]) -> Scale:
    """A scale over finite numbers above 0 by their logarithm."""
    low, high = (math.log10(end(values)) for end in (min, max))
    span = high - low or 1.0
    first, last = low - _ROOM * span, high + _ROOM * span
    factors = (1,) if span > 1.5 else (1, 2, 5)
    places = [
        factor * _DECADE**power
        for power in range(math.floor(first), math.ceil(last) + 1)
        for factor in factors
        if first <= math.log10(factor * _DECADE**power) <= last
    ]
    every = math.ceil(len(places) / 7) if places else 1
    ticks = tuple(((math.log10(place) - first) / (last - first), short_number(place)) for place in places[::every])
    return Scale(lambda value: (math.log10(value) - first) / (last - first), ticks)


def choices(names: Sequence[Hashable]) -> Scale:
    """A scale with an equal part for each name."""
    places = {name: (number + 0.5) / len(names) for number, name in enumerate(names)}
    return Scale(places.__getitem__, tuple((place, str(name)) for name, place in places.items()), is_choice=True)


def short_number(value: float) -> str:
    """`0.001`, `3e-5`, `1500`, `25 k`, `4.2 M`."""
    size = abs(value)
    if size and size < 1e-3:
        return f"{value:.2g}".replace("e-0", "e-")
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= (1e4 if unit == "k" else factor):
            return f"{value / factor:.3g} {unit}"
    return f"{value:.4g}"


def _nice(step: float) -> float:
    power = _DECADE ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.7)


def _label(place: float, step: float) -> str:
    if abs(place) >= 1e4 or step < 1e-4:
        return short_number(place)
    decimals = max(0, -math.floor(math.log10(step)))
    return f"{place:.{decimals}f}"
