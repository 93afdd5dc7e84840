"""The report's linked figures and leaderboard on their own, as the explorer shows them."""

from __future__ import annotations

from collections.abc import Sequence

from sweep_runner.report import facts
from sweep_runner.report.board_table import board_table
from sweep_runner.report.charts.plot import Shown
from sweep_runner.report.drawn import draw
from sweep_runner.report.page import duration, page_environment, shown_rows
from sweep_runner.report.param_order import known_importances
from sweep_runner.report.plot_data import title_of
from sweep_runner.report.trial_study import study_of
from sweep_runner.results.annotations import read_annotations
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn

_ORDER = ("curves", "best", "parallel", "trade_off", "size_trade_off", "pair", "slices", "importances")


def linked_trials(board: Leaderboard, paths: SweepPaths, theme: str, warn: Warn) -> str:
    """A page for a frame of another.

    Args:
        board: the sweep's trials.
        paths: of the sweep.
        theme: `light` or `dark`.
        warn: told of what cannot be read.
    """
    study = study_of(board, facts.read_spec(paths))
    rows, notes = shown_rows(board), read_annotations(paths, warn)
    drawn = draw(board, rows, paths, study, known_importances(study), warn)
    return (
        page_environment()
        .get_template("explorer.html.j2")
        .render(
            name=board.sweep.sweep,
            theme=theme,
            rows=rows,
            titles=[title_of(row) for row in rows],
            notes=notes,
            states=sorted({row.state.lower() for row in rows}),
            left_out=len(board.ranked) - len(rows),
            table=board_table(board, rows, None, duration, notes),
            figures=_in_order([drawn[name] for name in _ORDER]),
        )
    )


def _in_order(found: Sequence[Shown | Sequence[Shown] | None]) -> list[Shown]:
    figures: list[Shown] = []
    for one in found:
        figures.extend([one] if isinstance(one, Shown) else one or [])
    return figures


def alone(shown: Shown, theme: str) -> str:
    """A page with one figure."""
    return page_environment().get_template("figure.html.j2").render(shown=shown, theme=theme)
