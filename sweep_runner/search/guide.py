"""What `guided` proposes: a pure function of the space, the prior and the trials so far. Knows nothing of Optuna.

First the usual recipes, one for each network; four uniform draws; then the best of some candidates by a surrogate.
Candidates are drawn near the best finished trials, near the recipes, and uniformly; now and then a proposal is uniform
without asking anybody, so that no region stays unseen. See docs/search.md for what was measured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep_runner.search.distributions import Params, at_unit, decode, distribution_of, same_configuration_key
from sweep_runner.search.surrogate import Rows, Surrogate
from sweep_runner.spec.space import Choice, Parameter, Scalar, Space, in_order, is_active
from sweep_runner.spec.strategies import GuidedOptions

_UNIFORM_AFTER_RECIPES, _UNIFORM_WITHOUT = 4, 6
"""A recipe that misleads shows against these, for the price of some rungs."""
_NEAREST, _FARTHEST = 0.03, 0.3
"""Standard deviation of a step from a known setting, as a fraction of the range: evenly between, by its logarithm."""
_MUTATED = 0.2
"""How often a step draws a choice anew."""
_NUM_BEST = 3
_OPTIMISM = 0.5
"""Standard deviations that a candidate's prediction is raised by."""
_WINDOW = 3
"""Epochs whose mean stands for a trial: the luckiest epoch is worth less than it looks."""
_TRUSTED, _DOUBTED = 0.3, 0.05
"""Share of candidates near the recipes, while the best trials are near one, and otherwise."""


@dataclass(frozen=True)
class Seen:
    """A trial so far.

    Attributes:
        params: its settings.
        values: the objective by epoch; more is better, and each a finite number.
        completed: it ran to its end.
        failed: it failed, or does not fit in memory.
    """

    params: Params
    values: Mapping[int, float]
    completed: bool = False
    failed: bool = False


class Guide:
    """Proposes settings. Keeps nothing: the same trials give the same proposal."""

    def __init__(
        self, space: Space, fixed: Mapping[str, Scalar], recipes: Sequence[Params], seed: int, options: GuidedOptions
    ) -> None:
        """Takes what stays the same.

        Args:
            space: without circles.
            fixed: the fixed keys, which conditions may name.
            recipes: known good settings, the best known first; each a whole configuration of the space.
            seed: the sweep's.
            options: of the sampler.
        """
        self._space = space
        self._order = in_order(space)
        self._fixed = fixed
        self._recipes = recipes
        self._seed = seed
        self._options = options
        self._distributions = {name: distribution_of(parameter) for name, parameter in space.items()}
        self._numbers = [name for name, parameter in space.items() if _is_number(parameter)]
        self._choices = [name for name in space if name not in self._numbers]

    def propose(self, index: int, seen: Sequence[Seen], known: Collection[str]) -> Params:
        """The settings of one trial.

        Args:
            index: of the proposal, from 0.
            seen: the other trials, oldest first, those that have reported nothing included; of very many, some.
            known: of all trials, by `same_configuration_key`: what not to propose again.
        """
        untried = self._untried_recipe(seen)
        if untried is not None:
            return untried
        dice = random.Random(f"guided/{self._seed}/{index}")
        trials = [trial for trial in seen if trial.values or trial.failed]
        num_uniform = _UNIFORM_AFTER_RECIPES if self._recipes else _UNIFORM_WITHOUT
        num_recipes = sum(any(trial.params == recipe for trial in seen) for recipe in self._recipes)
        if index - num_recipes < num_uniform or dice.random() < self._options.uniform:
            return self._new(self._uniform_draws(dice), known)
        surrogate = self._surrogate(trials)
        if surrogate is None:
            return self._new(self._draws(dice, []), known)
        draws = self._draws(dice, self._best(trials, surrogate))
        candidates: list[Params] = []
        for _ in range(4 * self._options.candidates):
            candidate = next(draws)
            if same_configuration_key(candidate) not in known:
                candidates.append(candidate)
                if len(candidates) == self._options.candidates:
                    break
        if not candidates:
            return self._new(self._uniform_draws(dice), known)
        mean, spread = surrogate.predict(self._rows(candidates))
        return candidates[int(np.argmax(mean + _OPTIMISM * spread))]

    # Draws ----------------------------------------------------------------------------------------------

    def _untried_recipe(self, seen: Sequence[Seen]) -> Params | None:
        """The first recipe that no trial has the network of: baselines of the user's own come before ours."""
        for recipe in self._recipes:
            if not any(_is_of(recipe, trial.params) for trial in seen):
                return dict(recipe)
        return None

    def _new(self, draws: Iterator[Params], known: Collection[str]) -> Params:
        """The first draw that is no earlier trial's; after a hundred, any."""
        for _ in range(100):
            draw = next(draws)
            if same_configuration_key(draw) not in known:
                break
        return draw

    def _best(self, trials: Sequence[Seen], surrogate: Surrogate) -> list[Params]:
        """The settings of the trials that are best at their end, or would be."""
        settings = [trial.params for trial in trials if not trial.failed]
        mean, _ = surrogate.predict(self._rows(settings))
        return [settings[row] for row in np.argsort(-mean, kind="stable")[:_NUM_BEST]]

    def _draws(self, dice: random.Random, best: Sequence[Params]) -> Iterator[Params]:
        near_prior = self._share_near_recipes(best)
        while True:
            at = dice.random()
            if self._recipes and at < near_prior:
                yield self._near(dice.choice(self._recipes), dice)
            elif best and at < 1 - self._options.uniform:
                yield self._near(dice.choice(best), dice)
            else:
                yield self._uniform(dice)

    def _uniform_draws(self, dice: random.Random) -> Iterator[Params]:
        while True:
            yield self._uniform(dice)

    def _uniform(self, dice: random.Random) -> Params:
        return self._whole({name: self._any(name, dice) for name in self._order})

    def _any(self, name: str, dice: random.Random) -> Scalar:
        return decode(self._space[name], at_unit(self._distributions[name], dice.random()))

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
                at = _unit(parameter, center[name]) + dice.gauss(0, spread)
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
        """How many of the candidates are to be near the recipes: few, once better trials are elsewhere."""
        near = [any(self._distance(params, recipe) < 0.25 for recipe in self._recipes) for params in best]
        if not near:
            return _TRUSTED
        return _DOUBTED + (_TRUSTED - _DOUBTED) * sum(near) / len(near)

    def _distance(self, one: Params, other: Params) -> float:
        """The largest difference of a range, as a fraction of it."""
        apart = [
            abs(_unit(self._space[name], one[name]) - _unit(self._space[name], other[name]))
            for name in self._numbers
            if name in one and name in other and not isinstance(self._space[name], Choice)
        ]
        return max(apart, default=0.0)

    # The surrogate --------------------------------------------------------------------------------------

    def _surrogate(self, trials: Sequence[Seen]) -> Surrogate | None:
        """Fitted on where each trial ended, and on where it was at a third and a ninth of the epochs.

        Beside a hard pruner nearly none comes to its end: then the level is the highest that was reached. None while
        fewer than three trials have come far enough to be compared.
        """
        longest = max((max(trial.values) for trial in trials if trial.values), default=1)
        points: list[tuple[Params, int, float]] = []
        failed: list[Params] = []
        for trial in trials:
            if trial.failed:
                failed.append(trial.params)
                continue
            if trial.completed:
                points.append((trial.params, 0, _worth(trial)))
            for level, epoch in ((1, math.ceil(longest / 3)), (2, math.ceil(longest / 9))):
                if max(trial.values) >= epoch:
                    points.append((trial.params, level, _mean_until(trial.values, epoch)))
                    break
        if len(points) < _NUM_BEST:
            return None
        values = np.array([value for *_, value in points])
        levels = np.array([level for _, level, _ in points])
        levels -= levels.min()
        # What is far below is bad, and how bad does not matter: one diverged trial would flatten all differences.
        for level in np.unique(levels):
            here = levels == level
            middle, high = np.quantile(values[here], (0.5, 0.9))
            values[here] = np.maximum(values[here], middle - 1.5 * (high - middle) - 1e-3)
        settings = [params for params, *_ in points] + failed
        values = np.concatenate([values, np.full(len(failed), values[levels == 0].min())])
        levels = np.concatenate([levels, np.zeros(len(failed), dtype=levels.dtype)])
        rows = self._rows(settings)
        group = self._choices.index("model") if "model" in self._choices else None
        groups = rows.choices[:, group] if group is not None else np.zeros(len(settings), dtype=np.int64)
        return Surrogate(rows, levels, groups, values)

    def _rows(self, settings: Sequence[Params]) -> Rows:
        numbers = [
            [_unit(self._space[name], params[name]) if name in params else 0.5 for name in self._numbers]
            for params in settings
        ]
        choices = [
            [_index(self._space[name], params[name]) if name in params else -1 for name in self._choices]
            for params in settings
        ]
        count = len(settings)
        return Rows(
            np.array(numbers, dtype=np.float64).reshape(count, len(self._numbers)),
            np.array(choices, dtype=np.int64).reshape(count, len(self._choices)),
        )


def _is_number(parameter: Parameter) -> bool:
    """A range, or a choice of numbers: 16 is nearer to 32 than to 128."""
    if not isinstance(parameter, Choice):
        return True
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.values)


def _unit(parameter: Parameter, value: Scalar) -> float:
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


def _index(parameter: Parameter, value: Scalar) -> int:
    assert isinstance(parameter, Choice)
    return next(index for index, one in enumerate(parameter.values) if type(one) is type(value) and one == value)


def _is_of(recipe: Params, params: Params) -> bool:
    """Whether a trial is of the recipe's network; without networks, whether it is the recipe."""
    if "model" in recipe:
        return params.get("model") == recipe["model"]
    return params == recipe


def _worth(trial: Seen) -> float:
    """The best mean of some epochs in a row."""
    return max(_mean_until(trial.values, epoch) for epoch in trial.values)


def _mean_until(values: Mapping[int, float], epoch: int) -> float:
    """The mean of the last reported epochs up to one."""
    reported = sorted(step for step in values if step <= epoch)[-_WINDOW:]
    return sum(values[step] for step in reported) / len(reported)
