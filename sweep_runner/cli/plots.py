"""`sweep plots`: figures of a sweep's trials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.trial_names import find_trials, split_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sweep_runner.report.plot_data import Confusion
    from sweep_runner.results.leaderboard import Leaderboard
    from sweep_runner.results.paths import SweepPaths

SPLITS = ("test", "val")
_MOST_NAMED = 8


@click.command()
@click.argument("name", metavar="NAME[/TRIAL]")
@click.argument("trial", required=False)
@click.option(
    "--trial",
    "trial_option",
    multiple=True,
    metavar="TRIAL",
    help="Trial: its number, a baseline's name, or best. Give it again for more.",
)
@click.option("--all", "every", is_flag=True, help="Draw every trial.")
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Compare two trials or baselines side by side, on val, with the same scales.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the figures (default: in the sweep's folder).",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["png", "svg"]),
    default="png",
    show_default=True,
    help="Format of the figures.",
)
@common_options
def plots(
    name: str,
    trial: str | None,
    trial_option: tuple[str, ...],
    every: bool,
    compare: tuple[str, str] | None,
    output: Path | None,
    file_format: str,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Draw figures of the sweep NAME: learning curves, confusion matrices, most confused pairs, classes. Prints their
    paths.

    The default: all learning curves in one figure, and figures of the best trial and of each baseline. Confusion
    matrices need a final evaluation: the best trial has one on val and test, baselines on val.

    \b
    Examples:
      sweep plots quickstart
      sweep plots quickstart 3
      sweep plots quickstart --trial 3 --trial cnn-adam --format svg
      sweep plots sports-balls --compare adam-max sgd-avg
    """
    from sweep_runner.report.plots import save
    from sweep_runner.results.leaderboard import leaderboard

    name, first = split_name(name, trial)
    trials = (*(() if first is None else (first,)), *trial_option)
    if compare and (trials or every):
        raise RequestError("--compare draws two trials and no others", hint="leave --trial and --all out")
    if trials and every:
        raise RequestError("--all and --trial contradict each other", hint="leave one of them out")
    board = leaderboard(results, name)
    paths = results.sweep(name)
    folder = paths.plots if output is None else output.expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--output {output}: is not a folder", hint="Choose a folder; it is created if necessary.")
    figures = _comparison(board, paths, compare, out) if compare else _of_trials(board, paths, trials, every, out)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, figure in figures:
        file = folder / f"{stem}.{file_format}"
        save(figure, file)
        out.result(str(file))


def _of_trials(
    board: Leaderboard, paths: SweepPaths, names: Sequence[str], every: bool, out: Out
) -> list[tuple[str, Figure]]:
    from sweep_runner.report import plots as draw
    from sweep_runner.report.plot_data import best_and_baselines, read_confusion, read_curves

    rows = [row for row in (*board.ranked, *board.unranked) if row.row["copy_of"] is None]
    important = best_and_baselines(board)
    if names:
        chosen = rows = find_trials(board, names)
        important = chosen
    else:
        chosen = rows if every else important
    curves = read_curves(paths, rows, out.warn, board.objective)
    if not curves:
        raise RequestError("nothing to draw yet: no epoch was reported", hint=f"sweep top {board.sweep.sweep}")
    # Named trials have a file of their own: that of all trials is not to be overwritten by a figure of one.
    together = f"curves-of-{_joined([row.trial for row in rows])}" if names else "curves"
    figures = [(together, draw.overview(curves, [row.trial for row in important], board.objective))]
    by_trial = {curve.trial: curve for curve in curves}
    for row in chosen:
        stem = f"trial-{row.trial}"
        if row.trial in by_trial:
            figures.append((f"{stem}-curves", draw.learning_curves([by_trial[row.trial]], board.objective)))
        for split in SPLITS:
            confusion = read_confusion(paths, row, split, out.warn)
            if confusion is not None:
                figures += [
                    (f"{stem}-{split}-{what}", function([confusion]))
                    for what, function in draw.ABOUT_CONFUSIONS.items()
                ]
    return figures


def _joined(trials: Sequence[int]) -> str:
    """Trials in the name of a file, which may not be of any length: `3-7`; of many the first, and how many more."""
    more = f"-and-{len(trials) - _MOST_NAMED}-more" if len(trials) > _MOST_NAMED else ""
    return "-".join(map(str, trials[:_MOST_NAMED])) + more


def _comparison(board: Leaderboard, paths: SweepPaths, names: tuple[str, str], out: Out) -> list[tuple[str, Figure]]:
    from sweep_runner.report import plots as draw
    from sweep_runner.report.plot_data import read_confusion, read_curves

    rows = find_trials(board, names)
    if len(rows) < 2:
        raise RequestError(f"{names[0]} and {names[1]} are the same trial ({rows[0].trial}): name two")
    curves = read_curves(paths, rows, out.warn, board.objective)
    if len(curves) < 2:
        raise RequestError(f"{names[0]} and {names[1]} cannot be compared yet: one of them has reported no epoch")
    stem = "compare-" + "-".join(re.sub(r"[^\w.-]+", "_", name) for name in names)
    figures = [(f"{stem}-curves", draw.learning_curves(curves, board.objective))]
    found = [(row, read_confusion(paths, row, "val", out.warn)) for row in rows]
    confusions: list[Confusion] = [confusion for _, confusion in found if confusion is not None]
    if len(confusions) == 2:
        figures += [(f"{stem}-val-{what}", function(confusions)) for what, function in draw.ABOUT_CONFUSIONS.items()]
    else:
        lacking = ", ".join(str(row.trial) for row, confusion in found if confusion is None)
        out.say(f"no confusions: no final evaluation of trial {lacking} (the best trial and baselines have one)")
    return figures
