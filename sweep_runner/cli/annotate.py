"""`sweep note` and `sweep star`: what people think of a trial, kept with the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from sweep_runner.results.annotations import Annotation


@click.command()
@click.argument("name", metavar="NAME[/TRIAL]")
@click.argument("words", nargs=-1, metavar="[TRIAL] [TEXT]")
@click.option("--remove", is_flag=True, help="Remove the note.")
@common_options
def note(name: str, words: tuple[str, ...], remove: bool, results: ResultsPaths, out: Out) -> None:
    """Write a note on a trial of the sweep NAME, or print the note without TEXT.

    TRIAL is a number, a baseline's name, or best. The report, `sweep top`, `sweep show` and the table annotations of
    `sweep query` show notes. A new note replaces the old one. The sweep may be running.

    \b
    Examples:
      sweep note quickstart 3 "diverges with batch 64"
      sweep note quickstart/best "the one for the demo"
      sweep note quickstart 3 --remove
    """
    if "/" in name:
        trial, texts = None, words
    elif words:
        trial, texts = words[0], words[1:]
    else:
        raise RequestError(
            "no trial is named", hint=f'sweep note {name} TRIAL "text", or: sweep note {name}/TRIAL "text"'
        )
    if remove and texts:
        raise RequestError("--remove and a text contradict each other", hint="Leave one of them out.")
    text = "" if remove else " ".join(texts) if texts else None
    number, now = _annotated(results, name, trial, out, note=text)
    if text is None:
        out.result(now.note)
    else:
        out.say(f"trial {number}: {now.note or 'no note any more'}")


@click.command()
@click.argument("name", metavar="NAME[/TRIAL]")
@click.argument("trial", required=False)
@click.option("--remove", is_flag=True, help="Remove the star.")
@common_options
def star(name: str, trial: str | None, remove: bool, results: ResultsPaths, out: Out) -> None:
    """Give a trial of the sweep NAME a star.

    TRIAL is a number, a baseline's name, or best. The report, `sweep top`, `sweep show` and the table annotations of
    `sweep query` show stars.

    \b
    Examples:
      sweep star quickstart 3
      sweep star quickstart/best --remove
    """
    if "/" not in name and trial is None:
        raise RequestError("no trial is named", hint=f"sweep star {name} TRIAL")
    number, now = _annotated(results, name, trial, out, starred=not remove)
    out.say(f"trial {number}: {'★' if now.starred else 'no star any more'}")


def _annotated(results: ResultsPaths, name: str, trial: str | None, out: Out, **change: Any) -> tuple[int, Annotation]:
    """Changes what is noted of the trial that is meant; its number and what is noted now."""
    from sweep_runner.results.annotations import Annotation, annotate, annotation_file, read_annotations
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.trial_names import find_trial, split_name

    sweep, trial = split_name(name, trial)
    board = leaderboard(results, sweep)
    paths, number = results.sweep(board.sweep.sweep), find_trial(board, trial).trial
    if all(value is None for value in change.values()):
        return number, read_annotations(paths, out.warn).get(number, Annotation())
    try:
        now = annotate(results, paths.name, number, **change)
    except OSError as error:
        raise RequestError(
            f"{annotation_file(paths, number)} cannot be written ({error.strerror or error})",
            hint="The note is kept in the sweep's folder: you need the right to write there.",
        ) from error
    return number, now
