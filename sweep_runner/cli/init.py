"""`sweep init`: a sweep file for a folder of images."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.common import Out, common_options, data_option
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from trainables.image.datasets.base import Recognised


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write (default: sweep.yaml).",
)
@click.option("--name", help="Name of the sweep (default: the folder's).")
@click.option("--trials", type=click.IntRange(min=1), help="Number of trials (default: 20).")
@click.option(
    "--minutes",
    type=click.FloatRange(min=1),
    default=5.0,
    show_default=True,
    help="Time budget of the sweep on this machine: decides resolution, epochs, and whether all layers are trained.",
)
@click.option(
    "--pretrained/--scratch",
    default=None,
    help="Start from published weights, or from random ones (default: weights on this machine or on the hub, if any).",
)
@click.option("--weights", metavar="PATH", help="Weight file to start from, or a folder with one file per model.")
@data_option
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: use defaults.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@common_options
def init(
    folder: Path | None,
    output: Path | None,
    name: str | None,
    trials: int | None,
    minutes: float,
    pretrained: bool | None,
    weights: str | None,
    overrides: tuple[str, ...],
    yes: bool,
    force: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Write a sweep file with comments for FOLDER: class folders, annotations, a table of labels, an archive.

    Inspects the data, the available weights, CPUs and GPUs, and measures the time per batch; writes the largest search
    that fits into --minutes, with the reasons as comments. Asks for what is missing; without a terminal it takes the
    defaults, and if the data can be read in several ways, it lists them and stops.

    \b
    Examples:
      sweep init ~/photos
      sweep init ~/photos --minutes 60 --trials 40 --output photos.yaml --yes
      sweep init ~/photos --weights ~/weights/resnet18.pth
      sweep init ~/photos --set data.class_from=parent
    """
    from pydantic import ValidationError

    from sweep_runner.cli.init_advice import mended
    from sweep_runner.cli.init_file import sweep_file
    from sweep_runner.cli.init_look import look
    from sweep_runner.spec.model import SweepSpec
    from sweep_runner.spec.suggested import taken_from
    from trainables.image.suggest.sweep import suggest_sweep
    from trainables.image.trainable import ImageClassifier

    yes = yes or not sys.stdin.isatty()  # nobody to ask
    folder = folder or (None if yes else Path(click.prompt("Folder of images", err=True)))
    if folder is None:
        raise RequestError("FOLDER is missing", hint="Give the folder of your images.")
    output = output or Path("sweep.yaml")
    if output.exists() and not force:
        raise RequestError(f"{output} exists", hint="Choose another file with --output, or replace it with --force.")
    found = look(folder.expanduser().absolute(), None if yes else _choose, _data_keys(overrides))
    out.say(found.said)
    for note in found.listing.notes:
        out.say(f"  {note}")
    for warning in found.warnings:
        out.warn(warning + (" (the file that is written does so)" if mended(found.listing, warning) else ""))
    default = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.expanduser().absolute().name).strip("-._") or "sweep"
    name = name or (default if yes else click.prompt("Name of the sweep", default=default, err=True))
    trials = trials or (20 if yes else click.prompt("Trials", default=20, type=click.IntRange(min=1), err=True))
    if weights is not None and pretrained is not None:
        raise RequestError("--weights cannot be combined with --pretrained or --scratch")
    start = pretrained if weights is None else str(Path(weights).expanduser().absolute())
    out.say("Measuring the time per batch ...")
    suggestion = suggest_sweep(found.data, listing=found.listing, pretrained=start, trials=trials, minutes=minutes)
    for line in suggestion.said:
        out.say(line)
    try:
        spec = SweepSpec(name=name, data=found.section)
    except ValidationError as error:
        raise RequestError(
            f"--name {name}: a name consists of letters, digits, '.', '_' and '-', and starts with a letter or digit"
        ) from error
    _write(output, sweep_file(found, taken_from(suggestion, spec, ImageClassifier), output, name))
    out.say(
        f"wrote {output}; the sweep is named {name}. Review it, then: sweep data check {output}; sweep run {output}"
    )
    out.result(str(output))


def _data_keys(overrides: tuple[str, ...]) -> dict[str, Any]:
    """What `--set` says of the data section.

    Raises:
        RequestError: it speaks of another section.
    """
    from sweep_runner.spec.document import Document
    from sweep_runner.spec.overrides import apply_overrides

    sections, _ = apply_overrides(Document({}, {}), "", overrides)
    data = sections.pop("data", {})
    if sections or not isinstance(data, dict):
        raise RequestError(
            f"--set {next(iter(sections), 'data')}: init takes keys of the data section only",
            hint="Write data.KEY=VALUE, such as data.class_from=parent; change the rest in the file that init writes.",
        )
    return data


def _choose(readings: tuple[Recognised, ...]) -> Recognised:
    """Asks which of several readings is meant."""
    click.echo("The data can be read in several ways:", err=True)
    for number, reading in enumerate(readings, start=1):
        click.echo(f"  {number}. {reading.found}", err=True)
    chosen = click.prompt("Which one", type=click.IntRange(1, len(readings)), err=True)
    return readings[chosen - 1]


def _write(output: Path, text: str) -> None:
    """Writes the file once it is right."""
    from sweep_runner.durable import write_atomically
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_spec

    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        check_spec(load_spec(partial))
    finally:
        partial.unlink(missing_ok=True)
    write_atomically(output, text.encode())
