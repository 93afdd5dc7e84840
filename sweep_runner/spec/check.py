"""A loaded sweep file held against its trainable: whatever can be known to fail is found before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sweep_runner.errors import Problem, RequestError
from sweep_runner.spec.baselines import complete_baseline
from sweep_runner.spec.check_candidates import check_candidates
from sweep_runner.spec.check_ending import check_ending
from sweep_runner.spec.check_formats import check_formats
from sweep_runner.spec.cluster import absolute, wrong_paths
from sweep_runner.spec.combine import check_configs
from sweep_runner.spec.document import KeyPath
from sweep_runner.spec.explain import did_you_mean, explain, shown
from sweep_runner.spec.fields import ConfigFields, Mismatch
from sweep_runner.spec.goals import check_goals, check_limits
from sweep_runner.spec.loader import LoadedSpec, PartlyWrong, in_file_order, load_resolved, load_spec, load_values
from sweep_runner.spec.model import SPACE_RESOURCES, Export, Objective, SweepSpec
from sweep_runner.spec.plan import Plan, count_settings, find_candidates, most_epochs, possible_workers
from sweep_runner.spec.space import Choice, Parameter, Scalar, in_order, same_value
from sweep_runner.spec.strategies import (
    GridOptions,
    Hyperband,
    NoPruner,
    Patient,
    Promotion,
    SuccessiveHalving,
    sampler_options,
)
from sweep_runner.spec.sugar import value_place
from sweep_runner.spec.suggested import take_suggestion
from trainables.contract import Preparation, Trainable
from trainables.errors import TrainableError
from trainables.loading import NoSuchTrainable, load_trainable

MAX_GRID = 100_000
SEVERAL_GOALS = ("tpe", "nsga-ii", "random", "grid", "qmc")
"""Samplers that can have several objectives; the last three look at no values."""


def check_spec(loaded: LoadedSpec) -> Plan:
    """Holds a sweep file against its trainable. Reads no data.

    Raises:
        RequestError: with every problem, each at its line.
    """
    try:
        trainable = load_trainable(loaded.spec.trainable)
    except NoSuchTrainable as error:
        problem = Problem(f"trainable: {error}", where=loaded.where("trainable"), hint=error.hint)
        raise RequestError([problem]) from error
    return _Check(loaded, trainable).plan()


def load_plan(
    source: Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    resolved: bool = False,
    before: SweepSpec | None = None,
    suggest: bool = True,
) -> Plan:
    """Reads a sweep file and holds it against its trainable. A file without a space gets the one that is suggested.

    Args:
        source: the file, or what would stand in it.
        overrides: `a.b=c`, each as given to `--set`.
        resolved: whether it is one that `dump_spec` wrote, in which nothing is expanded again.
        before: the sweep that the file is to go on with: its space stays, where the file has none.
        suggest: false: a space that is not there is of no interest, and nothing is looked at for one.

    Raises:
        RequestError: with every problem of both, also of what is right in itself beside a wrong section.
    """
    try:
        if not isinstance(source, Path):
            loaded = load_values(source, overrides)
        else:
            loaded = load_resolved(source, overrides) if resolved else load_spec(source, overrides)
    except PartlyWrong as error:
        raise RequestError(in_file_order([*error.problems, *_problems_of_rest(error)])) from error
    taken = None
    try:
        if suggest:
            loaded, taken = take_suggestion(loaded, load_trainable(loaded.spec.trainable), before)
    except NoSuchTrainable:
        pass  # the check tells it
    except TrainableError as error:
        raise RequestError([Problem(str(error), where=loaded.where("data"))]) from error
    return replace(check_spec(loaded), taken=taken)


def _problems_of_rest(error: PartlyWrong) -> list[Problem]:
    loaded, wrong = error.rest, error.wrong
    try:
        trainable = load_trainable(loaded.spec.trainable)
    except NoSuchTrainable as missing:
        return [Problem(f"trainable: {missing}", where=loaded.where("trainable"), hint=missing.hint)]
    return [] if "trainable" in wrong else _Check(loaded, trainable).problems_beside(wrong)


def check_prepared(plan: Plan, preparation: Preparation) -> None:
    """Holds the objective against the data: whether there is such a metric shows only when the data was looked at.

    Raises:
        RequestError: no trial could ever report the objective.
    """
    if preparation.reports is None:
        return
    objective = plan.spec.objective
    told = [("objective.metric", objective.metric)]
    told += [(f"objective {place}", goal.metric) for place, goal in enumerate(objective.also, start=2)]
    known = preparation.reports | set(plan.trainable.facts)
    hint = f"Metrics of this data: {', '.join(sorted(preparation.reports))}."
    where = plan.loaded.places.where(("objective", "metric"))
    problems = [
        Problem(f"{what} is {shown(metric)}: this kind of data does not have it", where=where, hint=hint)
        for what, metric in told
        if metric not in (known if what != "objective.metric" else preparation.reports)
    ]
    if problems:
        raise RequestError(problems)


class _Check:
    """One check. Each method looks at one section, adds to `problems` and returns the section normalised."""

    def __init__(self, loaded: LoadedSpec, trainable: type[Trainable[Any, Any]]) -> None:
        self.spec = loaded.spec
        self.loaded = loaded
        self.places = loaded.places
        self.trainable = trainable
        self.fields = ConfigFields(trainable.config_class)
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.value_places: dict[str, list[str]] = {}  # of the values that a choice is left with

    def plan(self) -> Plan:
        data = self._data()
        fixed = self._fixed()
        space = self._space()
        self._required()
        space = self._conditions(space, fixed)
        baselines = self._baselines(space, fixed)
        objective = self._objective()
        self._several_goals()
        check_limits(self.spec.limits, self.trainable, self.spec.trainable, self._problem)
        candidates = find_candidates(self.spec.model_copy(update={"fixed": fixed, "space": space}), self.fields)
        max_epochs = most_epochs(candidates)
        pruner = self._pruner(self.spec.pruner, max_epochs)
        grid_size = self._search(space, fixed)
        self._cluster()
        self._workers(space)
        export = self._export(data)
        sections = {"fixed": fixed, "space": space, "baselines": baselines, "objective": objective, "pruner": pruner}
        spec = self.spec.model_copy(update={**sections, "export": export})
        check_ending(spec, self.trainable, self.places, self.problems, self.warnings)
        check_candidates(spec, self.trainable, data, candidates, self.places, self.problems)
        check_formats(spec, self.trainable, self.places, self.problems)
        check_configs(spec, self.trainable, self.places, self.value_places, self.problems, self.warnings)
        if self.problems:
            raise RequestError(in_file_order(self.problems))
        assert data is not None, "a data section without a problem is valid"
        spec = spec.model_copy(update={"data": _resolved(spec.data, data), "cluster": absolute(self.spec.cluster)})
        return Plan(
            spec=spec,
            loaded=self.loaded,
            trainable=self.trainable,
            data=data,
            candidates=candidates,
            grid_size=grid_size,
            max_epochs=max_epochs,
            warnings=tuple(self.warnings),
        )

    def problems_beside(self, wrong: frozenset[str]) -> list[Problem]:
        """The problems of the sections that are right in themselves; nothing that follows from the wrong ones."""
        if "search" in wrong:  # the default number of trials is not what the file meant
            search = self.spec.search.model_copy(update={"trials": MAX_GRID})
            self.spec = self.spec.model_copy(update={"search": search})
        if "data" not in wrong:
            self._data()
        fixed, space = self._fixed(), self._space()
        if not wrong & {"fixed", "space"}:
            self._required()
            space = self._conditions(space, fixed)
            if "baselines" not in wrong:
                self._baselines(space, fixed)
        if "objective" not in wrong:
            self._objective()
        if "limits" not in wrong:
            check_limits(self.spec.limits, self.trainable, self.spec.trainable, self._problem)
        if "cluster" not in wrong:
            self._cluster()
        return self.problems

    def _problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, where=self.places.where(path), hint=hint))

    def _data(self) -> BaseModel | None:
        model = self.trainable.data_class
        try:
            return model.model_validate(self.spec.data)
        except ValidationError as error:
            self.problems += explain(error, raw=self.spec.data, where=self.places.where, model=model, at=("data",))
        except TrainableError as error:
            self._problem(("data", "root") if str(error).startswith("data.root: ") else ("data",), str(error))
        return None

    def _known(self, section: str, key: str) -> bool:
        own = key in self.trainable.config_class.model_fields
        if key in SPACE_RESOURCES and section == "space":
            if own:
                hint = f"Rename the hyperparameter of {self.spec.trainable}."
                self._problem((section, key), f"space.{key} means resources.{key}, not a hyperparameter", hint)
            return not own
        if key in SPACE_RESOURCES and not own:
            self._problem((section, key), f"{key} is not a hyperparameter", f"Put it under resources: resources.{key}.")
            return False
        if key in self.fields:
            return True
        message = f"{self.spec.trainable} has no hyperparameter {shown(key)}"
        self._problem((section, key), message, did_you_mean(key, self.fields.names))
        return False

    def _fixed(self) -> dict[str, Any]:
        fixed: dict[str, Any] = {}
        for key, value in self.spec.fixed.items():
            if not self._known("fixed", key):
                continue
            verdict = self.fields.check(key, value)
            if verdict.wrong:
                searched = isinstance(value, list) or (isinstance(value, dict) and {"values", "low"} & set(value))
                hint = verdict.hint or ("Parameters of the search belong under space." if searched else "")
                self._problem(("fixed", key), f"fixed.{key}{verdict.wrong}", hint)
            else:
                fixed[key] = verdict.value
        return fixed

    def _space(self) -> dict[str, Parameter]:
        space: dict[str, Parameter] = {}
        for name, parameter in self.spec.space.items():
            if name in self.spec.fixed:
                self._problem(("space", name), f"{name} is in both space and fixed: remove one of them")
            elif self._known("space", name):
                suited = (
                    self._choice(name, parameter) if isinstance(parameter, Choice) else self._range(name, parameter)
                )
                if suited is not None:
                    space[name] = suited
        return space

    def _choice(self, name: str, parameter: Choice) -> Choice | None:
        """The choice without the values that the field refuses; None when none is left."""
        values: list[Scalar] = []
        self.value_places[name] = []
        for position, value in enumerate(parameter.values):
            verdict = self.fields.check(name, value)
            place = value_place(self.places, name, position)
            if verdict.wrong:
                self.problems.append(Problem(f"space.{name}{verdict.wrong}", where=place, hint=verdict.hint))
            elif any(same_value(verdict.value, other) for other in values):
                self.problems.append(Problem(f"space.{name}: {shown(value)} is listed twice", where=place))
            else:
                values.append(verdict.value)
                self.value_places[name].append(place)
        return parameter.model_copy(update={"values": tuple(values)}) if values else None

    def _range(self, name: str, parameter: Parameter) -> Parameter | None:
        try:
            return self.fields.suited(name, parameter)
        except Mismatch as error:
            key = f".{error.key}" if error.key else ""
            path: KeyPath = ("space", name, error.key) if error.key else ("space", name)
            self._problem(path, f"space.{name}{key}{error}", error.hint)
            return None

    def _required(self) -> None:
        for name in self.fields.required:
            if name not in self.spec.fixed and name not in self.spec.space:
                message = f"{self.spec.trainable} needs {name}: put it under fixed or into the space"
                self._problem(("space",), message)

    def _conditions(self, space: dict[str, Parameter], fixed: Mapping[str, Any]) -> dict[str, Parameter]:
        """The space with its conditions in the values of the parents; without parameters of which none can tell."""
        checked: dict[str, Parameter] = {}
        for name, parameter in space.items():
            when: dict[str, tuple[Scalar, ...]] = {}
            good = True
            for parent, allowed in parameter.when.items():
                at = ("space", name, "when", parent)
                if parent not in self.spec.space and parent not in self.spec.fixed:
                    message = f"space.{name}.when: {shown(parent)} is neither in the space nor fixed"
                    names = [other for other in (*self.spec.space, *self.spec.fixed) if other != name]
                    self._problem(at, message, did_you_mean(parent, names))
                    good = False
                elif parent in space or parent in fixed:
                    when[parent] = tuple(self.fields.check(parent, value).value for value in allowed)
                    if parent in space and self.places.overridden(("space", parent)) and not self.places.overridden(at):
                        # `--set` made the parent's choice smaller: that is no reason to rewrite every condition.
                        when[parent] = tuple(value for value in when[parent] if space[parent].contains(value))
                    if not when[parent]:
                        reason = f"with {parent} {space[parent].describe()} its `when` can never be true"
                        self.warnings.append(f"{name} is left out of the space: {reason}")
                        good = False
                    for value in when[parent]:
                        good = self._can_be(parent, value, space, fixed, at) and good
                else:  # the parent's own problem is told already
                    good = False
            if good:
                checked[name] = parameter.model_copy(update={"when": when})
        try:
            in_order(checked)
        except ValueError as error:
            start = str(error).partition(": ")[2].split(" → ")[0]
            self._problem(("space", start, "when"), f"space.{start}.when: {error}")
            return {name: parameter for name, parameter in checked.items() if not parameter.when}
        while orphans := [
            name
            for name, parameter in checked.items()
            if any(parent in self.spec.space and parent not in checked for parent in parameter.when)
        ]:
            for name in orphans:
                del checked[name]
        return checked

    def _can_be(
        self, parent: str, value: Scalar, space: Mapping[str, Parameter], fixed: Mapping[str, Any], at: KeyPath
    ) -> bool:
        told = f"space.{at[1]}.when.{parent} is {shown(value)}"
        if parent in fixed:
            if not same_value(fixed[parent], value):
                self._problem(at, f"{told}, but {parent} is fixed to {shown(fixed[parent])}: {at[1]} would never apply")
                return False
        elif not space[parent].contains(value):
            parameter = space[parent]
            choices = parameter.values if isinstance(parameter, Choice) and isinstance(value, str) else ()
            hint = did_you_mean(str(value), choices)
            message = f"{told}: {parent} never has it ({parameter.describe()})"
            self._problem(at, message, hint if hint.startswith("Did") else "")
            return False
        return True

    def _baselines(self, space: Mapping[str, Parameter], fixed: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        baselines: dict[str, dict[str, Scalar]] = {}
        lost = {name for name in self.spec.space if name not in space}  # told already; not the baseline's fault
        lost |= {name for name in self.spec.fixed if name not in fixed}
        for name, given in self.spec.baselines.items():
            usable = {key: value for key, value in given.items() if key not in lost}
            baselines[name] = complete_baseline(
                name, usable, space, fixed, self.fields, self.places.where, self.problems
            )
            twin = next((other for other in list(baselines)[:-1] if baselines[other] == baselines[name]), None)
            if twin is not None:
                self.warnings.append(
                    f"the baselines {twin} and {name} are identical: the configuration is trained once"
                )
        if len(baselines) > self.spec.search.trials:
            message = f"search.trials is {self.spec.search.trials}: fewer than the {len(baselines)} baselines"
            path: KeyPath = ("search", "trials")
            self._problem(
                path if self.places.has(path) else ("baselines",), message, "Every baseline counts as a trial."
            )
        return baselines

    def _workers(self, space: Mapping[str, Parameter]) -> None:
        """Whether a trial can have as many workers as it is to get."""
        resources = self.spec.resources
        most = max(possible_workers(space, resources.workers))
        if most == 1:
            return
        at: KeyPath = ("resources", "workers") if resources.workers == most else ("space", "workers")
        if not self.trainable.supports_workers:
            message = f"{'.'.join(map(str, at))}: {self.spec.trainable} trains in one process, not in {most}"
            hint = "All workers would do the same. Leave workers at 1; parallel trials use the machine just as well."
            self._problem(at, message, hint)
        if resources.gpus != "auto" and 0 < resources.gpus < 1:
            message = f"resources.gpus is {resources.gpus:g}: each of several workers needs a whole GPU"
            self._problem(("resources", "gpus"), message, "Set it to 1, or to 0 to train on CPUs.")

    def _several_goals(self) -> None:
        """Whether sampler and pruner can have several objectives; the default sampler gives way to one that can."""
        if not self.spec.objective.also:
            return
        search, pruner = self.spec.search, self.spec.pruner
        if search.sampler not in SEVERAL_GOALS and "sampler" not in search.model_fields_set and not search.options:
            self.spec = self.spec.model_copy(update={"search": search.model_copy(update={"sampler": "tpe"})})
            self.warnings.append(f"search.sampler is tpe: {search.sampler}, the default, supports a single objective")
        elif search.sampler not in SEVERAL_GOALS:
            message = f"search.sampler is {search.sampler}, which supports a single objective; this sweep has several"
            hint = f"Samplers for several: {', '.join(SEVERAL_GOALS)}. Or make all but one of them limits."
            self._problem(("search", "sampler"), message, hint)
        if not isinstance(pruner, NoPruner | Promotion):
            message = (
                f"pruner.kind is {pruner.kind}, which stops trials by {self.spec.objective.metric} alone: it would "
                f"stop trials that are good by another objective"
            )
            hint = "Remove it, or use promotion, where trials compete only with trials of the same model."
            self._problem(("pruner", "kind"), message, hint)

    def _goal_place(self, index: int) -> KeyPath:
        """Where a further objective is written: in the list, or below `also` of a resolved file."""
        listed: KeyPath = ("objective", index + 1)
        return listed if self.places.has(listed) else ("objective", "also", index)

    def _objective(self) -> Objective:
        """The objective with its modes filled in."""
        objective = self._first_objective()
        goals = check_goals(
            objective.also, objective.metric, self.trainable, self.spec.trainable, self._goal_place, self._problem
        )
        return objective.model_copy(update={"also": goals})

    def _first_objective(self) -> Objective:
        objective, metrics = self.spec.objective, self.trainable.metrics
        if not metrics:
            return objective
        if objective.metric not in metrics:
            default = "" if "metric" in objective.model_fields_set else " (the default)"
            message = (
                f"objective.metric is {shown(objective.metric)}{default}: {self.spec.trainable} does not report it"
            )
            hint = did_you_mean(objective.metric, metrics)
            if objective.metric in self.trainable.facts:
                hint = "The first objective must be a metric of each epoch: put one first, or make this one a limit."
            self._problem(("objective", "metric"), message, hint)
            return objective
        mode = metrics[objective.metric]
        if "mode" in objective.model_fields_set and objective.mode != mode:
            message = f"objective.mode is {objective.mode}, but {objective.metric} is better the other way: {mode}"
            self._problem(("objective", "mode"), message, "Remove mode: it is known for this metric.")
        return objective.model_copy(update={"mode": mode})

    def _export(self, data: BaseModel | None) -> Export:
        """The section with `refit` filled in."""
        export, needed = self.spec.export, data is not None and self.trainable.num_models(data) > 1
        if export.refit and self.trainable.refit is Trainable.refit:
            message = f"export.refit is true: {self.spec.trainable} has no method `refit`"
            self._problem(("export", "refit"), message, "Remove it: the checkpoint of the best epoch is published.")
        if export.refit is False and needed:
            message = "export.refit is false: a trial on this data has no single model to publish"
            self._problem(("export", "refit"), message, "Remove it, or train without data.split.folds.")
        return export.model_copy(update={"refit": needed if export.refit is None else export.refit})

    def _cluster(self) -> None:
        for path, message, hint in wrong_paths(self.spec.cluster):
            self._problem(path, message, hint)

    def _pruner(self, pruner: Any, max_epochs: int | None, at: KeyPath = ("pruner",)) -> Any:
        """The pruner with `max_epochs` filled in."""
        if isinstance(pruner, Patient):
            return pruner.model_copy(update={"inner": self._pruner(pruner.inner, max_epochs, (*at, "inner"))})
        if isinstance(pruner, Hyperband):
            most = pruner.max_epochs or max_epochs
            if most is None:
                message = (
                    f"hyperband needs max_epochs: {self.spec.trainable} has no hyperparameter epochs to derive it from"
                )
                self._problem(at, message)
                return pruner
            if pruner.min_epochs > most:
                message = f"{'.'.join(map(str, at))}.min_epochs is {pruner.min_epochs}: above max_epochs ({most})"
                self._problem((*at, "min_epochs"), message)
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
            if name not in self.spec.space:
                message = f"pruner.group_by: {name!r} is not a parameter of the space"
                self._problem((*at, "group_by"), message, did_you_mean(name, self.spec.space))
        filled = pruner.filled_in(self.spec.space, max_epochs)
        if filled.min_epochs is None:
            message = f"promotion needs min_epochs: {self.spec.trainable} has no hyperparameter epochs"
            self._problem(at, message)
        else:
            self._warn_of_late_rung(filled.min_epochs, max_epochs)
        return filled

    def _warn_of_late_rung(self, first: int, max_epochs: int | None) -> None:
        if max_epochs is not None and first >= max_epochs:
            self.warnings.append(
                f"the pruner's first rung is epoch {first} of {max_epochs}: it cannot stop a trial early"
            )

    def _search(self, space: Mapping[str, Parameter], fixed: Mapping[str, Any]) -> int | None:
        """The number of different settings, and what follows from it."""
        search = self.spec.search
        options = sampler_options(search.sampler, search.options)
        points = options.points if isinstance(options, GridOptions) else None
        size = count_settings(space, fixed, points)
        if search.sampler == "grid":
            for name, parameter in space.items():
                if count_settings({name: parameter.model_copy(update={"when": {}})}, {}, points) is None:
                    hint = "Give it a step, list its values, or set search.options.points."
                    message = f"space.{name}: a grid needs a finite number of values, but this is a continuous range"
                    self._problem(("space", name), message, hint)
            if size is not None and size > MAX_GRID:
                message = f"the grid has {size:,} configurations: more than the maximum of {MAX_GRID:,}"
                self._problem(("search", "sampler"), message, "Make it smaller, or use another sampler.")
        if not self.spec.space and search.trials > 1:
            self.warnings.append(
                f"no space, so there is nothing to search: one trial runs, not {search.trials}. Add a space, such as "
                "space: {lr: {low: 1.0e-4, high: 1.0e-1, log: true}}; "
                "`sweep init FOLDER` writes a space for the images in a folder"
            )
        elif size is not None and size < search.trials:
            self.warnings.append(
                f"the space has {size} distinct configurations, fewer than {search.trials} trials: "
                "a configuration is not trained twice"
            )
        elif size is not None and search.sampler == "grid" and size > search.trials:
            self.warnings.append(f"search.trials stops the grid after {search.trials} of its {size} configurations")
        return size


def _resolved(raw: Mapping[str, Any], data: BaseModel) -> dict[str, Any]:
    """The data section with what the trainable's model itself has set, such as the kind of data that it recognised."""
    itself = data.model_dump(mode="json", include=data.model_fields_set - set(raw), exclude_unset=True)
    return {**_absolute_paths(raw, data), **itself}


def _absolute_paths(raw: Mapping[str, Any], data: BaseModel) -> dict[str, Any]:
    """The data section with its paths made absolute, as the trainable's model has them."""
    resolved = dict(raw)
    for key, value in raw.items():
        typed = getattr(data, key, None)
        if isinstance(typed, Path) and isinstance(value, str):
            resolved[key] = str(typed.absolute())
        elif isinstance(typed, BaseModel) and isinstance(value, dict):
            resolved[key] = _absolute_paths(value, typed)
    return resolved
