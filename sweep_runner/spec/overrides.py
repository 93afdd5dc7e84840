"""`--set a.b=c`, and `$VARIABLE` and `~` in paths."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep_runner.errors import Problem, RequestError
from sweep_runner.spec.document import Document, KeyPath, Places, parse

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")

EXPANDED = ("data", "fixed", "space", "baselines")
"""The sections whose text values may hold `~` and variables."""


def apply_overrides(document: Document, file: str, overrides: Sequence[str]) -> tuple[dict[str, Any], Places]:
    """The document's values with each `--set` applied in order, and the places of all keys.

    Args:
        document: of which the value is a mapping.
        file: the file's name as the user gave it.
        overrides: `a.b=c`, where c is read as YAML; keys that are not there are made.

    Raises:
        RequestError: an override has no `=`, is not YAML, or leads through a value that has no keys.
    """
    assert isinstance(document.value, dict)
    values = dict(document.value)
    lines = dict(document.lines)
    set_by: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    for override in overrides:
        place = f"--set {override}"
        key, equals, text = override.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            problems.append(Problem("must be KEY=VALUE, such as search.trials=4", where=place))
            continue
        try:
            value = parse(text, place).value
            path = _put(values, parts, value)
        except RequestError as error:
            problems += error.problems
            continue
        except LookupError as error:
            problems.append(Problem(str(error.args[0]), where=place))
            continue
        lines = {known: line for known, line in lines.items() if known[: len(path)] != path}
        set_by = {known: by for known, by in set_by.items() if known[: len(path)] != path} | {path: place}
    if problems:
        raise RequestError(problems)
    return values, Places(file, lines, set_by)


def expand_paths(
    values: dict[str, Any], places: Places, problems: list[Problem], wrong: set[KeyPath]
) -> dict[str, Any]:
    """Expands `$X`, `${X}`, `~/` and `~name/` in the text values of the sections that may hold paths.

    A variable that is not set is a problem. A `$` that starts no variable stays as it is.

    Args:
        values: of the whole file.
        places: of its keys.
        problems: what is wrong is added here.
        wrong: the entries of which a value is wrong are added here, such as `("data", "root")`.
    """

    def expand(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: expand(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [expand(item, (*path, position)) for position, item in enumerate(value)]
        if isinstance(value, str):
            before = len(problems)
            value = _expand_text(value, places.where(path), problems)
            if len(problems) > before:
                wrong.add(path[:2])
        return value

    return {key: expand(value, (key,)) if key in EXPANDED else value for key, value in values.items()}


def _expand_text(text: str, where: str, problems: list[Problem]) -> str:
    def variable(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            message = f"the environment variable {name} is not set (in {text!r})"
            problems.append(Problem(message, where=where, hint=f"Set it (export {name}=…), or write the value itself."))
        value = os.environ.get(name, "")
        if "\x00" in value or not _is_utf8(value):
            problems.append(Problem(f"the environment variable {name} is not UTF-8 text", where=where))
            return ""
        return value

    text = _VARIABLE.sub(variable, text)
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        problems.append(Problem(f"no home folder of {text.split('/')[0]!r}", where=where))
        return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _put(values: dict[str, Any], parts: list[str], value: Any) -> KeyPath:
    """Puts a value at a key path, copying what it changes, and returns the path.

    Raises:
        LookupError: with a sentence for the user.
    """
    here: Any = values
    path: KeyPath = ()
    for part in parts[:-1]:
        step = _step(here, part, path)
        inner = here.get(step) if isinstance(here, dict) else here[step]
        inner = {} if inner is None else inner.copy() if isinstance(inner, dict | list) else inner
        if not isinstance(inner, dict | list):
            done = ".".join(map(str, (*path, step)))
            raise LookupError(f"{done} is {inner!r}, which has no keys below it")
        here[step] = inner
        here, path = inner, (*path, step)
    step = _step(here, parts[-1], path)
    here[step] = value
    return (*path, step)


def _step(here: dict[str, Any] | list[Any], part: str, path: KeyPath) -> str | int:
    if isinstance(here, dict):
        return part
    if part.isascii() and part.isdigit() and len(part) < 9 and int(part) < len(here):
        return int(part)
    done = ".".join(map(str, path))
    raise LookupError(f"{done} is a list of {len(here)}: {part!r} is not one of its positions (0 to {len(here) - 1})")
