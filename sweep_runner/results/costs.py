"""What the trials of a leaderboard cost: the columns, their names in commands, and the order by one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainables.facts import NUM_FLOPS, NUM_PARAMETERS, ONNX_BYTES, ONNX_LATENCY

if TYPE_CHECKING:
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow

COSTS: Mapping[str, str] = {
    "latency": ONNX_LATENCY,
    "size": ONNX_BYTES,
    "parameters": NUM_PARAMETERS,
    "flops": NUM_FLOPS,
    "duration": "duration_s",
}
"""Name → its column of the `trials` table. Of each, less is better."""


def shown_costs(board: Leaderboard) -> list[str]:
    """The columns of costs that a table of a sweep shows: further objectives, and the latency where it was measured."""
    measured = any(row.row.get(ONNX_LATENCY) is not None for row in board.ranked)
    return list(dict.fromkeys([*(column for column, _ in board.goals), *([ONNX_LATENCY] if measured else [])]))


def cost(row: TrialRow, column: str) -> float | None:
    """What a trial has in a column of costs; None: it was not measured."""
    value = row.row.get(column)
    return value if isinstance(value, int | float) else None


def cheapest_first(rows: Sequence[TrialRow], column: str) -> list[TrialRow]:
    """Ranked rows by what they cost; of equals the better one first, and last what was not measured."""
    known = [row for row in rows if cost(row, column) is not None]
    return [*sorted(known, key=lambda row: cost(row, column) or 0.0), *(row for row in rows if row not in known)]
