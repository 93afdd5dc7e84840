"""A loaded sweep file checked against its trainable: whatever can be known to fail is found before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sweep_runner.errors import Problem, RequestError
from sweep_runner.spec.check_candidates import check_candidates
from sweep_runner.spec.check_ending import check_ending
from sweep_runner.spec.check_formats import check_formats
from sweep_runner.spec.check_search import MAX_GRID, SearchCheck
from sweep_runner.spec.check_space import SpaceCheck
from sweep_runner.spec.cluster import absolute, wrong_paths
from sweep_runner.spec.combine import check_configs
from sweep_runner.spec.document import KeyPath
from sweep_runner.spec.elsewhere import with_places
from sweep_runner.spec.explain import explain, shown
from sweep_runner.spec.fields import ConfigFields
from sweep_runner.spec.findings import Findings
from sweep_runner.spec.goals import check_limits
from sweep_runner.spec.loader import LoadedSpec, PartlyWrong, in_file_order, load_resolved, load_spec, load_values
from sweep_runner.spec.model import Export, SweepSpec
from sweep_runner.spec.overrides import EXPANDED as ENTRIES
from sweep_runner.spec.plan import Plan, find_candidates, most_epochs, possible_workers
from sweep_runner.spec.space import Parameter
from sweep_runner.spec.suggested import take_suggestion
from trainables.contract import Preparation, Trainable
from trainables.errors import TrainableError
from trainables.loading import NoSuchTrainable, load_trainable


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
    """Reads a sweep file and checks it against its trainable. A file without a space gets the one that is suggested.

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
        raise RequestError(in_file_order(_all_problems(error))) from error
    taken = None
    try:
        if suggest:
            loaded, taken = take_suggestion(loaded, load_trainable(loaded.spec.trainable), before)
    except NoSuchTrainable:
        pass  # the check tells it
    except TrainableError as error:
        raise RequestError([Problem(str(error), where=loaded.where("data"))]) from error
    if before is not None:
        loaded = replace(loaded, begun=True)
    return replace(check_spec(loaded), taken=taken)


def _all_problems(error: PartlyWrong) -> list[Problem]:
    loaded, wrong = error.rest, error.wrong
    try:
        trainable = load_trainable(loaded.spec.trainable)
    except NoSuchTrainable as missing:
        unknown = Problem(f"trainable: {missing}", where=loaded.where("trainable"), hint=missing.hint)
        return [*error.problems, unknown]
    beside = [] if ("trainable",) in wrong else _Check(loaded, trainable).problems_beside(wrong)
    return with_places([*error.problems, *beside], trainable)


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
    """One check: each section is looked at by itself, then all of them together."""

    def __init__(self, loaded: LoadedSpec, trainable: type[Trainable[Any, Any]]) -> None:
        self.spec = loaded.spec
        self.loaded = loaded
        self.trainable = trainable
        self.fields = ConfigFields(trainable.config_class)
        self._findings = Findings(loaded.places)

    def plan(self) -> Plan:
        """The plan of the sweep.

        Raises:
            RequestError: with every problem, each at its line.
        """
        found, searching = self._findings, SearchCheck(self.spec, self.trainable, self._findings)
        spaces = SpaceCheck(self.spec, self.trainable, self.fields, found)
        data = self._data()
        fixed = spaces.fixed()
        space = spaces.space()
        spaces.required()
        space = spaces.conditions(space, fixed)
        baselines = spaces.baselines(space, fixed)
        objective = searching.objective()
        search = searching.several_goals()
        check_limits(self.spec.limits, self.trainable, self.spec.trainable, found.problem)
        candidates = find_candidates(self.spec.model_copy(update={"fixed": fixed, "space": space}), self.fields)
        max_epochs = most_epochs(candidates)
        pruner = searching.pruner(self.spec.pruner, max_epochs)
        grid_size = searching.size(search, space, fixed)
        self._cluster()
        self._workers(space)
        export = self._export(data)
        sections = {"fixed": fixed, "space": space, "baselines": baselines, "objective": objective, "pruner": pruner}
        spec = self.spec.model_copy(update={**sections, "search": search, "export": export})
        check_ending(spec, self.trainable, found.places, found.problems, found.warnings)
        check_candidates(spec, self.trainable, data, candidates, found.places, found.problems)
        check_formats(spec, self.trainable, found.places, found.problems)
        self._configs(spec, spaces)
        if found.problems:
            raise RequestError(in_file_order(with_places(found.problems, self.trainable)))
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
            warnings=tuple(found.warnings),
        )

    def problems_beside(self, wrong: frozenset[KeyPath]) -> list[Problem]:
        """The problems of what is right in itself; nothing that follows from what is wrong.

        Args:
            wrong: the sections and the entries that the file is read without.
        """
        sections = {path[0] for path in wrong if len(path) == 1}
        lost = {
            section: frozenset(str(path[1]) for path in wrong if path[0] == section and path[1:]) for section in ENTRIES
        }
        if "search" in sections:  # the default number of trials is not what the file meant
            search = self.spec.search.model_copy(update={"trials": MAX_GRID})
            self.spec = self.spec.model_copy(update={"search": search})
        if lost["data"]:
            self._data_keys()
        elif "data" not in sections:
            self._data()
        spaces = SpaceCheck(self.spec, self.trainable, self.fields, self._findings, lost["fixed"] | lost["space"])
        spaces.names("fixed", lost["fixed"])
        spaces.names("space", lost["space"])
        fixed, space = spaces.fixed(), spaces.space()
        if not sections & {"fixed", "space"}:
            spaces.required()
            space = spaces.conditions(space, fixed)
            baselines = {} if "baselines" in sections else spaces.baselines(space, fixed)
            if not (lost["fixed"] | lost["space"]) & _flat(self.trainable.check_keys):
                parts = {"fixed": fixed, "space": space, "baselines": baselines}
                self._configs(self.spec.model_copy(update=parts), spaces)
        if "objective" not in sections:
            SearchCheck(self.spec, self.trainable, self._findings).objective()
        if "limits" not in sections:
            check_limits(self.spec.limits, self.trainable, self.spec.trainable, self._findings.problem)
        if "cluster" not in sections:
            self._cluster()
        if "export" not in sections:
            check_formats(self.spec, self.trainable, self._findings.places, self._findings.problems)
        return self._findings.problems

    def _configs(self, spec: SweepSpec, spaces: SpaceCheck) -> None:
        found, begun = self._findings, self.loaded.begun
        check_configs(spec, self.trainable, found.places, spaces.value_places, found.problems, found.warnings, begun)

    def _data(self) -> BaseModel | None:
        model = self.trainable.data_class
        try:
            return model.model_validate(self.spec.data)
        except ValidationError as error:
            where = self._findings.places.where
            self._findings.problems += explain(error, raw=self.spec.data, where=where, model=model, at=("data",))
        except TrainableError as error:
            self._findings.problem(("data", "root") if str(error).startswith("data.root: ") else ("data",), str(error))
            self._data_keys()
        return None

    def _data_keys(self) -> None:
        """Looks at each key of the data section by itself: what they say together cannot be known."""
        model, where = self.trainable.data_class, self._findings.places.where
        for key, value in self.spec.data.items():
            alone = {key: value}
            try:
                model.model_validate(alone)
            except ValidationError as error:
                found = explain(error, raw=alone, where=where, model=model, at=("data",), of_keys=True)
                self._findings.problems += found
            except TrainableError:
                continue  # the data itself: nothing can be said of it beside what is wrong

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
            self._findings.problem(at, message, hint)
        if resources.gpus != "auto" and 0 < resources.gpus < 1:
            message = f"resources.gpus is {resources.gpus:g}: each of several workers needs a whole GPU"
            self._findings.problem(("resources", "gpus"), message, "Set it to 1, or to 0 to train on CPUs.")

    def _export(self, data: BaseModel | None) -> Export:
        """The section with `refit` filled in."""
        export, needed = self.spec.export, data is not None and self.trainable.num_models(data) > 1
        if export.refit and self.trainable.refit is Trainable.refit:
            message = f"export.refit is true: {self.spec.trainable} has no method `refit`"
            self._findings.problem(
                ("export", "refit"), message, "Remove it: the checkpoint of the best epoch is published."
            )
        if export.refit is False and needed:
            message = "export.refit is false: a trial on this data has no single model to publish"
            self._findings.problem(("export", "refit"), message, "Remove it, or train without data.split.folds.")
        return export.model_copy(update={"refit": needed if export.refit is None else export.refit})

    def _cluster(self) -> None:
        for path, message, hint in wrong_paths(self.spec.cluster):
            self._findings.problem(path, message, hint)


def _flat(check_keys: tuple[str, ...] | tuple[tuple[str, ...], ...]) -> set[str]:
    return {key for keys in check_keys for key in ((keys,) if isinstance(keys, str) else keys)}


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
