"""What trials cost: the objective against a cost, and where the time went."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sweep_runner.report.charts.plot import Shown, dot, framed, marks, num, svg, text
from sweep_runner.report.charts.progress import with_legend
from sweep_runner.report.charts.scales import choices, linear
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from trainables.facts import ONNX_BYTES

_UNITS = {
    "onnx_latency_ms": "milliseconds per image on one thread, in ONNX Runtime",
    ONNX_BYTES: "bytes of the ONNX file",
    "num_parameters": "parameters of the network",
    "num_flops": "floating-point operations per image",
    "duration_s": "seconds of training",
}


def trade_off(board: Leaderboard, shown: Collection[int] | None = None) -> Shown | None:
    """The objective against what a trial costs; trials that no other beats in both are joined.

    The cost is the second objective, if there is one; else latency, parameters or time, whichever is known and differs.

    Args:
        board: the sweep's trials.
        shown: the trials that are drawn, beside those on the line; None: all of them.
    """
    return _against(board, *_cost_of(board), searched=bool(board.goals), shown=shown)


def size_trade_off(board: Leaderboard, shown: Collection[int] | None = None) -> Shown | None:
    """The objective against the size of the model, where that was measured and is not drawn by `trade_off`."""
    if _cost_of(board)[0] in (ONNX_BYTES, "num_parameters") or len({row.goal(ONNX_BYTES) for row in board.ranked}) < 2:
        return None
    return _against(board, ONNX_BYTES, "min", _UNITS[ONNX_BYTES], searched=False, shown=shown)


def _against(
    board: Leaderboard, cost: str, way: str, unit: str, *, searched: bool, shown: Collection[int] | None
) -> Shown | None:
    """The figure; `searched`: the line is the front of all objectives, not of these two."""
    rows = [row for row in board.ranked if row.state in ("COMPLETED", "PAUSED") and row.value is not None]
    if not board.goals:
        rows = [row for row in rows if row.state == "COMPLETED"]
    rows = [row for row in rows if row.goal(cost) is not None]
    if len(rows) < 2:
        return None
    members = board.front if searched else _cheaper_or_better(rows, cost, board.mode)
    on_front = {row.trial for row in members}
    front = sorted((row for row in rows if row.trial in on_front), key=lambda row: row.goal(cost) or 0.0)
    costs = [row.goal(cost) or 0.0 for row in rows]
    frame = framed(linear(costs), linear([row.value or 0.0 for row in rows]), unit, board.objective)

    def spots(chosen: Sequence[TrialRow]) -> list[tuple[float, float]]:
        return [(frame.px(row.goal(cost)), frame.py(row.value)) for row in chosen]

    others = [row for row in rows if row.trial not in on_front and (shown is None or row.trial in shown)]
    drawn = [
        ("dot full", [(row.trial, dot(*at)) for row, at in zip(others, spots(others), strict=True)]),
        ("dot second", [(row.trial, dot(*at)) for row, at in zip(front, spots(front), strict=True)]),
    ]
    corners = spots(front)
    steps = f"M{num(corners[0][0])} {num(corners[0][1])}" if corners else ""
    for x, y in corners[1:]:
        steps += f"H{num(x)}V{num(y)}" if way == "min" else f"V{num(y)}H{num(x)}"
    about = f"Only {board.objective} was optimised. No trial is both better and cheaper than one on the line."
    if searched:
        names = ", ".join([board.objective, *(column for column, _ in board.goals)])
        about = f"The sweep optimised {names}. No trial beats one on the line in all of them."
    elif board.goals:
        about = f"{cost} was not optimised. No trial is both better and cheaper than one on the line."
    alt = f"Pareto front: {board.objective} against {cost} of {len(rows)} trials, {len(front)} on the front"
    path = f'<path class="line second" d="{steps}"/>' if steps else ""
    entries = [("dot full", "dot", "trials"), ("dot second", "dot", "Pareto front")]
    name = f"pareto-{cost}"
    content = [frame.axes(unit, board.objective), path, marks(drawn)]
    return Shown(
        name,
        f"Pareto front: {cost}",
        about,
        with_legend(name, alt, frame.width, frame.height, content, entries),
        "points",
    )


def time_spent(parts: Mapping[str, float]) -> Shown | None:
    """Where the workers' time went."""
    if not parts:
        return None
    frame = framed(
        linear([0.0, *parts.values()], zero=True), choices(list(parts)[::-1]), "seconds, over all workers", "",
        height=76 + 34 * len(parts), letters=34,
    )  # fmt: skip
    bars = []
    for what, seconds in parts.items():
        y, end = frame.py(what), frame.px(seconds)
        bars.append(
            f'<path class="bar" d="M{num(frame.left)} {num(y - 9)}H{num(end)}V{num(y + 9)}H{num(frame.left)}Z"/>'
        )
        inside = end > frame.width - 90
        place = "tick end inbar" if inside else "tick"
        bars.append(text(end - 6 if inside else end + 6, y + 4, f"{seconds:,.0f} s", place))
    alt = "Where the time went: " + ", ".join(f"{what} {seconds:.0f} s" for what, seconds in parts.items())
    content = [frame.axes("seconds, over all workers", ""), *bars]
    return Shown(
        "time", "Where the time went", "Sum over all trials.", svg("time", alt, frame.width, frame.height, content)
    )


def _cost_of(board: Leaderboard) -> tuple[str, str, str]:
    """The column that the objective is drawn against, which way is better, and what it is in words."""
    if board.goals:
        column, way = board.goals[0]
        return column, way, _UNITS.get(column, column)
    rows = [row for row in board.ranked if row.state == "COMPLETED"]
    for column in ("onnx_latency_ms", "num_parameters"):
        if len({row.goal(column) for row in rows}) > 1 and all(row.goal(column) is not None for row in rows):
            return column, "min", _UNITS[column]
    return "duration_s", "min", _UNITS["duration_s"]


def _cheaper_or_better(rows: Sequence[TrialRow], cost: str, mode: str) -> list[TrialRow]:
    """The rows that no other beats in the objective and in a cost."""
    sign = 1 if mode == "max" else -1
    front: list[TrialRow] = []
    for row in sorted(rows, key=lambda row: (row.goal(cost) or 0.0, -sign * (row.value or 0.0))):
        if not front or sign * (row.value or 0.0) > sign * (front[-1].value or 0.0):
            front.append(row)
    return front
