"""The `sweep` command: which commands there are, and how what went wrong is told.

Only the invoked command's module is imported: `sweep --help` must answer at once.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click

from sweep_runner import __version__
from sweep_runner.cli.common import console, say
from sweep_runner.cli.tables import printable
from sweep_runner.errors import Interrupted, Problem, RequestError, SweepError
from trainables.errors import DataError, TrainableError
from trainables.home import provide_home

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("sweep_runner.cli.run:run", "Run a sweep file."),
    "resume": ("sweep_runner.cli.run:resume", "Continue a sweep that stopped."),
    "extend": ("sweep_runner.cli.run:extend", "Run more trials of a sweep."),
    "retry": ("sweep_runner.cli.run:retry", "Run the failed trials of a sweep again."),
    "submit": ("sweep_runner.cli.submit:submit", "Run a sweep file as a job of a Ray cluster."),
    "jobs": ("sweep_runner.cli.jobs:jobs", "List, follow or stop the sweeps of a Ray cluster."),
    "trial": ("sweep_runner.cli.trial:trial", "One trial in this process, without Ray: for debugging."),
    "check": ("sweep_runner.cli.check:check", "Validate a sweep file and print the resolved plan."),
    "schema": ("sweep_runner.cli.check:schema", "The JSON Schema of the sweep file, for editors."),
    "ls": ("sweep_runner.cli.results:ls", "The sweeps in the results folder."),
    "top": ("sweep_runner.cli.results:top", "The leaderboard of a sweep."),
    "show": ("sweep_runner.cli.results:show", "One trial: params, metrics, why it ended."),
    "explain": ("sweep_runner.cli.explain:explain", "What to do next; why a trial stopped."),
    "note": ("sweep_runner.cli.annotate:note", "Write a note on a trial."),
    "star": ("sweep_runner.cli.annotate:star", "Give a trial a star."),
    "compare": ("sweep_runner.cli.compare:compare", "Two sweeps or trials: params, metrics, significance."),
    "reproduce": ("sweep_runner.cli.reproduce:reproduce", "Train a trial again and compare its metrics."),
    "soup": ("sweep_runner.cli.soup:soup", "Average the weights of several trials."),
    "resolutions": ("sweep_runner.cli.resolutions:resolutions", "The same weights at other resolutions, on val."),
    "report": ("sweep_runner.cli.report:report", "One sweep as one HTML file."),
    "app": ("sweep_runner.cli.app:app", "Explore all sweeps in the browser."),
    "query": ("sweep_runner.cli.results:query", "SQL over the tables of all sweeps, read-only."),
    "data": ("sweep_runner.cli.data:data", "Data of a sweep file, and the cache of decoded pixels."),
    "plots": ("sweep_runner.cli.plots:plots", "Draw learning curves and confusion matrices."),
    "predict": ("sweep_runner.cli.model:predict", "Predict images with an exported model."),
    "evaluate": ("sweep_runner.cli.evaluate:evaluate", "Evaluate an exported model on labelled data."),
    "bench": ("sweep_runner.cli.bench:bench", "Latency of an exported model on this machine."),
    "export": ("sweep_runner.cli.model:export", "Export a trial's model."),
    "serve": ("sweep_runner.cli.serve:serve", "Serve an exported model over HTTP."),
    "metrics": ("sweep_runner.cli.metrics:metrics", "Point Prometheus and Grafana at running sweeps."),
    "dashboard": ("sweep_runner.cli.dashboard:dashboard", "Open a sweep's study in optuna-dashboard."),
    "init": ("sweep_runner.cli.init:init", "Write a sweep file for a folder of images."),
    "models": (
        "sweep_runner.cli.models:models",
        "Models by name: size, resolution, features, weights.",
    ),
    "sync": ("sweep_runner.cli.sync:sync", "Upload what remote results lack."),
    "doctor": ("sweep_runner.cli.doctor:doctor", "What is installed here, and what is missing."),
    "completion": ("sweep_runner.cli.completion:completion", "Shell completion for bash, zsh and fish."),
}
"""Name → where the command is, and its line in `sweep --help`."""

EXIT_FAILED, EXIT_REQUEST, EXIT_INTERRUPTED = 1, 2, 130
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell shows for any tool whose reader went away


class _ReaderGone(Exception):
    """Whoever read our output went away. (Click would make exit code 1, "something failed", of it.)"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is invoked."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{COMMANDS[cmd_name][0]} is not a command"
        if ctx.resilient_parsing:
            _complete_names(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _complete_names(command: click.Command) -> None:
    """Lets a shell complete names of sweeps and numbers of trials, whichever command takes them."""
    from sweep_runner.cli.completing import COMPLETED, complete

    for parameter in command.params:
        if parameter.name in COMPLETED:
            parameter._custom_shell_complete = partial(_completed, complete)


def _completed(complete: Any, context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    return complete(parameter.name, context, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sweep", message="%(prog)s %(version)s")
def sweep() -> None:
    """Hyperparameter sweeps for image classification, from one file.

    Exit codes: 0 success, 1 something failed, 2 invalid request, 130 interrupted.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Runs the `sweep` command and returns its exit code.

    A command ends with 0, with the number it returns or passes to `ctx.exit`, or with one of our errors.
    What is none of our errors is a bug and keeps its traceback.
    """
    try:
        if stands_in := provide_home(os.environ):
            say(stands_in)
        code = sweep.main(args=None if args is None else list(args), prog_name="sweep", standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that went away can still be handled
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, _ReaderGone):
        _close_quietly()
        return EXIT_BROKEN_PIPE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("interrupted", style="yellow")
        return EXIT_INTERRUPTED
    except Interrupted as error:
        say(str(error), style="yellow")
        return error.exit_code
    except RequestError as error:
        _tell(error.problems)
        return error.exit_code
    except SweepError as error:
        _tell([Problem(str(error), hint=getattr(error, "hint", ""))])
        return error.exit_code
    except TrainableError as error:
        _tell([Problem(str(error))])
        return EXIT_REQUEST if isinstance(error, DataError) else EXIT_FAILED
    except OSError as error:
        if error.errno is None:
            raise
        _tell([_of_os_error(error)])
        return EXIT_FAILED


def _of_os_error(error: OSError) -> Problem:
    assert error.errno is not None
    hints = {
        errno.EACCES: "Check who owns it and its permissions, or name another folder with --results.",
        errno.EPERM: "Check who owns it and its permissions, or name another folder with --results.",
        errno.EROFS: "This file system is read-only: name another folder with --results.",
        errno.ENOSPC: "The disk is full: make room, then run the command again.",
        errno.EDQUOT: "Your disk quota is used up: make room, then run the command again.",
        errno.EMFILE: "Too many files are open: raise the limit (ulimit -n).",
    }
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return Problem(error.strerror or os.strerror(error.errno), where=where, hint=hints.get(error.errno, ""))


def _tell(problems: Sequence[Problem]) -> None:
    """Prints each problem on its own to stderr: the place, what is wrong, then what to do about it."""
    from rich.text import Text

    screen = console()
    for problem in problems:
        line = Text().append("error: " if len(problems) == 1 else "- ", style="bold red")
        line.append(f"{printable(problem.where)}: " if problem.where else "", style="cyan")
        line.append(printable(problem.message))
        line.append(f"\n    {printable(problem.hint)}" if problem.hint else "", style="green")
        screen.print(line, soft_wrap=True)
    if len(problems) > 1:
        screen.print(Text(f"{len(problems)} problems.", style="bold red"), soft_wrap=True)


def _close_quietly() -> None:
    """Keeps the interpreter's last flush from complaining about the reader that went away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        _redirect(stream, nowhere)


def _redirect(stream: Any, target: int) -> None:
    # Only streams with a real descriptor can break; others (tests) have none to redirect.
    fileno = getattr(stream, "fileno", None)
    if fileno is not None:
        os.dup2(target, fileno())


if __name__ == "__main__":
    sys.exit(main())
