"""The engines that are held against one another."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from benchmarks.curves.replay import After, Job
from benchmarks.curves.sources import Curves
from sweep_runner.search import pruners
from sweep_runner.search.distributions import Params, at_unit, distribution_of, same_configuration_key, suggest
from sweep_runner.search.guide import Guide, Seen
from sweep_runner.search.repeatable import unit_hash
from sweep_runner.search.study import Study
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.strategies import GuidedOptions, NoPruner, Pruner, SuccessiveHalving

REDUCTION = 3


class RandomSearch:
    """Uniform proposals, and a pruner of ours."""

    def __init__(self, curves: Curves, seed: int, pruner: Pruner | None = None) -> None:
        self._curves = curves
        self._seed = seed
        self._pruner = pruner or NoPruner()
        self._values: dict[int, dict[int, float]] = {}

    def next(self) -> Job:
        number = len(self._values)
        self._values[number] = {}
        params = {
            name: at_unit(distribution_of(parameter), unit_hash("random", self._seed, number, name))
            for name, parameter in self._curves.space.items()
        }
        return Job(number, params)

    def report(self, trial: int, epoch: int, value: float) -> After:
        self._values[trial][epoch] = value
        return "stop" if pruners.decide(self._pruner, "max", self._values, trial, epoch) else "go on"

    def end(self, trial: int, value: float) -> None:
        self._values[trial][self._curves.epochs] = value


def random_halving(curves: Curves, seed: int) -> RandomSearch:
    """Asynchronous successive halving from epoch 1, factor 3, over random proposals."""
    return RandomSearch(curves, seed, SuccessiveHalving(kind="successive_halving", recheck=False))


class OptunaSearch:
    """Optuna as its users run it: ask and tell on a study with a sampler and a pruner."""

    def __init__(self, curves: Curves, seed: int, pruner: optuna.pruners.BasePruner | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._curves = curves
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruner or optuna.pruners.MedianPruner(),
        )
        self._live: dict[int, optuna.Trial] = {}

    def next(self) -> Job:
        trial = self._study.ask()
        self._live[trial.number] = trial
        return Job(trial.number, suggest(trial, self._curves.space, {}))

    def report(self, trial: int, epoch: int, value: float) -> After:
        self._live[trial].report(value, epoch)
        if not self._live[trial].should_prune():
            return "go on"
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return "stop"

    def end(self, trial: int, value: float) -> None:
        self._live[trial].report(value, self._curves.epochs)
        self._study.tell(trial, value)


class GuidedPromotion:
    """`guided` with the pruner `promotion`, without a journal: the same decisions at a thousandth of the cost."""

    def __init__(
        self, curves: Curves, seed: int, recipes: Sequence[Params] | None = None, options: GuidedOptions | None = None
    ) -> None:
        self._epochs = curves.epochs
        self._rung = math.ceil(curves.epochs / REDUCTION)
        self._guide = Guide(
            curves.space, {}, curves.usual if recipes is None else recipes, seed, options or GuidedOptions()
        )
        self._params: list[Params] = []
        self._values: dict[int, dict[int, float]] = {}
        self._paused: set[int] = set()

    def next(self) -> Job:
        promoted = [trial for trial in self._paused if self._passes(trial)]
        if promoted:
            trial = max(promoted, key=lambda one: self._values[one][self._rung])
            self._paused.remove(trial)
            return Job(trial, self._params[trial])
        number = len(self._params)
        seen = [
            Seen(params, self._values[trial], self._epochs in self._values[trial])
            for trial, params in enumerate(self._params)
        ]
        self._params.append(
            self._guide.propose(number, seen, {same_configuration_key(params) for params in self._params})
        )
        self._values[number] = {}
        return Job(number, self._params[number])

    def report(self, trial: int, epoch: int, value: float) -> After:
        self._values[trial][epoch] = value
        if epoch != self._rung or self._passes(trial):
            return "go on"
        self._paused.add(trial)
        return "pause"

    def end(self, trial: int, value: float) -> None:
        self._values[trial][self._epochs] = value

    def _passes(self, trial: int) -> bool:
        """Among the best third of those of its network that have reached the rung."""
        network = self._params[trial].get("model")
        values = [
            self._values[other][self._rung]
            for other, params in enumerate(self._params)
            if params.get("model") == network and self._rung in self._values[other]
        ]
        ahead = sum(value > self._values[trial][self._rung] for value in values)
        return ahead < max(1, len(values) // REDUCTION)


class StudyEngine:
    """The study that a sweep uses, journal included, with any sampler and pruner of the sweep file."""

    def __init__(self, curves: Curves, seed: int, sampler: str, pruner: Mapping[str, Any], usual: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="curves-")
        self._epochs = curves.epochs
        recipes = curves.usual if usual and sampler == "guided" else []
        spec = SweepSpec.model_validate(
            {
                "name": "replay",
                "trainable": "synthetic",  # which has no usual values of its own
                "fixed": {"epochs": curves.epochs},
                "space": {key: parameter.model_dump() for key, parameter in curves.space.items()},
                "baselines": {f"usual-{number}": dict(recipe) for number, recipe in enumerate(recipes)},
                "search": {"sampler": sampler, "trials": 1000, "seed": seed},
                "pruner": dict(pruner),
            }
        )
        self._study = Study.open(Path(self._folder.name) / "study.journal", spec, curves.epochs)

    def next(self) -> Job | None:
        proposal = self._study.ask()
        return None if proposal is None else Job(proposal.number, proposal.params)

    def report(self, trial: int, epoch: int, value: float) -> After:
        self._study.report(trial, epoch, value)
        if self._study.should_prune(trial, epoch):
            self._study.tell(trial, "PRUNED")
            return "stop"
        if self._study.should_pause(trial, epoch):
            self._study.pause(trial)
            return "pause"
        return "go on"

    def end(self, trial: int, value: float) -> None:
        self._study.report(trial, self._epochs, value)
        self._study.tell(trial, "COMPLETED", value)

    def __del__(self) -> None:
        self._study.close()
        self._folder.cleanup()
