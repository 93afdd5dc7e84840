"""Fixed values, space and baselines of a sweep file, checked against the hyperparameters that its trainable has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sweep_runner.errors import Problem
from sweep_runner.spec.baselines import complete_baseline
from sweep_runner.spec.document import KeyPath
from sweep_runner.spec.explain import did_you_mean, no_such_key, shown
from sweep_runner.spec.fields import ConfigFields, Mismatch
from sweep_runner.spec.findings import Findings
from sweep_runner.spec.model import SPACE_RESOURCES, SweepSpec
from sweep_runner.spec.space import Choice, Parameter, Scalar, in_order, same_value
from sweep_runner.spec.sugar import value_place
from trainables.contract import Trainable


class SpaceCheck:
    """Each method looks at one section, adds to the findings and returns the section normalised.

    Args:
        spec: the sweep file.
        trainable: whose hyperparameters it names.
        fields: of the trainable's configuration.
        findings: what was found is added to them.
        lost: parameters and fixed keys that the file has, and that are wrong in themselves: the file is read
            without them, and nothing is said of what needs them.

    Attributes:
        value_places: where the values stand that a choice is left with.
    """

    def __init__(
        self,
        spec: SweepSpec,
        trainable: type[Trainable[Any, Any]],
        fields: ConfigFields,
        findings: Findings,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.value_places: dict[str, list[str]] = {}
        self._spec = spec
        self._trainable = trainable
        self._fields = fields
        self._findings = findings
        self._lost = lost

    def _known(self, section: str, key: str) -> bool:
        own = key in self._trainable.config_class.model_fields
        if key in SPACE_RESOURCES and section == "space":
            if own:
                hint = f"Rename the hyperparameter of {self._spec.trainable}."
                self._findings.problem((section, key), f"space.{key} means resources.{key}, not a hyperparameter", hint)
            return not own
        if key in SPACE_RESOURCES and not own:
            self._findings.problem(
                (section, key), f"{key} is not a hyperparameter", f"Put it under resources: resources.{key}."
            )
            return False
        if key in self._fields:
            return True
        message = f"{self._spec.trainable} has no hyperparameter {shown(key)}"
        where = self._findings.places.where((section, key))
        self._findings.problems.append(no_such_key(message, key, self._fields.names, where))
        return False

    def names(self, section: str, keys: Iterable[str]) -> None:
        """Whether there are hyperparameters of these names; their values are of no interest."""
        for key in keys:
            self._known(section, key)

    def fixed(self) -> dict[str, Any]:
        fixed: dict[str, Any] = {}
        for key, value in self._spec.fixed.items():
            if not self._known("fixed", key):
                continue
            verdict = self._fields.check(key, value)
            if verdict.wrong:
                searched = isinstance(value, list) or (isinstance(value, dict) and {"values", "low"} & set(value))
                hint = verdict.hint or ("Parameters of the search belong under space." if searched else "")
                self._findings.problem(("fixed", key), f"fixed.{key}{verdict.wrong}", hint)
            else:
                fixed[key] = verdict.value
        return fixed

    def space(self) -> dict[str, Parameter]:
        space: dict[str, Parameter] = {}
        for name, parameter in self._spec.space.items():
            if name in self._spec.fixed:
                self._findings.problem(("space", name), f"{name} is in both space and fixed: remove one of them")
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
            verdict = self._fields.check(name, value)
            place = value_place(self._findings.places, name, position)
            if verdict.wrong:
                self._findings.problems.append(Problem(f"space.{name}{verdict.wrong}", where=place, hint=verdict.hint))
            elif any(same_value(verdict.value, other) for other in values):
                self._findings.problems.append(Problem(f"space.{name}: {shown(value)} is listed twice", where=place))
            else:
                values.append(verdict.value)
                self.value_places[name].append(place)
        return parameter.model_copy(update={"values": tuple(values)}) if values else None

    def _range(self, name: str, parameter: Parameter) -> Parameter | None:
        try:
            return self._fields.suited(name, parameter)
        except Mismatch as error:
            key = f".{error.key}" if error.key else ""
            path: KeyPath = ("space", name, error.key) if error.key else ("space", name)
            self._findings.problem(path, f"space.{name}{key}{error}", error.hint)
            return None

    def required(self) -> None:
        for name in self._fields.required:
            if name not in self._spec.fixed and name not in self._spec.space and name not in self._lost:
                message = f"{self._spec.trainable} needs {name}: put it under fixed or into the space"
                self._findings.problem(("space",), message)

    def conditions(self, space: dict[str, Parameter], fixed: Mapping[str, Any]) -> dict[str, Parameter]:
        """The space with its conditions in the values of the parents; without parameters of which none can tell."""
        places = self._findings.places
        checked: dict[str, Parameter] = {}
        for name, parameter in space.items():
            when: dict[str, tuple[Scalar, ...]] = {}
            good = True
            for parent, allowed in parameter.when.items():
                at = ("space", name, "when", parent)
                if parent in self._lost:
                    good = False
                elif parent not in self._spec.space and parent not in self._spec.fixed:
                    message = f"space.{name}.when: {shown(parent)} is neither in the space nor fixed"
                    names = [other for other in (*self._spec.space, *self._spec.fixed) if other != name]
                    self._findings.problem(at, message, did_you_mean(parent, names))
                    good = False
                elif parent in space or parent in fixed:
                    when[parent] = tuple(self._fields.check(parent, value).value for value in allowed)
                    if parent in space and places.overridden(("space", parent)) and not places.overridden(at):
                        # `--set` made the parent's choice smaller: that is no reason to rewrite every condition.
                        when[parent] = tuple(value for value in when[parent] if space[parent].contains(value))
                    if not when[parent]:
                        reason = f"with {parent} {space[parent].describe()} its `when` can never be true"
                        self._findings.warnings.append(f"{name} is left out of the space: {reason}")
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
            self._findings.problem(("space", start, "when"), f"space.{start}.when: {error}")
            return {name: parameter for name, parameter in checked.items() if not parameter.when}
        while orphans := [
            name
            for name, parameter in checked.items()
            if any(parent in self._spec.space and parent not in checked for parent in parameter.when)
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
                self._findings.problem(
                    at, f"{told}, but {parent} is fixed to {shown(fixed[parent])}: {at[1]} would never apply"
                )
                return False
        elif not space[parent].contains(value):
            parameter = space[parent]
            choices = parameter.values if isinstance(parameter, Choice) and isinstance(value, str) else ()
            hint = did_you_mean(str(value), choices)
            message = f"{told}: {parent} never has it ({parameter.describe()})"
            self._findings.problem(at, message, hint if hint.startswith("Did") else "")
            return False
        return True

    def baselines(self, space: Mapping[str, Parameter], fixed: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        baselines: dict[str, dict[str, Scalar]] = {}
        lost = {*self._lost}  # told already; not the baseline's fault
        lost |= {name for name in self._spec.space if name not in space}
        lost |= {name for name in self._spec.fixed if name not in fixed}
        for name, given in self._spec.baselines.items():
            usable = {key: value for key, value in given.items() if key not in lost}
            baselines[name] = complete_baseline(
                name, usable, space, fixed, self._fields, self._findings.places.where, self._findings.problems
            )
            twin = next((other for other in list(baselines)[:-1] if baselines[other] == baselines[name]), None)
            if twin is not None:
                self._findings.warnings.append(
                    f"the baselines {twin} and {name} are identical: the configuration is trained once"
                )
        if len(baselines) > self._spec.search.trials:
            message = f"search.trials is {self._spec.search.trials}: fewer than the {len(baselines)} baselines"
            path: KeyPath = ("search", "trials")
            self._findings.problem(
                path if self._findings.places.has(path) else ("baselines",),
                message,
                "Every baseline counts as a trial.",
            )
        return baselines
