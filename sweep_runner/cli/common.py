"""What every command shares: `--results`, `--quiet`, `--verbose`, where text goes, how result tables look."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from sweep_runner.cli.tables import print_table, printable
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Out:
    """Where a command's text goes: words for people to stderr, results to stdout.

    Attributes:
        quiet: only results, warnings and errors.
        verbose: details, too.
    """

    quiet: bool = False
    verbose: bool = False

    def say(self, text: str, *, style: str = "") -> None:
        """A line for people, to stderr. Text is shown as it is: brackets are no markup."""
        if not self.quiet:
            say(text, style=style)

    def detail(self, text: str) -> None:
        """A line for people who asked for more (`--verbose`)."""
        if self.verbose:
            say(text, style="dim")

    def warn(self, text: str) -> None:
        """A warning: to stderr, also with `--quiet`."""
        say(f"warning: {text}", style="yellow")

    def result(self, text: str) -> None:
        """A result: to stdout; on a terminal without what would steer it."""
        click.echo(printable(text) if sys.stdout.isatty() else text)

    def json(self, value: Any) -> None:
        """A result for a script: one JSON document to stdout. NaN and infinities become null: JSON has none."""
        click.echo(json.dumps(_json_ready(value), indent=2, ensure_ascii=False))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        title: str = "",
        optional: Sequence[str] = (),
        by_row: bool = False,
    ) -> None:
        """A result table to stdout: see `print_table`."""
        print_table(columns, rows, title=title, optional=optional, by_row=by_row)


def console(stream: IO[str] | None = None) -> Console:
    """A rich console on stderr, or on another stream: no markup, no highlighting unless asked for."""
    from rich.console import Console

    return Console(file=stream or sys.stderr, markup=False, highlight=False, emoji=False)


def say(text: str, *, style: str = "") -> None:
    """A line to stderr, coloured when that is a terminal."""
    text = printable(text)
    if sys.stderr.isatty():
        console().print(text, style=style or None, soft_wrap=True)
    else:
        click.echo(text, err=True)


def common_options(command: Callable[P, R]) -> Callable[..., R]:
    """Adds `--results`, `--quiet`, `--verbose`; the command gets `results: ResultsPaths` and `out: Out`."""

    @click.option(
        "--results",
        "results_folder",
        default="results",
        envvar="SWEEP_RESULTS",
        show_envvar=True,
        show_default=True,
        metavar="DIR",
        help="The folder that holds all sweeps, or s3://BUCKET/PREFIX.",
    )
    @click.option("--quiet", "-q", is_flag=True, help="Results, warnings and errors only.")
    @click.option("--verbose", "-v", is_flag=True, help="Print details.")
    @functools.wraps(command)
    def wrapped(*args: Any, results_folder: str, quiet: bool, verbose: bool, **kwargs: Any) -> R:
        kwargs["out"] = Out(quiet=quiet, verbose=verbose and not quiet)
        if "://" in results_folder:
            from sweep_runner.cli.remote import open_remote

            kwargs["results"] = open_remote(results_folder, _name(command), kwargs, kwargs["out"].warn)
            return command(*args, **kwargs)
        root = Path(results_folder).expanduser().absolute()
        if (shown := printable(str(root))) != str(root):
            raise RequestError(
                f"--results: the folder {shown} has a name that is not UTF-8 text, or has control characters: tables "
                "and pages could not name it",
                hint="Choose another folder, or rename this one.",
            )
        if root.exists() and not root.is_dir():
            raise RequestError(
                f"--results {results_folder}: is a file", hint="Choose the folder that holds all sweeps."
            )
        kwargs["results"] = ResultsPaths(root)
        return command(*args, **kwargs)

    return wrapped


def _name(command: Callable[..., Any]) -> str:
    """As the user knows it, without `sweep`: `top`, `data check`."""
    context = click.get_current_context(silent=True)
    return command.__name__ if context is None else context.command_path.partition(" ")[2] or command.__name__


def set_option(command: Callable[P, R]) -> Callable[P, R]:
    """Adds `--set KEY=VALUE` (any number of times); the command gets `overrides: tuple[str, ...]`."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the sweep file, such as --set search.trials=4. The value is read as YAML.",
    )(command)


def data_option(command: Callable[P, R]) -> Callable[P, R]:
    """Adds `--set data.KEY=VALUE` (any number of times); the command gets `overrides: tuple[str, ...]`."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="data.KEY=VALUE",
        help="Set a key of the data section, such as --set 'data.classes=[cat, dog]'. The value is read as YAML.",
    )(command)


def address_option(command: Callable[P, R]) -> Callable[P, R]:
    """Adds `--address`, which stands for `--set cluster.address=…`; the command gets `address: str | None`."""
    return click.option(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to run on, by its head; auto: this machine's cluster; local: a new instance.",
    )(command)


def with_address(overrides: tuple[str, ...], address: str | None) -> tuple[str, ...]:
    """The overrides, with the address as one of them."""
    # In quotes, because YAML reads 10:30 as something else than text.
    return overrides if address is None else (*overrides, f"cluster.address={json.dumps(address)}")


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Adds `--json`; the command gets `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def output_options(command: Callable[P, R]) -> Callable[P, R]:
    """Adds `--format` and `--output`; the command gets `file_format: str` and `output: Path | None`.

    `sweep_runner.cli.query_output` checks them and writes the table.
    """
    output = click.option(
        "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file, not stdout."
    )
    file_format = click.option(
        "--format",
        "file_format",
        type=click.Choice(["table", "csv", "json", "parquet"]),
        default="table",
        show_default=True,
        help="table: for people on a terminal, tab-separated otherwise.",
    )
    return file_format(output(command))


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    item = getattr(value, "item", None)  # NumPy scalars
    return _json_ready(item()) if callable(item) else str(value)
