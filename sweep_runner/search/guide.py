"""What `guided` proposes: a pure function of the space, the prior and the trials so far. Knows nothing of Optuna.

First the usual recipes, one for each network; four uniform draws; then the best of some candidates by a surrogate. Now
and then a proposal is uniform without asking anybody, so that no region stays unseen; and every few proposals the best
settings are carried over to the network that was tried least, so that none is given up for a setting that did not suit
it. See docs/search.md for what was measured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep_runner.search.candidates import Candidates
from sweep_runner.search.distributions import Params, same_configuration_key, unit_of
from sweep_runner.search.surrogate import Array, Integers, Rows, Surrogate
from sweep_runner.spec.recipes import NETWORK
from sweep_runner.spec.space import Choice, Parameter, Scalar, Space
from sweep_runner.spec.strategies import GuidedOptions

_UNIFORM_AFTER_RECIPES, _UNIFORM_WITHOUT = 4, 6
"""A recipe that misleads shows against these, for the price of some rungs."""
_NUM_BEST = 3
_OPTIMISM = 0.5
"""Standard deviations that a candidate's prediction is raised by."""
_WINDOW = 3
"""Epochs whose mean stands for a trial: the luckiest epoch is worth less than it looks."""
_TURN = 5
"""Every so many proposals are of the network that was tried least."""


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
        self._recipes = recipes
        self._seed = seed
        self._options = options
        self._candidates = Candidates(space, fixed, recipes, options.uniform)
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
            return self._new(self._candidates.uniform(dice), known)
        surrogate = self._surrogate(trials)
        if surrogate is None:
            return self._new(self._candidates.guided(dice, [], {}), known)
        held = self._turn(seen) if index % _TURN == 0 else {}
        draws = self._candidates.guided(dice, self._best(trials, surrogate), held)
        candidates: list[Params] = []
        for _ in range(4 * self._options.candidates):
            candidate = next(draws)
            if same_configuration_key(candidate) not in known:
                candidates.append(candidate)
                if len(candidates) == self._options.candidates:
                    break
        if not candidates:
            return self._new(self._candidates.uniform(dice), known)
        mean, spread = surrogate.predict(self._rows(candidates))
        optimism = (
            0.0 if held else _OPTIMISM
        )  # a network's turn is for what should suit it, not to learn where it fails
        return candidates[int(np.argmax(mean + optimism * spread))]

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

    def _turn(self, seen: Sequence[Seen]) -> Params:
        """The network that was tried least, of those that can be trained at all; nothing without a choice of them."""
        network = self._space.get(NETWORK)
        if not isinstance(network, Choice):
            return {}
        tried: dict[Scalar, int] = {}
        for value in network.values:
            of_it = [trial for trial in seen if trial.params.get(NETWORK) == value]
            if not of_it or not all(trial.failed for trial in of_it):
                tried[value] = len(of_it)
        return {NETWORK: min(tried, key=tried.__getitem__)} if len(tried) > 1 else {}

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
        settings = [params for params, *_ in points] + failed
        rows = self._rows(settings)
        values = _without_depths(values, levels, rows.groups[: len(points)])
        values = np.concatenate([values, np.full(len(failed), values[levels == 0].min())])
        levels = np.concatenate([levels, np.zeros(len(failed), dtype=levels.dtype)])
        return Surrogate(rows, levels, values)

    def _rows(self, settings: Sequence[Params]) -> Rows:
        numbers = [
            [unit_of(self._space[name], params[name]) if name in params else 0.5 for name in self._numbers]
            for params in settings
        ]
        choices = [
            [_index(self._space[name], params[name]) if name in params else -1 for name in self._choices]
            for params in settings
        ]
        count = len(settings)
        chosen = np.array(choices, dtype=np.int64).reshape(count, len(self._choices))
        network = self._choices.index(NETWORK) if NETWORK in self._choices else None
        return Rows(
            numbers=np.array(numbers, dtype=np.float64).reshape(count, len(self._numbers)),
            choices=chosen,
            groups=chosen[:, network] if network is not None else np.zeros(count, dtype=np.int64),
        )


def _is_number(parameter: Parameter) -> bool:
    """A range, or a choice of numbers: 16 is nearer to 32 than to 128."""
    if not isinstance(parameter, Choice):
        return True
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.values)


def _index(parameter: Parameter, value: Scalar) -> int:
    assert isinstance(parameter, Choice)
    return next(index for index, one in enumerate(parameter.values) if type(one) is type(value) and one == value)


def _is_of(recipe: Params, params: Params) -> bool:
    """Whether a trial is of the recipe's network; without networks, whether it is the recipe."""
    if NETWORK in recipe:
        return params.get(NETWORK) == recipe[NETWORK]
    return params == recipe


def _without_depths(values: Array, levels: Integers, groups: Integers) -> Array:
    """Values (N,) with those far below the others of their level and network raised to a floor.

    What is far below is bad, and how bad does not matter: one diverged trial would flatten all differences. A network
    that is worse as a whole has its floor lower by as much, or nothing would be seen of what suits it.
    """
    raised = values.copy()
    for level in np.unique(levels):
        here = levels == level
        middle, high = np.quantile(values[here], (0.5, 0.9))
        floor = middle - 1.5 * (high - middle) - 1e-3
        for group in np.unique(groups[here]):
            mine = here & (groups == group)
            raised[mine] = np.maximum(values[mine], floor - (values[here].max() - values[mine].max()))
    return raised


def _worth(trial: Seen) -> float:
    """The best mean of some epochs in a row."""
    return max(_mean_until(trial.values, epoch) for epoch in trial.values)


def _mean_until(values: Mapping[int, float], epoch: int) -> float:
    """The mean of the last reported epochs up to one."""
    reported = sorted(step for step in values if step <= epoch)[-_WINDOW:]
    return sum(values[step] for step in reported) / len(reported)
