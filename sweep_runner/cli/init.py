"""`sweep init`: a sweep file for a folder of images."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from trainables.image.datasets.base import Recognised


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: sweep.yaml."
)
@click.option("--name", help="Of the sweep. By default the folder's.")
@click.option("--trials", type=click.IntRange(min=1), help="How many. By default 20.")
@click.option(
    "--pretrained/--scratch",
    default=None,
    help="Begin with published weights, or without. By default with those that are on this machine or can be fetched.",
)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what is not given by default.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common_options
def init(
    folder: Path | None,
    output: Path | None,
    name: str | None,
    trials: int | None,
    pretrained: bool | None,
    yes: bool,
    force: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Write a sweep file with comments for FOLDER: class folders, annotations, a table of labels, an archive.

    What lies there is recognised by its files, and said. Asks what is not given; without a terminal it takes the
    defaults, and ends with what could be meant where that is a question.

    \b
    Examples:
      sweep init ~/photos
      sweep init ~/photos --scratch --trials 30 --output photos.yaml --yes
    """
    from sweep_runner.cli.init_file import sweep_file
    from sweep_runner.cli.init_look import look, starting_point

    yes = yes or not sys.stdin.isatty()  # nobody to ask
    folder = folder or (None if yes else Path(click.prompt("Folder of images", err=True)))
    if folder is None:
        raise RequestError("FOLDER is missing", hint="Name the folder of your images.")
    output = output or Path("sweep.yaml")
    if output.exists() and not force:
        raise RequestError(f"{output} exists", hint="Name another with --output, or replace it with --force.")
    found = look(folder.expanduser().absolute(), None if yes else _choose)
    out.say(found.said)
    for note in found.listing.notes:
        out.say(f"  {note}")
    for warning in found.warnings:
        out.warn(warning)
    default = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.expanduser().absolute().name).strip("-._") or "sweep"
    name = name or (default if yes else click.prompt("Name of the sweep", default=default, err=True))
    trials = trials or (20 if yes else click.prompt("Trials", default=20, type=click.IntRange(min=1), err=True))
    start = starting_point(pretrained)
    out.say(start.said)
    _write(output, sweep_file(found, start, output, name, trials))
    out.say(f"wrote {output}. Look at it, then: sweep data check {output}; sweep run {output}")
    out.result(str(output))


def _choose(readings: tuple[Recognised, ...]) -> Recognised:
    """Asks which of several readings is meant."""
    click.echo("This can be read in several ways:", err=True)
    for number, reading in enumerate(readings, start=1):
        click.echo(f"  {number}. {reading.found}", err=True)
    chosen = click.prompt("Which is meant", type=click.IntRange(1, len(readings)), err=True)
    return readings[chosen - 1]


def _write(output: Path, text: str) -> None:
    """Writes the file once it is right."""
    from sweep_runner.cli.usual_baselines import with_usual_baselines
    from sweep_runner.durable import write_atomically
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_spec

    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        text = with_usual_baselines(text, load_spec(partial).spec)
        partial.write_text(text, encoding="utf-8")
        check_spec(load_spec(partial))
    finally:
        partial.unlink(missing_ok=True)
    write_atomically(output, text.encode())
