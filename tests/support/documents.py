"""The code in the pages of the project: blocks, `sweep` commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sweep_runner.cli.main import sweep

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_COMMENT = re.compile(r"\s#\s.*$")
_TITLE = re.compile(r'title="(\S+)"')
_PLACEHOLDER = re.compile(r"[A-Z]+")


@dataclass(frozen=True)
class Block:
    """A fenced block: ```` ```python title="examples/file.py" ````, which the built pages show above it.

    Attributes:
        page: where it is.
        line: in the page, from 1.
        language: the first word after the fence.
        file: its title: the block is that file, or a part of it. Empty: it is not a file.
        text: what is inside.
    """

    page: Path
    line: int
    language: str
    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all pages in these languages."""
    found = []
    for page in PAGES:
        for token in _MARKDOWN.parse(page.read_text(encoding="utf-8")):
            if token.type == "fence" and token.map is not None:
                language, _, rest = token.info.partition(" ")
                title = _TITLE.fullmatch(rest)
                assert title or not rest, f"{page.name}: the built pages show no block that is opened by {token.info!r}"
                found.append(Block(page, token.map[0] + 1, language, title[1] if title else "", token.content))
    return [block for block in found if block.language in languages]


def commands() -> list[tuple[str, str, bool]]:
    """Every `sweep …` command of the pages: where, the command, and whether it is complete (of a bash block)."""
    found = [
        (f"{block}", command, True) for block in blocks("bash") for command in _lines(block.text) if _is_sweep(command)
    ]
    for page in PAGES:
        tokens = _inline(_MARKDOWN.parse(page.read_text(encoding="utf-8")))
        found += [(page.name, token.content, False) for token in tokens if _is_sweep(token.content)]
    return found


def links() -> Iterator[tuple[Path, str]]:
    """Every link of the pages that leads to a file of the project."""
    for page in PAGES:
        for token in _inline(_MARKDOWN.parse(page.read_text(encoding="utf-8"))):
            target = str(token.attrs.get("href", ""))
            if target and "://" not in target:
                yield page, target


def parse_command(line: str, *, complete: bool) -> dict[str, Any]:
    """Parses a `sweep …` command as click does, and runs nothing. Returns its parameters by name.

    Args:
        line: the command.
        complete: whether arguments that must be there must be there. WORDS are placeholders where it is False.

    Raises:
        click.UsageError: no such command or option, or a value that it does not take.
    """
    arguments = shlex.split(line)[1:]
    if not complete:
        arguments = [_PLACEHOLDER.sub("1", part) if _PLACEHOLDER.fullmatch(part) else part for part in arguments]
    command: click.Command = sweep
    with click.Context(sweep, info_name="sweep") as context:
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            name, found, arguments = command.resolve_command(context, arguments)
            assert found is not None, name
            command = found
        try:
            return dict(command.make_context(command.name, arguments).params)
        except click.exceptions.Exit:  # --help, --version
            return {}
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            if complete:
                raise
            return {}


def examples_in_help(command: click.Command) -> list[str]:
    """The commands that a command's help gives as examples."""
    return [line for line in _lines(command.help or "") if _is_sweep(line)]


def all_commands(group: click.Group = sweep, path: str = "sweep") -> Iterator[tuple[str, Any]]:
    """Every command, also those inside groups, by its full name."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from all_commands(command, f"{path} {name}")
            else:
                yield f"{path} {name}", command


def _lines(text: str) -> list[str]:
    """The commands of a shell block: continued lines and quotes over several lines are one; no comments, no `>`."""
    joined: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = _COMMENT.sub("", line.strip())
        if joined and _is_sweep(joined[-1]) and _is_unfinished(joined[-1]):
            joined[-1] += f" {line}"
        else:
            joined.append(line)
    return [line.partition(" > ")[0] for line in joined if line]


def _is_unfinished(command: str) -> bool:
    """Whether a quote of the command is still open."""
    try:
        shlex.split(command)
    except ValueError:
        return True
    return False


def _is_sweep(text: str) -> bool:
    return text.startswith("sweep ")


def _inline(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        for child in token.children or ():
            if child.type in ("code_inline", "link_open"):
                yield child
