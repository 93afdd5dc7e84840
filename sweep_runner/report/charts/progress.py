"""How a sweep and its trials went on: best so far, learning curves."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from sweep_runner.report.charts.plot import (
    Shown,
    cross,
    dot,
    framed,
    legend,
    legend_height,
    line,
    marks,
    num,
    svg,
)
from sweep_runner.report.charts.scales import linear
from sweep_runner.report.plot_data import Curve, title_of
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.run_time import RunTime

MAX_POINTS = 60_000
"""Of all learning curves together: with more, each has fewer of its epochs, evenly spread."""
NUM_COLORS = 6
_STATES = (
    ("COMPLETED", "dot full", "dot", "completed"),
    ("RUNNING", "dot soft", "dot", "running or waiting"),
    ("PAUSED", "dot soft", "dot", "paused"),
    ("PRUNED", "cross soft", "cross", "pruned"),
)
HEIGHT = 340.0


def best_so_far(board: Leaderboard, ran: RunTime | None = None, shown: Collection[int] | None = None) -> Shown | None:
    """The objective of every trial in the order of their ends, and the best up to then.

    Args:
        board: the sweep's trials.
        ran: when the sweep ran; None: not known, and pauses are drawn as if it had.
        shown: the trials that are drawn; None: all of them. The line is of all.
    """
    rows = [row for row in board.ranked if row.value is not None]
    if not rows:
        return None
    timed = all(row.row.get("ended") is not None for row in rows)
    rows.sort(key=lambda row: (row.row["ended"], row.trial) if timed else (row.trial, row.trial))
    start = min((row.row["started"] for row in rows if row.row.get("started") is not None), default=None)
    timed = timed and (ran is not None or start is not None)
    places: list[float] = [
        row.trial
        if not timed
        else (ran.before(row.row["ended"].timestamp()) if ran else (row.row["ended"] - start).total_seconds()) / 60
        for row in rows
    ]
    best: list[float] = []
    for row in rows:
        assert row.value is not None
        better = max if board.mode == "max" else min
        best.append(row.value if not best else better(best[-1], row.value))
    unit = "trial" if not timed else "minutes of running, without pauses" if ran else "minutes since the first start"
    frame = framed(
        linear(places, zero=True, whole=not timed),
        linear([row.value for row in rows if row.value is not None]),
        unit, board.objective, height=HEIGHT,
    )  # fmt: skip
    drawn, entries = [], []
    for state, kind, mark, words in _STATES:
        own = [
            (row.trial, (cross if mark == "cross" else dot)(frame.px(places[k]), frame.py(row.value)))
            for k, row in enumerate(rows)
            if (row.state if row.state != "WAITING" else "RUNNING") == state and (shown is None or row.trial in shown)
        ]
        if own:
            drawn.append((kind, own))
            entries.append((kind, mark, words))
    steps = f"M{num(frame.px(places[0]))} {num(frame.py(best[0]))}" + "".join(
        f"H{num(frame.px(place))}V{num(frame.py(value))}" for place, value in zip(places[1:], best[1:], strict=True)
    )
    entries.append(("line second", "line", "best so far"))
    parts = [frame.axes(unit, board.objective), f'<path class="line second" d="{steps}"/>', marks(drawn)]
    alt = f"Best so far: {board.objective} of {len(rows)} trials, the best {best[-1]:.4g}"
    return Shown(
        "best-so-far", "Best so far", "Each point is a trial; the line is the best value so far.",
        with_legend("best-so-far", alt, frame.width, frame.height, parts, entries), "points",
    )  # fmt: skip


def learning_curves(board: Leaderboard, curves: Sequence[Curve], important: Sequence[TrialRow]) -> Shown | None:
    """The objective by epoch: the best and the baselines in colour, trials that stopped early faint.

    Args:
        board: the sweep's trials.
        curves: of those that are drawn.
        important: the trials that are named in the figure.
    """
    with_values = [curve for curve in curves if _points(curve, board.objective)]
    if not with_values:
        return None
    named = {row.trial: title_of(row) for row in important[:NUM_COLORS]}
    states = {row.trial: row.state for row in (*board.ranked, *board.unranked)}
    values = [value for curve in with_values for _, value in _points(curve, board.objective)]
    longest = max(curve.epochs[-1] for curve in with_values)
    first = min(curve.epochs[0] for curve in with_values)
    frame = framed(
        linear([first, longest], whole=True, wanted=8), linear(values), "epoch", board.objective, height=HEIGHT
    )
    room = max(10, MAX_POINTS // len(with_values))
    faint: list[tuple[int, str]] = []
    plain: list[tuple[int, str]] = []
    colored: list[tuple[str, list[tuple[int, str]]]] = []
    entries: list[tuple[str, str, str]] = []
    thinned = False
    for curve in with_values:
        parts = _pieces(curve, board.objective)
        step = math.ceil(len(curve.epochs) / room)
        thinned = thinned or step > 1
        drawn = [
            (curve.trial, line([(frame.px(epoch), frame.py(value)) for epoch, value in _every(piece, step)]))
            for piece in parts
        ]
        if curve.trial in named:
            kind = f"line c{list(named).index(curve.trial)}"
            colored.append((kind, drawn))
        else:
            (faint if states.get(curve.trial) in ("PRUNED", "PAUSED") else plain).extend(drawn)
    crowded = " crowd" if len(with_values) > 100 else ""
    groups = [(f"line soft{crowded}", faint), (f"line full{crowded}", plain), *colored]
    if faint:
        entries.append(("line soft", "line", "pruned or paused"))
    if plain:
        entries.append(("line full", "line", "ran to their end"))
    entries += [(f"line c{place}", "line", title) for place, (trial, title) in enumerate(named.items())
                if any(curve.trial == trial for curve in with_values)]  # fmt: skip
    about = "Pruned and paused trials are faint; the best trial and the baselines are named."
    if thinned:
        about += f" Of long curves {room} epochs are drawn, evenly spread."
    alt = f"Learning curves: {board.objective} by epoch of {len(with_values)} trials"
    content = [frame.axes("epoch", board.objective), marks(_one_class_each(groups))]
    return Shown(
        "learning-curves", "Learning curves", about,
        with_legend("learning-curves", alt, frame.width, frame.height, content, entries), "lines",
    )  # fmt: skip


def with_legend(
    name: str, alt: str, width: float, height: float, parts: Sequence[str], entries: Sequence[tuple[str, str, str]]
) -> str:
    """The figure with its legend below."""
    more = legend_height(entries, width - 40)
    return svg(name, alt, width, height + more + 6, [*parts, legend(entries, 30, height + 16, width - 40)])


def _points(curve: Curve, metric: str) -> list[tuple[int, float]]:
    """Epochs with a finite value."""
    values = curve.metrics.get(metric, ())
    return [(epoch, value) for epoch, value in zip(curve.epochs, values, strict=False) if math.isfinite(value)]


def _pieces(curve: Curve, metric: str) -> list[list[tuple[int, float]]]:
    """The parts of a curve between epochs without a finite value."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for epoch, value in zip(curve.epochs, curve.metrics[metric], strict=True):
        if math.isfinite(value):
            pieces[-1].append((epoch, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _every(piece: list[tuple[int, float]], step: int) -> list[tuple[int, float]]:
    return piece if step == 1 else [*piece[:-1:step], piece[-1]]


def _one_class_each(groups: Sequence[tuple[str, list[tuple[int, str]]]]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Lines, and apart from them those that are a dot: a trial of one epoch has no line, and would not be seen."""
    split = []
    for kind, drawn in groups:
        split.append((kind, [one for one in drawn if not one[1].endswith("h0")]))
        split.append((kind.replace("line", "dot", 1), [one for one in drawn if one[1].endswith("h0")]))
    return split
