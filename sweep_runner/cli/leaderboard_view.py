"""How `sweep top` shows a leaderboard: the params as columns, and on a terminal what fits."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from sweep_runner.cli.common import Out
from sweep_runner.cli.tables import fits_terminal
from sweep_runner.cli.trial_view import SPREAD
from sweep_runner.results.annotations import Annotation
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.ranked_table import RankedTable
from trainables.facts import ONNX_LATENCY


def print_ranked(
    board: Leaderboard,
    rows: Sequence[TrialRow],
    out: Out,
    by: str | None = None,
    notes: Mapping[int, Annotation] | None = None,
) -> None:
    """Prints these trials of a leaderboard: on a terminal without constant columns, in one that fits.

    Args:
        board: the leaderboard.
        rows: those of its ranked trials that are shown.
        out: where to.
        by: the column of costs that the rows are ordered by; None: by the objective.
        notes: of trials, which get a last column.
    """
    table = RankedTable(board, rows, by, notes)
    if not sys.stdout.isatty():
        out.table(*table.plain)
        told = table.cost_notes
    else:
        spread = f"{board.objective}{SPREAD}"
        optional = [name for name in (spread, ONNX_LATENCY, "epoch", "95 %") if name != by]
        out.table(*(table.folded if fits_terminal(*table.folded) else table.narrow), optional=optional)
        told = table.notes
    for line in told:
        out.say(line)
