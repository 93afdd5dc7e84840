"""From the sweep file's options to an Optuna sampler: a function per line of `spec.strategies.SAMPLERS`.

`guided`, `random`, `grid` and `qmc` are our own (`guided.py`, `repeatable.py`), the others Optuna's. Those that learn
from what came before cannot repeat an undisturbed sweep when they resume, but never repeat their own earlier draws.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial

from sweep_runner.search.cma_es import SafeCmaEsSampler
from sweep_runner.search.failures import AvoidsFailures, CountsStopped, SeveralGoals, WrappedSampler
from sweep_runner.search.guided import Guided
from sweep_runner.search.repeatable import GridPoints, IndexOf, QmcPoints, RandomPoints, grid_points, varying
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.recipes import own_settings, settings_first
from sweep_runner.spec.strategies import SAMPLERS, sampler_options
from trainables.loading import load_trainable

Factory = Callable[[SweepSpec, Any, IndexOf], BaseSampler]
"""From the sweep, the sampler's validated options, and the index of a trial among the proposed ones."""


def make_sampler(spec: SweepSpec, index_of: IndexOf) -> BaseSampler:
    """The sampler that a sweep asks for.

    Args:
        spec: the sweep.
        index_of: from an Optuna trial number to the index among proposed trials, negative for baselines.

    Raises:
        RequestError: the space has no such grid.
    """
    options = sampler_options(spec.search.sampler, spec.search.options)
    make: Factory = pkgutil.resolve_name(SAMPLERS[spec.search.sampler].made_by)
    return make(spec, options, index_of)


def guided(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Guided random search: see `Guided`."""
    prior = settings_first(spec, load_trainable(spec.trainable)) if options.usual else own_settings(spec)
    return Guided(spec.search.seed, index_of, spec.space, spec.fixed, prior, options)


def random_points(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Random search that repeats itself after a resume."""
    return RandomPoints(spec.search.seed, index_of)


def grid(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Every point of a grid, in an order drawn from the seed.

    Raises:
        RequestError: the space has no such grid.
    """
    return GridPoints(spec.search.seed, index_of, grid_points(spec))


def qmc(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Quasi-Monte Carlo: points that fill the space evenly."""
    return QmcPoints(spec.search.seed, index_of, varying(spec), options)


def tpe(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Tree-structured Parzen estimator, of one objective or several."""
    # Optuna's 10 are half of a small sweep. On recorded curves of three parameters 6 find a good trial sooner than 10
    # (benchmarks/search_efficiency.py, 60 seeds: 34.5 and 36 epochs).
    startup = min(10, max(5, 2 * len(varying(spec))))
    sampler = TPESampler(
        n_startup_trials=startup if options.startup_trials is None else options.startup_trials,
        n_ei_candidates=options.candidates,
        multivariate=options.multivariate,
        group=options.group,
        constant_liar=options.constant_liar,
        seed=0,
    )
    return PerTrialSeed((SeveralGoals if spec.objective.also else AvoidsFailures)(sampler), spec.search.seed)


def cma_es(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """Covariance matrix adaptation: for spaces of numbers."""
    sampler = SafeCmaEsSampler(
        n_startup_trials=options.startup_trials,
        sigma0=options.sigma0,
        popsize=options.popsize,
        warn_independent_sampling=False,
        seed=0,
    )
    return PerTrialSeed(CountsStopped(sampler), spec.search.seed)


def gp(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """A Gaussian process: for few, expensive trials."""
    startup = min(10, max(4, spec.search.trials // 4))
    sampler = GPSampler(
        n_startup_trials=startup if options.startup_trials is None else options.startup_trials,
        deterministic_objective=options.deterministic_objective,
        warn_independent_sampling=False,
        seed=0,
    )
    return PerTrialSeed(CountsStopped(sampler), spec.search.seed)


def nsga_ii(spec: SweepSpec, options: Any, index_of: IndexOf) -> BaseSampler:
    """A genetic algorithm: for several objectives, or many trials."""
    population = min(50, max(4, spec.search.trials // 4))
    sampler = NSGAIISampler(
        population_size=population if options.population_size is None else options.population_size,
        mutation_prob=options.mutation_prob,
        crossover_prob=options.crossover_prob,
        seed=0,
    )
    return PerTrialSeed(CountsStopped(sampler, constrained=True), spec.search.seed)


class PerTrialSeed(WrappedSampler):
    """Starts an Optuna sampler's random numbers anew for every draw: from the sweep's seed, the trial and the draw.

    With one seed at the start of the process, a resumed sweep would draw the first trials' numbers again; with
    one per trial, a trial whose suggestion was cut off by a crash would be completed otherwise.
    """

    def __init__(self, inner: BaseSampler, seed: int) -> None:
        super().__init__(inner)
        self._seed = seed
        self._generators = list(_generators(inner))
        assert self._generators, f"{type(inner).__name__} keeps its random numbers elsewhere in this Optuna"

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._restart(trial.number, "")
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._restart(trial.number, param_name)
        return super().sample_independent(study, trial, param_name, param_distribution)

    def _restart(self, number: int, draw: str) -> None:
        for position, generator in enumerate(self._generators):
            digest = hashlib.sha256(f"{self._seed}/{number}/{position}/{draw}".encode()).digest()
            generator.rng.seed(int.from_bytes(digest[:4], "big"))


def _generators(sampler: BaseSampler) -> Iterator[LazyRandomState]:
    """The random states of an Optuna sampler and of the samplers inside it. Optuna has no public way to seed them."""
    for value in vars(sampler).values():
        if isinstance(value, LazyRandomState):
            yield value
        elif isinstance(value, BaseSampler):
            yield from _generators(value)
