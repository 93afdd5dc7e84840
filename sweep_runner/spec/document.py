"""YAML text → plain values and the line of each: safe, bounded, and with every problem named at its line.

Scalars are read as YAML 1.2 reads them, so that `no`, `off` and `on` are text (mixed_precision: [no, bf16]),
and `1e-3` is a number. Tags are refused: nothing but mappings, lists and plain values is ever built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sweep_runner.errors import Problem, RequestError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 30
MAX_VALUES = 20_000
"""After aliases are followed: a few lines of aliases of aliases can stand for billions of values."""

_INT, _FLOAT, _BOOL, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "merge"))
# The core schema of YAML 1.2 (section 10.3.2).
RESOLVERS: tuple[tuple[str, str, str], ...] = (
    (_NULL, r"^(?:~|null|Null|NULL|)$", "~nN"),
    (_BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    (_INT, r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        _FLOAT,
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
    (_MERGE, r"^<<$", "<"),
)


@dataclass(frozen=True)
class Places:
    """Where each key was written.

    Attributes:
        file: the file as the user named it.
        lines: the line of each key path, from 1.
        overrides: the `--set …` that set a key path.
    """

    file: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """`file:line` (or `--set …`) of a key path, or of the nearest key around it that was written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return self.overrides[path[:end]]
            if path[:end] in self.lines:
                return f"{self.file}:{self.lines[path[:end]]}"
        return self.file

    def overridden(self, path: KeyPath) -> bool:
        """Whether a `--set` gave this key's value, and not the file."""
        return any(path[:end] in self.overrides for end in range(1, len(path) + 1))

    def has(self, path: KeyPath) -> bool:
        """Whether exactly this key path was written."""
        return path in self.lines or path in self.overrides


@dataclass(frozen=True)
class Document:
    """What a YAML text holds: plain values, and the place of each."""

    value: Any
    lines: Mapping[KeyPath, int]


def read_file(path: Path) -> str:
    """The text of a sweep file.

    Raises:
        RequestError: no such file, or it cannot be read, is too long, or is not UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RequestError([Problem("no such file", where=str(path), hint=_near_file(path))]) from None
    except IsADirectoryError:
        raise RequestError(
            [Problem("is a folder; give a sweep file", where=str(path), hint=_near_file(path))]
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError([Problem(f"cannot be read: {reason}", where=repr(str(path))[1:-1])]) from None
    if len(content) > MAX_BYTES:
        rule = f"is longer than {MAX_BYTES // 1024} KiB, the limit for a sweep file"
        raise RequestError([Problem(rule, where=str(path))])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte {content[error.start]:#04x} is not UTF-8: a sweep file is UTF-8 text"
        raise RequestError(
            [Problem(message, where=f"{path}:{line}", hint="Save it as UTF-8 in your editor.")]
        ) from None
    return text


def parse(text: str, name: str) -> Document:
    """Reads one YAML document.

    Args:
        text: the YAML.
        name: what to call it in errors: the file's name, or `--set a.b=c`.

    Raises:
        RequestError: with every problem, each at its line.
    """
    reader = _Reader(name, text)
    value = reader.read()
    if reader.problems:
        raise RequestError(reader.problems)
    return Document(value, reader.lines)


class _Composer(yaml.SafeLoader):
    """Text → nodes. Used up to the nodes only: values are made from them below, never by YAML constructors."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tags: list[tuple[str, int]] = []
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            self.tags.append((event.tag, event.start_mark.line + 1))
            event.tag = None
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _pattern, _first in RESOLVERS:
    _Composer.add_implicit_resolver(_tag, re.compile(_pattern), [*_first, ""] if _tag == _NULL else list(_first))


class _Reader:
    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.problems: list[Problem] = []
        self.lines: dict[KeyPath, int] = {}
        self._num_values = 0

    def read(self) -> Any:
        node = self._compose()
        return None if node is None else self._value(node, (), ())

    def _compose(self) -> yaml.Node | None:
        composer = None
        try:
            composer = _Composer(self.text)
            node: yaml.Node | None = composer.get_single_node()
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            self._problem(line, f"the character {error.character:#06x} is not allowed in YAML text")
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._problem(mark.line + 1 if mark else 1, *self._syntax(error, mark.line if mark else 0))
            return None
        except (ValueError, OverflowError):  # an escape such as "\U00110000", which is no character
            assert composer is not None
            self._problem(composer.get_mark().line + 1, "an escape in double quotes that is not a character")
            return None
        for tag, line in composer.tags:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(
                line,
                f"the tag {_shown(short)} is not allowed: a sweep file has plain values only",
                "Write the value without the tag; put text that looks like a number in quotes.",
            )
        return node

    def _syntax(self, error: yaml.MarkedYAMLError, line: int) -> tuple[str, str]:
        rows = self.text.splitlines()
        row = rows[line] if line < len(rows) else ""
        if "\t" in row[: len(row) - len(row.lstrip())] or "'\\t'" in (error.problem or ""):
            return "a tab: YAML is indented with spaces", "Replace the tab by spaces."
        problem = error.problem or error.context or "cannot be read"
        if "expected a single document" in (error.context or ""):
            return "a second document (---): a sweep file has one", ""
        hint = ""
        if "mapping values are not allowed" in problem:
            hint = "A value with a colon needs quotes; a key starts on its own line, indented like its neighbours."
        elif "expected ',' or" in problem or "flow" in (error.context or ""):
            hint = "Is a bracket not closed, or a comma missing?"
        context = f" ({error.context})" if error.context and error.context != problem else ""
        return f"not valid YAML: {problem}{context}: {_shown(row.strip())}", hint

    def _value(self, node: yaml.Node, path: KeyPath, around: tuple[int, ...]) -> Any:
        line = node.start_mark.line + 1
        self._count(line)
        if path:
            self.lines.setdefault(path, line)
        if id(node) in around:
            self._problem(line, "an alias to something that it is itself a part of")
            return None
        if len(around) > MAX_DEPTH:
            self._problem(line, f"nested deeper than {MAX_DEPTH} levels, aliases followed")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        around = (*around, id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, position), around) for position, item in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path, around)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, around: tuple[int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        written: dict[str, int] = {}
        merged: list[yaml.MappingNode] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(line, "a key is a list or a mapping: keys are plain text")
            elif key_node.tag == _MERGE:
                merged += self._merge_sources(value_node, line)
            elif (key := self._text(key_node)) in written:
                self._problem(line, f"the key {_shown(key)} is duplicate, first in line {written[key]}")
            else:
                written[key] = line
                self.lines[(*path, key)] = line
                values[key] = self._value(value_node, (*path, key), around)
        for source in merged:  # `<<: *base`: keys written here win, then the sources in order
            self._count(source.start_mark.line + 1)
            if id(source) in around:
                self._problem(source.start_mark.line + 1, "a mapping is merged (<<) into itself")
                continue
            for key, value in self._mapping(source, path, (*around, id(source))).items():
                values.setdefault(key, value)
        return values

    def _merge_sources(self, node: yaml.Node, line: int) -> Iterator[yaml.MappingNode]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self._problem(line, "<< merges a mapping (<<: *name) or a list of them")

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text, line = node.value, node.start_mark.line + 1
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT:
            number = int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 40 else 1 << 64
            if not -(1 << 63) <= number < 1 << 63:
                self._problem(line, f"the number {_shown(text)} is beyond 64 bits")
            return number
        if node.tag == _FLOAT:
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if math.isnan(value) or (math.isinf(value) and "inf" not in text.lower()):
                self._problem(line, f"{_shown(text)} is not a usable number")
            return value
        return self._text(node)

    def _text(self, node: yaml.ScalarNode) -> str:
        text: str = node.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            line = node.start_mark.line + 1
            self._problem(line, "half a surrogate pair: an escape that is not a character")
        return text

    def _count(self, line: int) -> None:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            rule = f"holds more than {MAX_VALUES} values, aliases followed"
            raise RequestError([*self.problems, Problem(rule, where=self._where(line))])

    def _where(self, line: int) -> str:
        return self.name if self.name.startswith("--set") else f"{self.name}:{line}"

    def _problem(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, where=self._where(line), hint=hint))


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "…" + shown[0]


def _near_file(path: Path) -> str:
    import difflib

    try:
        folder = path if path.is_dir() else path.parent
        names = [item.name for item in folder.iterdir() if item.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, n=1) or (sorted(names)[:1] if folder == path else [])
    return f"Did you mean {folder / near[0]}?" if near else ""
