"""What pydantic found wrong → problems in the words of the sweep file: key, value, rule, nearest spelling."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweep_runner.errors import Problem
from sweep_runner.spec.document import KeyPath

Where = Callable[[KeyPath], str]


@dataclass(frozen=True)
class UnknownKey(Problem):
    """A key that is not known where it is written.

    Attributes:
        key: as it is written.
        near: the most similar key that is known there; empty when none is similar.
    """

    key: str = ""
    near: str = ""


_KIND_OF_VALUE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping of keys",
    "mapping": "a mapping of keys",
    "model": "a mapping of keys",
    "dataclass": "a mapping of keys",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "none": "null",
    "path": "a path",
}


_YES_OR_NO = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Text to YAML 1.2, as which a sweep file is read."""
_PLAIN_VALUE = {"true or false", "a number", "text"}


def explain(
    error: ValidationError,
    *,
    raw: Any,
    where: Where,
    model: type[BaseModel] | None = None,
    at: KeyPath = (),
    of_keys: bool = False,
) -> list[Problem]:
    """Every problem of one validation.

    Args:
        error: what pydantic raised.
        raw: what was validated.
        where: a key path of the sweep file → the place to name.
        model: the class validated against: names the valid keys for a key that it does not have.
        at: where in the sweep file `raw` is.
        of_keys: leaves out what is wrong with `raw` as a whole: keys that are missing, or do not go together.
    """
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        grouped.setdefault(_path(details, raw), []).append(details)
    problems: list[Problem] = []
    for path, several in grouped.items():
        if of_keys and (not path or several[0]["type"] == "missing"):
            continue
        full = (*at, *path)
        if several[0]["type"] == "missing":
            problems.append(Problem(f"{dotted(full)} is missing", where=where(full[:-1])))
        elif several[0]["type"] == "extra_forbidden":
            keys = known_keys(model, path[:-1], raw) if model else ()
            problems.append(unknown_key(full, keys, where))
        else:
            problems.append(_wrong_value(several, full, where))
    return problems


def unknown_key(path: KeyPath, keys: Iterable[str], where: Where, of: str = "") -> Problem:
    """The problem of a key that is not one of `keys`, with the nearest spelling or all of them."""
    keys = list(keys)
    owner = of or (dotted(path[:-1]) if len(path) > 1 else "a sweep file")
    return no_such_key(f"{owner} has no key {shown(path[-1])}", str(path[-1]), keys, where(path))


def no_such_key(message: str, key: str, keys: Iterable[str], where: str) -> UnknownKey:
    """The problem of a key that is not one of `keys`."""
    names = list(keys)
    near = _nearest(key, names)
    return UnknownKey(message, where=where, hint=did_you_mean(key, names), key=key, near=near)


def did_you_mean(text: str, choices: Iterable[Any]) -> str:
    """`Did you mean …?` for a near spelling, else the choices as far as they fit on a line or two."""
    names = [str(choice) for choice in choices]
    if near := _nearest(text, names):
        return f"Did you mean {near}?"
    if not names:
        return ""
    listed = ", ".join(names)
    return f"Valid: {listed if len(listed) <= 240 else listed[:240].rsplit(',', 1)[0] + ', …'}"


def known_keys(model: type[BaseModel], path: KeyPath = (), raw: Any = None) -> tuple[str, ...]:
    """The keys of the section at `path` inside a model; none when there is no such section, or any key goes.

    Args:
        model: the class of the outermost section.
        path: from there to the section.
        raw: what is written in the outermost section: its `kind` tells which of several sections is meant.
    """
    if not path:
        return tuple(model.model_fields)
    field = model.model_fields.get(str(path[0]))
    if field is None:
        return ()
    written = raw.get(path[0]) if isinstance(raw, Mapping) else None
    inner = [section for section in models_in(field.annotation) if _is_kind(section, written)]
    return tuple(dict.fromkeys(key for section in inner for key in known_keys(section, path[1:], written)))


def reasons(errors: Sequence[Mapping[str, Any]], value: Any) -> tuple[str, str]:
    """What is wrong with one value, by all that pydantic says of it: `is 0: must be at least 1`, and a hint."""
    told = [text for details in errors if (text := _told(details))]
    rules = list(dict.fromkeys(rule for details in errors if not _told(details) for rule in [_rule(details)]))
    if told:  # of several types, the one whose own validator speaks is the one that was meant
        return f": {'; '.join(dict.fromkeys(told))}", ""
    if set(rules) >= _PLAIN_VALUE:
        rules = ["one plain value (text, a number, true, false or null)"]
    choices = [choice for details in errors for choice in _choices(details)]
    hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
    if "true or false" in rules and isinstance(value, str) and value.lower() in _YES_OR_NO:
        hint = f"Did you mean {_YES_OR_NO[value.lower()]}?"
    return f" is {shown(value)}: must be {' or '.join(rules)}", hint if hint.startswith("Did") else ""


def dotted(path: KeyPath) -> str:
    """A key path as `--set` takes it: `space.lr.low`."""
    return ".".join(str(part) for part in path) or "the sweep file"


def shown(value: Any) -> str:
    """A value as it looks in a sweep file, shortened."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _wrong_value(errors: Sequence[ErrorDetails], path: KeyPath, where: Where) -> Problem:
    tag = errors[0].get("ctx", {}).get("tag")  # of several kinds of section, when there is no such kind
    text, hint = reasons(errors, errors[0]["input"] if tag is None else tag)
    return Problem(f"{dotted(path)}{text}", where=where(path), hint=hint)


def _told(details: Mapping[str, Any]) -> str:
    """The message of a validator of ours, which is a sentence already; empty for pydantic's own rules."""
    if details["type"] not in ("value_error", "assertion_error"):
        return ""
    return str(details.get("ctx", {}).get("error", "")) or details["msg"]


def _rule(details: Mapping[str, Any]) -> str:
    """What the value must be."""
    kind, context = details["type"], details.get("ctx", {})
    match kind:
        case "greater_than":
            return f"above {_bare(context['gt'])}"
        case "greater_than_equal":
            return f"at least {_bare(context['ge'])}"
        case "less_than":
            return f"below {_bare(context['lt'])}"
        case "less_than_equal":
            return f"at most {_bare(context['le'])}"
        case "multiple_of":
            return f"a multiple of {context['multiple_of']}"
        case "literal_error" | "enum" | "union_tag_invalid":
            choices = _choices(details)
            return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        case "union_tag_not_found":
            return "a mapping with a key kind"
        case "string_pattern_mismatch" if str(context["pattern"]).startswith("^[A-Za-z0-9]["):
            return "1 to 100 letters, digits, '_', '.' or '-', and start with a letter or digit"
        case "string_too_short":
            return f"at least {context['min_length']} characters"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "too_short":
            return f"at least {context['min_length']} entries"
        case "too_long":
            return f"at most {context['max_length']} entries"
        case "finite_number":
            return "finite"
    kind_of_value = re.sub(r"_(type|parsing|from_float|sub_type|attributes_type|parsing_size)$", "", kind)
    if kind_of_value in _KIND_OF_VALUE:
        return _KIND_OF_VALUE[kind_of_value]
    message = str(details["msg"])
    return f"right by its type ({message[:1].lower() + message[1:]})"


def _bare(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _choices(details: Mapping[str, Any]) -> list[str]:
    context = details.get("ctx", {})
    expected = context.get("expected_tags") or context.get("expected")
    if details["type"] not in ("literal_error", "enum", "union_tag_invalid") or not expected:
        return []
    quoted = re.findall(r"'([^']*)'", expected)
    return quoted or [part.strip() for part in re.split(r",| or ", expected)]


def _path(details: ErrorDetails, raw: Any) -> KeyPath:
    """The key path of an error: pydantic's location without the names of union members that it puts in."""
    location = details["loc"]
    path: list[str | int] = []
    here = raw
    for position, part in enumerate(location):
        last = position == len(location) - 1
        in_mapping = isinstance(here, Mapping) and part in here
        in_list = isinstance(here, list | tuple) and isinstance(part, int) and 0 <= part < len(here)
        if in_mapping or in_list:
            here = here[part]
        elif not (last and details["type"] == "missing"):
            continue
        path.append(part)
    if details["type"] == "union_tag_invalid":
        path.append("kind")
    return tuple(path)


def _is_kind(section: type[BaseModel], written: Any) -> bool:
    kind = section.model_fields.get("kind")
    if kind is None or not isinstance(written, Mapping):
        return True
    return written.get("kind") in get_args(kind.annotation)


def _nearest(text: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, names, n=1) or difflib.get_close_matches(
        text.lower(), [name for name in names if name == name.lower()], n=1
    )
    return near[0] if near else ""


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a key can hold, by its type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
