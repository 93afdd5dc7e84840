"""The report's figures as PNG files, by matplotlib: no browser is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweep_runner.report import facts, param_plots, plots
from sweep_runner.report.charts.params import MAX_AXES, MAX_SLICES
from sweep_runner.report.facts import read_spec
from sweep_runner.report.param_order import by_importance, known_importances, number_pair
from sweep_runner.report.plot_data import best_and_baselines, read_confusion, read_curves
from sweep_runner.report.trial_study import study_of
from sweep_runner.results.answer import published_first
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.tables import Warn

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure


def write_pictures(results: ResultsPaths, name: str, folder: Path, warn: Warn) -> list[Path]:
    """Writes the figures of a sweep's report into a folder, which is made if need be; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, figure in _figures(results, name, warn):
        written.append(folder / f"{stem}.png")
        plots.save(figure, written[-1])
    return written


def _figures(results: ResultsPaths, name: str, warn: Warn) -> Iterator[tuple[str, Figure]]:
    board, paths = leaderboard(results, name), results.sweep(name)
    if not board.ranked:
        return
    important = best_and_baselines(board)
    curves = read_curves(paths, board.ranked, warn, board.objective)
    if curves:
        yield "learning-curves", plots.overview(curves, [row.trial for row in important], board.objective)
    yield from _param_figures(study_of(board, read_spec(paths)), board.objective)
    evaluated = facts.best_with_evaluation(paths, published_first(board))
    confusion = read_confusion(paths, *evaluated, warn) if evaluated else None
    if confusion is not None:
        for what, draw in plots.ABOUT_CONFUSIONS.items():
            yield f"{what}-{confusion.split}", draw([confusion])


def _param_figures(study: optuna.Study, objective: str) -> Iterator[tuple[str, Figure]]:
    if not any(trial.value is not None for trial in study.get_trials(deepcopy=False)):
        return
    found = known_importances(study)
    names, two = by_importance(study, found), number_pair(study, found)
    matters = [] if isinstance(found, str) else [one for one in found if one.known]
    yield "best-so-far", param_plots.best_so_far(study, objective)
    if matters:
        yield "importances", param_plots.importances(matters)
    if names:
        yield "parallel-coordinates", param_plots.parallel_coordinates(study, names[:MAX_AXES], objective)
        yield "slices", param_plots.slices(study, names[:MAX_SLICES], objective)
    if two:
        yield "two-hyperparameters", param_plots.pair(study, two, objective)
