"""`sweep report`: one sweep as one HTML file."""

from __future__ import annotations

import importlib
import webbrowser
from pathlib import Path

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from trainables.quantities import size_text


@click.command()
@click.argument("name")
@click.argument("others", nargs=-1, metavar="[OTHER ...]")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write (default: report.html in the sweep's folder).",
)
@click.option(
    "--png",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the figures as PNG files, too.",
)
@click.option("--own-modules", is_flag=True, help="Import your own modules that the results name, to read images.")
@click.option("--open", "open_it", is_flag=True, help="Open the report in the browser.")
@common_options
def report(
    name: str,
    others: tuple[str, ...],
    output: Path | None,
    png: Path | None,
    own_modules: bool,
    open_it: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Write a report of the sweep NAME: one HTML file that opens offline. Prints its path.

    The sweep may be running. `sweep run` writes the report when it ends.

    With OTHER sweeps (up to five), writes one page that compares all of them on the same axes: best values over trials
    and time, learning curves, hyperparameters, and the settings that differ.

    \b
    Examples:
      sweep report quickstart --open
      sweep report voc-crops --output voc.html --png figures
      sweep report voc-crops voc-foreground --open
    """
    from sweep_runner.report.page import write_report
    from sweep_runner.results.lookup import find_sweep

    paths = find_sweep(results, name)
    if own_modules:
        _import_own(paths)
    if output is not None and not output.expanduser().absolute().parent.is_dir():
        raise RequestError(f"--output {output}: folder {output.parent} does not exist", hint="Create it first.")
    target = output and output.expanduser().absolute()
    if others:
        from sweep_runner.report.sweeps_page import write_sweeps_page

        if png is not None:
            raise RequestError("--png writes the figures of one sweep: give a single NAME")
        names = [name, *(find_sweep(results, other).name for other in others)]
        file = write_sweeps_page(results, names, target, out.warn)
    else:
        file = write_report(results, name, target, out.warn)
    out.say(size_text(file.stat().st_size))
    out.result(str(file))
    if png is not None:
        from sweep_runner.report.pictures import write_pictures

        for picture in write_pictures(results, name, png.expanduser().absolute(), out.warn):
            out.result(str(picture))
    if open_it:
        webbrowser.open(file.as_uri())


def _import_own(paths: SweepPaths) -> None:
    """Imports what the sweep names of the user's: trainable and dataset."""
    from sweep_runner.report.facts import read_spec
    from trainables.own_modules import find_own_modules, not_imported

    spec = read_spec(paths)
    if spec is not None:
        find_own_modules()
        for module in not_imported(spec.trainable, spec.data):
            try:
                importlib.import_module(module)
            except Exception as error:
                raise RequestError(
                    f"--own-modules: {module} cannot be imported ({type(error).__name__}: {error})"
                ) from error
