"""Where `guided` looks: settings drawn near known good ones, near the recipes, and from the whole space."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from sweep_runner.search.distributions import Params, at_unit, decode, distribution_of, unit_of
from sweep_runner.spec.space import Choice, Scalar, Space, in_order, is_active

_NEAREST, _FARTHEST = 0.03, 0.3
"""Standard deviation of a step from a known setting, as a fraction of the range: evenly between, by its logarithm."""
_MUTATED = 0.2
"""How often a step draws a choice anew."""
_TRUSTED, _DOUBTED = 0.3, 0.05
"""Share of draws near the recipes, while the best trials are near one, and otherwise."""
_NEAR = 0.25
"""Largest difference in any range, as a fraction of it, of settings that count as near one another."""


class Candidates:
    """Draws settings of a space. Every method is a function of its arguments and the dice."""

    def __init__(
        self, space: Space, fixed: Mapping[str, Scalar], recipes: Sequence[Params], uniform_share: float
    ) -> None:
        """Takes what stays the same.

        Args:
            space: without circles.
            fixed: the fixed keys, which conditions may name.
            recipes: known good settings, each a whole configuration of the space.
            uniform_share: how many of the draws are to come from the whole space.
        """
        self._space = space
        self._order = in_order(space)
        self._fixed = fixed
        self._recipes = recipes
        self._uniform_share = uniform_share
        self._distributions = {name: distribution_of(parameter) for name, parameter in space.items()}

    def uniform(self, dice: random.Random) -> Iterator[Params]:
        """From the whole space."""
        while True:
            yield self._whole({name: self._any(name, dice) for name in self._order})

    def guided(self, dice: random.Random, best: Sequence[Params], held: Mapping[str, Scalar]) -> Iterator[Params]:
        """Near the best settings so far, near the recipes, and some from the whole space.

        Args:
            dice: what chance comes from.
            best: settings to stay near.
            held: values that every draw has.
        """
        near_prior = self._share_near_recipes(best)
        anywhere = self.uniform(dice)
        while True:
            at = dice.random()
            if self._recipes and at < near_prior:
                draw = self._near(dice.choice(self._recipes), dice)
            elif best and at < 1 - self._uniform_share:
                draw = self._near(dice.choice(best), dice)
            else:
                draw = next(anywhere)
            yield self._whole({**self._other(draw, dice), **draw, **held}) if held else draw

    def _any(self, name: str, dice: random.Random) -> Scalar:
        return decode(self._space[name], at_unit(self._distributions[name], dice.random()))

    def _other(self, draw: Params, dice: random.Random) -> Params:
        """Values for what the draw lacks: it may exist beside a held value."""
        return {name: self._any(name, dice) for name in self._order if name not in draw}

    def _near(self, center: Params, dice: random.Random) -> Params:
        """A step from a setting: every range by some of its width, some choices drawn anew."""
        values: Params = {}
        spread = _NEAREST * (_FARTHEST / _NEAREST) ** dice.random()
        for name in self._order:
            parameter = self._space[name]
            if name not in center or (isinstance(parameter, Choice) and dice.random() < _MUTATED):
                values[name] = self._any(name, dice)
            elif isinstance(parameter, Choice):
                values[name] = center[name]
            else:
                at = unit_of(parameter, center[name]) + dice.gauss(0, spread)
                values[name] = decode(parameter, at_unit(self._distributions[name], min(max(at, 0.0), 1 - 1e-9)))
        return self._whole(values)

    def _whole(self, values: Mapping[str, Scalar]) -> Params:
        """Without what does not exist beside the rest, in the order of the space."""
        chosen: Params = {}
        for name in self._order:
            if is_active(self._space[name], {**self._fixed, **chosen}):
                chosen[name] = values[name]
        return {name: chosen[name] for name in self._space if name in chosen}

    def _share_near_recipes(self, best: Sequence[Params]) -> float:
        """How many of the draws are to be near the recipes: few, once better trials are elsewhere."""
        near = [any(self._distance(params, recipe) < _NEAR for recipe in self._recipes) for params in best]
        if not near:
            return _TRUSTED
        return _DOUBTED + (_TRUSTED - _DOUBTED) * sum(near) / len(near)

    def _distance(self, one: Params, other: Params) -> float:
        """The largest difference of a range, as a fraction of it."""
        apart = [
            abs(unit_of(parameter, one[name]) - unit_of(parameter, other[name]))
            for name, parameter in self._space.items()
            if name in one and name in other and not isinstance(parameter, Choice)
        ]
        return max(apart, default=0.0)
