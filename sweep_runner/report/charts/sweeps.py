"""Several sweeps in one figure, each in its colour and all on the same axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep_runner.report.charts.plot import Frame, Shown, dot, framed, line, num
from sweep_runner.report.charts.progress import HEIGHT, with_legend
from sweep_runner.report.charts.scales import Scale, choices, linear, logarithmic
from sweep_runner.report.plot_data import Curve
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.run_time import RunTime

MOST = 6
"""Sweeps in a figure: as many as there are colours that everybody can tell apart."""
_DECADES = 20
"""Times the least value: numbers further apart are drawn by their logarithm."""
_GOLDEN = 0.6180339887


@dataclass(frozen=True)
class Entry:
    """One of the sweeps.

    Attributes:
        board: its trials.
        ran: when it ran; None: not known.
        best: the learning curve of its best trial; None without one.
    """

    board: Leaderboard
    ran: RunTime | None
    best: Curve | None

    @property
    def name(self) -> str:
        return self.board.sweep.sweep

    @property
    def rows(self) -> list[TrialRow]:
        """The trials with a value, in the order of their ends."""
        rows = [row for row in self.board.ranked if row.value is not None and math.isfinite(row.value)]
        return sorted(rows, key=lambda row: (row.row["ended"] is None, row.row["ended"] or 0, row.trial))


def best_by_trials(entries: Sequence[Entry], objective: str, mode: str) -> Shown | None:
    """The best value after so many trials."""
    found = [list(enumerate(_best([row.value for row in each.rows], mode), 1)) for each in entries]
    return _steps(
        "best-by-trials", "Best value by number of trials", "trials that have ended", entries, found, objective
    )


def best_by_minutes(entries: Sequence[Entry], objective: str, mode: str) -> Shown | None:
    """The best value after so much time; without sweeps of which it is not known when they ran."""
    found = []
    for each in entries:
        rows = [row for row in each.rows if row.row["ended"] is not None]
        values = _best([row.value for row in rows], mode)
        places = [each.ran.before(row.row["ended"].timestamp()) / 60 for row in rows] if each.ran else []
        found.append(list(zip(places, values, strict=False)))
    title = "Best value over time"
    return _steps("best-by-minutes", title, "minutes of running, without pauses", entries, found, objective)


def best_curves(entries: Sequence[Entry], objective: str) -> Shown | None:
    """The learning curve of each sweep's best trial."""
    curves: list[list[tuple[float, float]]] = []
    for each in entries:
        values = each.best.metrics.get(objective, ()) if each.best else ()
        epochs = each.best.epochs if each.best else ()
        curves.append([(epoch, v) for epoch, v in zip(epochs, values, strict=False) if math.isfinite(v)])
    frame = _frame(curves, "epoch", objective, zero=False)
    if frame is None:
        return None
    parts = [
        f'<path class="{"dot" if len(points) == 1 else "line"} c{k}" '
        f'd="{line([(frame.px(x), frame.py(y)) for x, y in points])}"/>'
        for k, points in enumerate(curves)
        if points
    ]
    return _shown("best-curves", "Learning curves of the best trials", "epoch", objective, frame, entries, parts)


def every_trial(entries: Sequence[Entry], objective: str) -> Shown | None:
    """The values of all trials, sweep by sweep."""
    values = [row.value for each in entries for row in each.rows if row.value is not None]
    if not values:
        return None
    names = [each.name for each in entries]
    frame = framed(choices(names), linear(values), "", objective, height=HEIGHT)
    spots = [[(each.name, row.value, row.trial) for row in each.rows] for each in entries]
    return _shown("every-trial", "All trials", "", objective, frame, entries, _points(frame, spots, len(entries)))


def slices(entries: Sequence[Entry], objective: str, most: int = 6) -> list[Shown]:
    """The objective over each hyperparameter that all of the sweeps search."""
    common = [p for p in entries[0].board.params if all(p in each.board.params for each in entries)]
    drawn: list[Shown] = []
    for param in common[:most]:
        rows = [[row for row in each.rows if param in row.params] for each in entries]
        seen = [row.params[param] for own in rows for row in own]
        if len({str(value) for value in seen}) < 2 or not all(rows):
            continue
        scale, key = _scale(seen)
        values = [row.value for own in rows for row in own if row.value is not None]
        frame = framed(scale, linear(values), param, objective, width=380, height=280)
        spots = [[(key(row.params[param]), row.value, row.trial) for row in own] for own in rows]
        width = len(scale.ticks) if scale.is_choice else 0
        name = f"slice-{len(drawn)}"
        drawn.append(_shown(name, param, param, objective, frame, entries, _points(frame, spots, width)))
    return drawn


def _scale(values: Sequence[Any]) -> tuple[Scale, Callable[[Any], Any]]:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= 3:
        kinds = sorted(set(numbers)) if len(numbers) == len(values) else sorted({str(v) for v in values})
        return choices([str(each) for each in kinds]), str
    if min(numbers) > 0 and max(numbers) > _DECADES * min(numbers):
        return logarithmic(numbers), float
    return linear(numbers), float


def _points(frame: Frame, spots: Sequence[Sequence[tuple[Any, Any, int]]], choices_there: int) -> list[str]:
    """A path of dots per sweep; over names they are spread, so that trials do not hide each other."""
    room = 0.5 * (frame.width - frame.left - frame.right) / choices_there if choices_there else 0.0
    parts = []
    for k, own in enumerate(spots):
        placed = [(frame.px(x) + room * ((trial * _GOLDEN) % 1 - 0.5), frame.py(y)) for x, y, trial in own]
        parts.append(f'<path class="dot c{k}" d="{"".join(dot(*each) for each in placed)}"/>')
    return parts


def _best(values: Sequence[float | None], mode: str) -> list[float]:
    better = max if mode == "max" else min
    best: list[float] = []
    for value in values:
        assert value is not None
        best.append(better(best[-1], value) if best else value)
    return best


def _steps(
    name: str,
    title: str,
    unit: str,
    entries: Sequence[Entry],
    found: Sequence[Sequence[tuple[float, float]]],
    objective: str,
) -> Shown | None:
    frame = _frame(found, unit, objective, zero=True)
    if frame is None:
        return None
    parts = []
    for k, points in enumerate(found):
        if points:
            (x, y), *rest = points
            steps = "".join(f"H{num(frame.px(a))}V{num(frame.py(b))}" for a, b in rest)
            parts.append(f'<path class="line c{k}" d="M{num(frame.px(x))} {num(frame.py(y))}{steps}"/>')
            end = points[-1]
            parts.append(f'<path class="dot c{k}" d="{dot(frame.px(end[0]), frame.py(end[1]))}"/>')
    return _shown(name, title, unit, objective, frame, entries, parts)


def _frame(found: Sequence[Sequence[tuple[float, float]]], x_title: str, y_title: str, zero: bool) -> Frame | None:
    points = [each for own in found for each in own]
    if not points:
        return None
    whole = all(float(x).is_integer() for x, _ in points)
    xs, ys = linear([x for x, _ in points], zero=zero, whole=whole), linear([y for _, y in points])
    return framed(xs, ys, x_title, y_title, height=HEIGHT)


def _shown(
    name: str, title: str, x: str, y: str, frame: Frame, entries: Sequence[Entry], parts: Sequence[str]
) -> Shown:
    alt = f"{title}: {y} of {', '.join(each.name for each in entries)}"
    mark = (
        "dot" if any('class="dot' in part for part in parts) and not any("line c" in part for part in parts) else "line"
    )
    legend = [(f"{mark} c{k}", mark, each.name) for k, each in enumerate(entries)]
    content = [frame.axes(x, y), *parts]
    return Shown(name, title, "", with_legend(name, alt, frame.width, frame.height, content, legend))
