"""Objectives, sampler and pruner of a sweep file, compared with each other and against the trainable's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep_runner.spec.document import KeyPath
from sweep_runner.spec.explain import did_you_mean, shown
from sweep_runner.spec.findings import Findings
from sweep_runner.spec.goals import check_goals
from sweep_runner.spec.model import Objective, Search, SweepSpec
from sweep_runner.spec.plan import count_settings
from sweep_runner.spec.space import Parameter
from sweep_runner.spec.strategies import (
    GridOptions,
    Hyperband,
    NoPruner,
    Patient,
    Promotion,
    SuccessiveHalving,
    sampler_options,
)
from trainables.contract import Trainable

MAX_GRID = 100_000
SEVERAL_GOALS = ("tpe", "nsga-ii", "random", "grid", "qmc")
"""Samplers that can have several objectives; the last three look at no values."""


class SearchCheck:
    """Each method looks at one section, adds to the findings and returns the section normalised.

    Args:
        spec: the sweep file.
        trainable: whose metrics it names.
        findings: what was found is added to them.
    """

    def __init__(self, spec: SweepSpec, trainable: type[Trainable[Any, Any]], findings: Findings) -> None:
        self._spec = spec
        self._trainable = trainable
        self._findings = findings

    def several_goals(self) -> Search:
        """Whether sampler and pruner can have several objectives; the default sampler gives way to one that can."""
        search, pruner = self._spec.search, self._spec.pruner
        if not self._spec.objective.also:
            return search
        if search.sampler not in SEVERAL_GOALS and "sampler" not in search.model_fields_set and not search.options:
            self._findings.warnings.append(
                f"search.sampler is tpe: {search.sampler}, the default, supports a single objective"
            )
            search = search.model_copy(update={"sampler": "tpe"})
        elif search.sampler not in SEVERAL_GOALS:
            message = f"search.sampler is {search.sampler}, which supports a single objective; this sweep has several"
            hint = f"Samplers for several: {', '.join(SEVERAL_GOALS)}. Or make all but one of them limits."
            self._findings.problem(("search", "sampler"), message, hint)
        if not isinstance(pruner, NoPruner | Promotion):
            message = (
                f"pruner.kind is {pruner.kind}, which stops trials by {self._spec.objective.metric} alone: it would "
                f"stop trials that are good by another objective"
            )
            hint = "Remove it, or use promotion, where trials compete only with trials of the same model."
            self._findings.problem(("pruner", "kind"), message, hint)
        return search

    def _goal_place(self, index: int) -> KeyPath:
        """Where a further objective is written: in the list, or below `also` of a resolved file."""
        listed: KeyPath = ("objective", index + 1)
        return listed if self._findings.places.has(listed) else ("objective", "also", index)

    def objective(self) -> Objective:
        """The objective with its modes filled in."""
        objective = self._first_objective()
        goals = check_goals(
            objective.also,
            objective.metric,
            self._trainable,
            self._spec.trainable,
            self._goal_place,
            self._findings.problem,
        )
        return objective.model_copy(update={"also": goals})

    def _first_objective(self) -> Objective:
        objective, metrics = self._spec.objective, self._trainable.metrics
        if not metrics:
            return objective
        if objective.metric not in metrics:
            default = "" if "metric" in objective.model_fields_set else " (the default)"
            message = (
                f"objective.metric is {shown(objective.metric)}{default}: {self._spec.trainable} does not report it"
            )
            hint = did_you_mean(objective.metric, metrics)
            if objective.metric in self._trainable.facts:
                hint = "The first objective must be a metric of each epoch: put one first, or make this one a limit."
            self._findings.problem(("objective", "metric"), message, hint)
            return objective
        mode = metrics[objective.metric]
        if "mode" in objective.model_fields_set and objective.mode != mode:
            message = f"objective.mode is {objective.mode}, but {objective.metric} is better the other way: {mode}"
            self._findings.problem(("objective", "mode"), message, "Remove mode: it is known for this metric.")
        return objective.model_copy(update={"mode": mode})

    def pruner(self, pruner: Any, max_epochs: int | None, at: KeyPath = ("pruner",)) -> Any:
        """The pruner with `max_epochs` filled in."""
        if isinstance(pruner, Patient):
            return pruner.model_copy(update={"inner": self.pruner(pruner.inner, max_epochs, (*at, "inner"))})
        if isinstance(pruner, Hyperband):
            most = pruner.max_epochs or max_epochs
            if most is None:
                message = (
                    f"hyperband needs max_epochs: {self._spec.trainable} has no hyperparameter epochs to derive it from"
                )
                self._findings.problem(at, message)
                return pruner
            if pruner.min_epochs > most:
                message = f"{'.'.join(map(str, at))}.min_epochs is {pruner.min_epochs}: above max_epochs ({most})"
                self._findings.problem((*at, "min_epochs"), message)
            return pruner.model_copy(update={"max_epochs": most})
        if isinstance(pruner, Promotion):
            return self._promotion(pruner, max_epochs, at)
        if isinstance(pruner, SuccessiveHalving):
            first = pruner.min_epochs * pruner.reduction_factor**pruner.min_early_stopping_rate
            self._warn_of_late_rung(first, max_epochs)
        return pruner

    def _promotion(self, pruner: Promotion, max_epochs: int | None, at: KeyPath) -> Promotion:
        """With the first rung and the groups filled in."""
        for name in pruner.group_by or ():
            if name not in self._spec.space:
                message = f"pruner.group_by: {name!r} is not a parameter of the space"
                self._findings.problem((*at, "group_by"), message, did_you_mean(name, self._spec.space))
        filled = pruner.filled_in(self._spec.space, max_epochs)
        if filled.min_epochs is None:
            message = f"promotion needs min_epochs: {self._spec.trainable} has no hyperparameter epochs"
            self._findings.problem(at, message)
        else:
            self._warn_of_late_rung(filled.min_epochs, max_epochs)
        return filled

    def _warn_of_late_rung(self, first: int, max_epochs: int | None) -> None:
        if max_epochs is not None and first >= max_epochs:
            self._findings.warnings.append(
                f"the pruner's first rung is epoch {first} of {max_epochs}: it cannot stop a trial early"
            )

    def size(self, search: Search, space: Mapping[str, Parameter], fixed: Mapping[str, Any]) -> int | None:
        """The number of different settings, and what follows from it."""
        options = sampler_options(search.sampler, search.options)
        points = options.points if isinstance(options, GridOptions) else None
        size = count_settings(space, fixed, points)
        if search.sampler == "grid":
            for name, parameter in space.items():
                if count_settings({name: parameter.model_copy(update={"when": {}})}, {}, points) is None:
                    hint = "Give it a step, list its values, or set search.options.points."
                    message = f"space.{name}: a grid needs a finite number of values, but this is a continuous range"
                    self._findings.problem(("space", name), message, hint)
            if size is not None and size > MAX_GRID:
                message = f"the grid has {size:,} configurations: more than the maximum of {MAX_GRID:,}"
                self._findings.problem(("search", "sampler"), message, "Make it smaller, or use another sampler.")
        if not self._spec.space and search.trials > 1:
            self._findings.warnings.append(
                f"no space, so there is nothing to search: one trial runs, not {search.trials}. Add a space, such as "
                "space: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}}; "
                "`sweep init FOLDER` writes a space for the images in a folder"
            )
        elif size is not None and size < search.trials:
            self._findings.warnings.append(
                f"the space has {size} distinct configurations, fewer than {search.trials} trials: "
                "a configuration is not trained twice"
            )
        elif size is not None and search.sampler == "grid" and size > search.trials:
            self._findings.warnings.append(
                f"search.trials stops the grid after {search.trials} of its {size} configurations"
            )
        return size
