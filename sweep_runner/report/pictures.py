"""The report's figures as PNG files, by matplotlib: no browser is needed. Optuna's own where it has one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.report import facts, plots
from sweep_runner.report.charts.params import MAX_SLICES
from sweep_runner.report.facts import read_spec
from sweep_runner.report.importance import Importance
from sweep_runner.report.param_order import by_importance, known_importances, number_pair
from sweep_runner.report.plot_data import best_and_baselines, read_confusion, read_curves
from sweep_runner.report.trial_study import study_of
from sweep_runner.results.answer import published_first
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.tables import Warn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_pictures(results: ResultsPaths, name: str, folder: Path, warn: Warn) -> list[Path]:
    """Writes the figures of a sweep's report into a folder, which is made if need be; their files."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, figure in _figures(results, name, warn):
        written.append(folder / f"{stem}.png")
        with matplotlib.rc_context({"savefig.bbox": "tight"}):  # Optuna's figures reach beyond their edges
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
    yield from _optuna_figures(study_of(board, read_spec(paths)), board.objective)
    evaluated = facts.best_with_evaluation(paths, published_first(board))
    confusion = read_confusion(paths, *evaluated, warn) if evaluated else None
    if confusion is not None:
        for what, draw in plots.ABOUT_CONFUSIONS.items():
            yield f"{what}-{confusion.split}", draw([confusion])


def _optuna_figures(study: Any, objective: str) -> Iterator[tuple[str, Figure]]:
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib as of_optuna

    found = known_importances(study)
    names, pair = by_importance(study, found), number_pair(study, found)
    matters = [] if isinstance(found, str) else [one for one in found if one.known]
    named: dict[str, Any] = {"target_name": objective}
    wanted: list[tuple[str, Callable[[], Any], bool]] = [
        ("best-so-far", lambda: of_optuna.plot_optimization_history(study, **named), True),
        ("importances", lambda: _bars(matters), bool(matters)),
        ("parallel-coordinates", lambda: of_optuna.plot_parallel_coordinate(study, names[:8], **named), bool(names)),
        ("slices", lambda: of_optuna.plot_slice(study, names[:MAX_SLICES], **named), bool(names)),
        ("contour", lambda: of_optuna.plot_contour(study, pair, **named), bool(pair)),
    ]
    for stem, draw, possible in wanted:
        if not possible:
            continue
        # Optuna sets a style for the whole process, which later figures are to be spared.
        with warnings.catch_warnings(), plt.rc_context():
            warnings.simplefilter("ignore")  # Optuna calls these experimental, and they are as old as it is
            draw()
            figure = plt.gcf()
            figure.draw_without_rendering()  # makes the ticks in Optuna's style: ours takes no formulas
        yield stem, figure
        plt.close(figure)


def _bars(matters: Sequence[Importance]) -> None:
    """Importances with their intervals, the highest on top."""
    import matplotlib.pyplot as plt

    shown = matters[::-1]
    _, axes = plt.subplots()
    ends = [[max(0.0, one.share - one.low) for one in shown], [max(0.0, one.high - one.share) for one in shown]]
    axes.barh([one.name for one in shown], [one.share for one in shown], xerr=ends)
    axes.set_xlabel("share")
    axes.set_title("Hyperparameter importance")
