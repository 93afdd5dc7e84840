"""The arguments with which a command takes a trial: NAME TRIAL, NAME/TRIAL, --trial TRIAL, or NAME alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import click

from sweep_runner.results.trial_names import split_name

P = ParamSpec("P")
R = TypeVar("R")
HELP = "Trial: its number, a baseline's name, or best (default)."


def trial_arguments(command: Callable[P, R]) -> Callable[..., R]:
    """Adds NAME, [TRIAL] and `--trial`; the command gets `name: str` and `trial: str | None`, which is the best."""

    @click.argument("name", metavar="NAME[/TRIAL]")
    @click.argument("trial", required=False)
    @click.option("--trial", "trial_option", metavar="TRIAL", help=HELP)
    @functools.wraps(command)
    def wrapped(*args: Any, name: str, trial: str | None, trial_option: str | None, **kwargs: Any) -> R:
        kwargs["name"], kwargs["trial"] = split_name(name, trial, trial_option)
        return command(*args, **kwargs)

    return wrapped


def model_trial_option(command: Callable[P, R]) -> Callable[..., R]:
    """Adds `--trial` to a command whose `model` may be a sweep: the command gets `model` as SWEEP/TRIAL then."""

    @click.option("--trial", "trial_option", metavar="TRIAL", help=f"{HELP}")
    @functools.wraps(command)
    def wrapped(*args: Any, model: str, trial_option: str | None, **kwargs: Any) -> R:
        if trial_option is not None:
            sweep, trial = split_name(model, trial_option)
            model = f"{sweep}/{trial}"
        kwargs["model"] = model
        return command(*args, **kwargs)

    return wrapped
