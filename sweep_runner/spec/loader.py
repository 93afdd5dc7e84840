"""Sweep file → `SweepSpec`, and back. Looks at the file alone; `check.py` checks it against the trainable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sweep_runner.errors import Problem, RequestError
from sweep_runner.spec.document import RESOLVERS, Document, KeyPath, Places, parse, read_file
from sweep_runner.spec.explain import explain
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.overrides import EXPANDED, apply_overrides, expand_paths
from sweep_runner.spec.sugar import resolve_sugar


@dataclass(frozen=True)
class LoadedSpec:
    """A sweep file that is right in itself.

    Attributes:
        spec: what it says.
        path: the file.
        places: where each key was written.
        begun: whether it is of a sweep that has begun: settings without effect, which earlier versions took, go on.
    """

    spec: SweepSpec
    path: Path
    places: Places
    begun: bool = False

    def where(self, *keys: str | int) -> str:
        """`file:line` (or `--set …`) of a key path: `where("space", "lr")`."""
        return self.places.where(keys)


class PartlyWrong(RequestError):
    """A sweep file is wrong in some keys; the others can still be checked against the trainable.

    Attributes:
        rest: the file without what is wrong.
        wrong: what was left out: `("space", "lr")` where one entry of a section is wrong, `("search",)` where the
            whole section is as it is by default.
    """

    def __init__(self, problems: Sequence[Problem], rest: LoadedSpec, wrong: frozenset[KeyPath]) -> None:
        super().__init__(problems)
        self.rest = rest
        self.wrong = wrong


def load_spec(path: Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Reads a sweep file.

    In the sections data, fixed, space and baselines, `$X`, `${X}` and `~` are expanded. A relative path
    counts from the directory in which the command runs (as it does in any other argument of a command),
    not from the sweep file's folder.

    Args:
        path: the file.
        overrides: `a.b=c`, each as given to `--set`.

    Raises:
        RequestError: with every problem of the file, each at its line.
    """
    return _load(path, overrides, expand=True)


def load_resolved(path: Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Reads what `dump_spec` wrote: nothing is expanded again.

    Args:
        path: the file.
        overrides: `a.b=c`, each as given to `--set`.

    Raises:
        RequestError: the file was changed so that it is not a sweep file any more, or is not there.
    """
    return replace(_load(path, overrides, expand=False), begun=True)


def load_values(values: Mapping[str, Any], overrides: Sequence[str] = (), name: str = "the sweep") -> LoadedSpec:
    """As `load_spec`, of values that a program has instead of a file.

    Args:
        values: plain ones: mappings, lists, text, numbers.
        overrides: `a.b=c`, each as given to `--set`.
        name: what to call it in errors.

    Raises:
        RequestError: with every problem.
    """
    return _from_values(Document(dict(values), {}), Path(name), overrides, expand=True)


def dump_spec(spec: SweepSpec) -> str:
    """The spec as YAML with every default filled in; `load_resolved` makes an equal spec of it."""
    return yaml.dump(_plain(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def opening_comment(path: Path) -> str:
    """The comment lines that a sweep file begins with, such as the question that it asks; without editors' own.

    Empty where there is no file: the sweep came from a program.
    """
    if not path.is_file():
        return ""
    lines = []
    for line in read_file(path).splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if not line.startswith("# yaml-language-server"):
            lines.append(line.rstrip())
    return "\n".join(lines).strip("#\n ") and "\n".join(lines).strip() + "\n\n"


def _load(path: Path, overrides: Sequence[str], *, expand: bool) -> LoadedSpec:
    name = str(path)
    document = parse(read_file(path), name)
    if document.value is None:
        raise RequestError([Problem("is empty: a sweep file needs at least a name and a space", where=name)])
    if not isinstance(document.value, dict):
        kind = "a list" if isinstance(document.value, list) else "a single value"
        message = f"contains {kind}: a sweep file is a mapping of keys (name:, data:, space:, …)"
        raise RequestError([Problem(message, where=f"{name}:1")])
    return _from_values(document, path, overrides, expand=expand)


def _from_values(document: Document, path: Path, overrides: Sequence[str], *, expand: bool) -> LoadedSpec:
    name = str(path)
    values, places = apply_overrides(document, name, overrides)
    problems: list[Problem] = []
    wrong: set[KeyPath] = set()
    if expand:
        values = expand_paths(values, places, problems, wrong)
    plain = resolve_sugar(values, places, problems, wrong)
    try:
        spec = SweepSpec.model_validate(plain)
    except ValidationError as error:
        problems += explain(error, raw=plain, where=places.where, model=SweepSpec)
        wrong |= {_entry(details["loc"]) for details in error.errors() if details["loc"]}
    if not problems:
        return LoadedSpec(spec, path, places)
    problems = in_file_order(problems)
    try:
        rest = SweepSpec.model_validate({"name": "x", **_without(plain, wrong)})
    except ValidationError:
        raise RequestError(problems) from None
    raise PartlyWrong(problems, LoadedSpec(rest, path, places), frozenset(wrong))


def _entry(location: tuple[str | int, ...]) -> KeyPath:
    """The smallest part of a file that can be left out: one entry of a section of entries, else the section."""
    return location[:2] if location[0] in EXPANDED else location[:1]


def _without(plain: Mapping[str, Any], wrong: Set[KeyPath]) -> dict[str, Any]:
    """A file without what is wrong."""
    return {
        section: {name: entry for name, entry in value.items() if (section, name) not in wrong}
        if isinstance(value, dict) and section in EXPANDED
        else value
        for section, value in plain.items()
        if (section,) not in wrong
    }


def in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, by line, so that the user goes through the file once."""

    def line(problem: Problem) -> int:
        number = problem.where.rpartition(":")[2]
        return int(number) if number.isascii() and number.isdigit() else 0

    return sorted(dict.fromkeys(problems), key=line)


class _Dumper(yaml.SafeDumper):
    """Quotes text that either YAML 1.1 or 1.2 would read as something else, so that all readers agree."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _plain(value: Any) -> Any:
    """Models and tuples → mappings and lists."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
