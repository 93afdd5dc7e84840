"""What a sweep file leaves open, taken from its trainable's suggestion; and how that is written down."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from sweep_runner.errors import Problem
from sweep_runner.spec.document import Places
from sweep_runner.spec.loader import LoadedSpec
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.recipes import usual_recipes
from sweep_runner.spec.sugar import resolve_sugar
from trainables.contract import Trainable
from trainables.errors import TrainableError
from trainables.suggestion import Suggestion

SUGGESTED = ("fixed", "space", "baselines", "objective", "search", "pruner")
"""Sections that a suggestion has."""
_COMMENTS_FROM = 38  # column
_BASELINES_SHARE = 3  # a third of the trials are baselines at most: the others search
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OTHERWISE = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})  # to some readers of YAML


@dataclass(frozen=True)
class Taken:
    """Sections of a sweep that its file does not have.

    Attributes:
        sections: in the forms of a sweep file, in the order of one.
        why: a key, such as `space.lr` or `objective`, → the reason.
        said: what was looked at and decided, one line each.
    """

    sections: Mapping[str, Any]
    why: Mapping[str, str]
    said: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sections as a sweep file has them, with the reasons as comments."""
        return "".join(_section(name, value, self.why) for name, value in self.sections.items())


def take_suggestion(
    loaded: LoadedSpec, trainable: type[Trainable[Any, Any]], before: SweepSpec | None = None
) -> tuple[LoadedSpec, Taken | None]:
    """A file that has no space, with the space that its trainable suggests; any other as it is.

    Args:
        loaded: the file.
        trainable: its class.
        before: the sweep as it was run: its space is kept, and nothing is looked at.

    Raises:
        TrainableError: the data is not there.
    """
    spec = loaded.spec
    if "space" in spec.model_fields_set or ("trials" in spec.search.model_fields_set and spec.search.trials == 1):
        return loaded, None
    if before is not None:
        kept = {name: getattr(before, name) for name in SUGGESTED}
        given = {name: getattr(spec, name) for name in spec.model_fields_set}
        given |= {"fixed": {**before.fixed, **spec.fixed}, "search": before.search.model_copy(update=_asked(spec))}
        return replace(loaded, spec=spec.model_copy(update={**kept, **given})), None
    try:
        data = trainable.data_class.model_validate(spec.data)
    except (ValidationError, TrainableError):
        return loaded, None  # the check says what is wrong with it
    suggestion = trainable.suggest(data, spec.fixed, _asked(spec).get("trials"))
    if suggestion is None:
        return loaded, None
    taken = taken_from(suggestion, spec, trainable)
    return replace(loaded, spec=_with(spec, taken.sections)), taken


def taken_from(suggestion: Suggestion, spec: SweepSpec, trainable: type[Trainable[Any, Any]]) -> Taken:
    """What a suggestion adds to a spec. What the spec says stays."""
    fixed = {**{key: value for key, value in suggestion.fixed.items() if key not in spec.fixed}, **spec.fixed}
    space = {
        key: form
        for key, written in suggestion.space.items()
        if key not in fixed and (form := _reachable(written, spec.fixed)) is not None
    }
    given = spec.model_fields_set
    sections: dict[str, Any] = {"fixed": fixed, "space": space}
    if "objective" not in given:
        sections["objective"] = {"metric": suggestion.metric}
    sections["search"] = {"sampler": "guided", "trials": suggestion.trials, "seed": 0, **_asked(spec)}
    if "pruner" not in given:
        sections["pruner"] = {"kind": "promotion"}
    why = {**suggestion.why, "pruner": "trials pause after a third of their epochs; the best third continue"}
    if "search" in given:
        why.pop("search", None)
    if "baselines" not in given and (baselines := _usual(_with(spec, sections), trainable)):
        first = {name: sections[name] for name in ("fixed", "space")}
        sections = {**first, "baselines": baselines, **sections}
        why["baselines"] = "the usual values of each model; they run first"
    return Taken(sections, why, suggestion.said)


def _usual(spec: SweepSpec, trainable: type[Trainable[Any, Any]]) -> dict[str, Any]:
    """The usual recipe of each network, as baselines."""
    recipes = usual_recipes(spec, trainable)[: max(1, spec.search.trials // _BASELINES_SHARE)]
    return {re.sub(r"[^A-Za-z0-9_.-]+", "-", f"usual-{recipe.get('model', 'values')}"): recipe for recipe in recipes}


def _reachable(written: Any, fixed: Mapping[str, Any]) -> Any:
    """A parameter without the conditions that the fixed keys fulfil; None when they say that it never exists."""
    if not isinstance(written, Mapping) or "when" not in written:
        return written
    when: dict[str, Any] = {}
    for parent, allowed in written["when"].items():
        several = allowed if isinstance(allowed, list | tuple) else [allowed]
        if parent not in fixed:
            when[parent] = allowed
        elif fixed[parent] not in several:
            return None
    rest = {key: value for key, value in written.items() if key != "when"}
    if when:
        return {**rest, "when": when}
    return rest["values"] if set(rest) == {"values"} else rest


def _asked(spec: SweepSpec) -> dict[str, Any]:
    """What the file says of the search."""
    return {name: getattr(spec.search, name) for name in spec.search.model_fields_set}


def _with(spec: SweepSpec, sections: Mapping[str, Any]) -> SweepSpec:
    problems: list[Problem] = []
    plain = resolve_sugar(sections, Places("the suggestion"), problems, set())
    assert not problems, problems
    added = SweepSpec.model_validate({"name": spec.name, **plain})
    return spec.model_copy(update={name: getattr(added, name) for name in sections})


# As text ----------------------------------------------------------------------------------------------


def _section(name: str, value: Any, why: Mapping[str, str]) -> str:
    if name in ("fixed", "space", "baselines"):
        head = _commented(f"{name}:", why.get(name, ""))
        return head + "".join(
            _commented(f"  {written(key)}: {written(item)}", why.get(f"{name}.{key}", ""))
            for key, item in value.items()
        )
    return _commented(f"{name}: {written(value)}", why.get(name, ""))


def _commented(line: str, comment: str) -> str:
    comment = " ".join(comment.split())
    return f"{line:<{_COMMENTS_FROM - 2}}  # {comment}\n" if comment else f"{line}\n"


def written(value: Any) -> str:
    """A value as YAML in one line, which readers of YAML 1.1 and 1.2 understand alike."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{written(key)}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float):
        text = json.dumps(value)
        mantissa, exponent, power = text.partition("e")
        return text if not exponent or "." in mantissa else f"{mantissa}.0e{power}"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _OTHERWISE:
        return value
    return json.dumps(value, ensure_ascii=False)
