"""Figures of a sweep's hyperparameters by matplotlib, as the report's page has them. See `plots.py` for the style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from sweep_runner.report.importance import Importance
from sweep_runner.report.plots import BLUE, LONGEST_NAME, ORANGE, STYLE
from sweep_runner.report.study_trials import number_of, value_of, valued_trials

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial

_COLUMNS = 3
_ROTATED_FROM = 12  # letters of all names of an axis, for each inch of it that they would have


def best_so_far(study: optuna.Study, objective: str) -> Figure:
    """Each trial's value, and the best until then."""
    with rc_context(STYLE):
        figure, axes = _figure(1, 1, 6.4, 3.8)
        trials, better = valued_trials(study), max if study.direction.name == "MAXIMIZE" else min
        numbers, values = [number_of(trial) for trial in trials], [value_of(trial) for trial in trials]
        best = [better(values[: k + 1]) for k in range(len(values))]
        axes[0].step(numbers, best, where="post", color=ORANGE, label="best so far")
        axes[0].plot(numbers, values, "o", color=BLUE, markersize=4.5, label="trial", alpha=0.8)
        axes[0].set(xlabel="trial", ylabel=objective, title="Best so far")
        axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend(frameon=False, loc="best")
        return figure


def importances(matters: Sequence[Importance]) -> Figure:
    """Importances with their intervals, the highest on top."""
    with rc_context(STYLE):
        shown = matters[::-1]
        figure, axes = _figure(1, 1, 6.4, 1.2 + 0.4 * len(shown))
        ends = [[max(0.0, one.share - one.low) for one in shown], [max(0.0, one.high - one.share) for one in shown]]
        axes[0].barh([one.name for one in shown], [one.share for one in shown], xerr=ends, color=BLUE, ecolor="#555555")
        axes[0].set(xlabel="share", title="Hyperparameter importance")
        return figure


def slices(study: optuna.Study, names: Sequence[str], objective: str) -> Figure:
    """The objective over each hyperparameter on its own."""
    with rc_context(STYLE):
        columns = min(_COLUMNS, len(names))
        figure, axes = _figure(math.ceil(len(names) / columns), columns, 3.4 * columns, 3.0)
        trials = valued_trials(study)
        for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
            axis.plot(
                _places(trials, name), [value_of(trial) for trial in trials], "o", color=BLUE, markersize=4.5, alpha=0.7
            )
            _scale(axis, trials, name, figure.get_figwidth() / columns)
            axis.set_xlabel(name)
            if number % columns == 0:
                axis.set_ylabel(objective)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        figure.suptitle(f"{objective} over one hyperparameter at a time")
        return figure


def parallel_coordinates(study: optuna.Study, names: Sequence[str], objective: str) -> Figure:
    """One line per trial from its value over its hyperparameters; the darker, the better."""
    with rc_context(STYLE):
        figure, axes = _figure(1, 1, 2.2 + 1.8 * len(names), 4.2)
        ranks = _ranks(study)
        trials = sorted(valued_trials(study), key=lambda trial: ranks[trial.number])  # the best on top
        columns: list[tuple[list[float], str | None]] = [([value_of(trial) for trial in trials], None)]
        columns += [(_places(trials, name), name) for name in names]
        heights = []
        for x, (places, name) in enumerate(columns):
            low, high, log = min(places), max(places), name is not None and _is_log(trials, name)
            heights.append([_share(place, low, high, log) for place in places])
            ticks = _ticks(trials, name, low, high, log)
            axes[0].axvline(x, color="#555555", linewidth=0.8, zorder=1)
            for value, told in ticks:
                axes[0].annotate(
                    told, (x, _share(value, low, high, log)), (4, 0), textcoords="offset points", va="center",
                    fontsize=8, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                )  # fmt: skip
        shades = _shades(len(trials))
        for line, color in zip(zip(*heights, strict=True), shades, strict=True):
            axes[0].plot(range(len(columns)), line, color=color, linewidth=1.2, zorder=2)
        axes[0].set_xticks(range(len(columns)), [objective, *names], rotation=20, ha="right")
        axes[0].yaxis.set_major_locator(NullLocator())
        axes[0].set_xlim(-0.1, len(columns) - 0.4)
        axes[0].spines[:].set_visible(False)
        axes[0].grid(visible=False)
        axes[0].set_title(f"Parallel coordinates: one line per trial, the darker, the better {objective}")
        return figure


def pair(study: optuna.Study, names: Sequence[str], objective: str) -> Figure:
    """Two hyperparameters against each other, the objective as shade. Only what was tried is drawn."""
    with rc_context(STYLE):
        figure, axes = _figure(1, 1, 6.4, 4.4)
        ranks = _ranks(study)
        trials = sorted(valued_trials(study), key=lambda trial: ranks[trial.number])
        xs, ys = (_places(trials, name) for name in names)
        axes[0].scatter(xs, ys, c=_shades(len(trials)), s=36, edgecolors="#555555", linewidths=0.5, zorder=2)
        _scale(axes[0], trials, names[0], figure.get_figwidth())
        if _is_log(trials, names[1]):
            axes[0].set_yscale("log")
            _log_ticks(axes[0].yaxis)
        axes[0].set(xlabel=names[0], ylabel=names[1], title=f"The darker, the better {objective}")
        return figure


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flatten())


def _scale(axis: Axes, trials: Sequence[FrozenTrial], name: str, inches: float) -> None:
    """The axis of one hyperparameter: its choices by name, a logarithm with few ticks, or numbers."""
    choices = _choices(trials, name)
    if choices is not None:
        crowded = sum(map(len, choices)) > _ROTATED_FROM * inches / 1.2
        axis.set_xticks(range(len(choices)), choices)
        if crowded:
            axis.tick_params("x", rotation=25)
            for label in axis.get_xticklabels():
                label.set_horizontalalignment("right")
        axis.set_xlim(-0.5, len(choices) - 0.5)
    elif _is_log(trials, name):
        axis.set_xscale("log")
        _log_ticks(axis.xaxis)


def _log_ticks(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each power of ten, or at the powers where there are many."""
    low, high = axis.get_view_interval()
    powers = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 3) if powers < 2.5 else (1,)))
    if powers < 1:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _ticks(
    trials: Sequence[FrozenTrial], name: str | None, low: float, high: float, log: bool
) -> list[tuple[float, str]]:
    """Values to write beside an axis of parallel coordinates."""
    choices = None if name is None else _choices(trials, name)
    if choices is not None:
        present = sorted({int(place) for place in _places(trials, str(name))})
        return [(place, choices[place]) for place in present]
    middle = math.sqrt(low * high) if log else (low + high) / 2
    return [(value, f"{value:.3g}") for value in ((low, middle, high) if high > low else (low,))]


def _share(value: float, low: float, high: float, log: bool) -> float:
    if low == high:
        return 0.5
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _places(trials: Sequence[FrozenTrial], name: str) -> list[float]:
    """Where each trial lies on a hyperparameter's axis; a choice by its position."""
    choices = _choices(trials, name)
    if choices is not None:
        return [float(choices.index(_told(trial.params[name]))) for trial in trials]
    return [float(trial.params[name]) for trial in trials]


def _choices(trials: Sequence[FrozenTrial], name: str) -> list[str] | None:
    from optuna.distributions import CategoricalDistribution

    distribution = trials[0].distributions[name]
    return [_told(each) for each in distribution.choices] if isinstance(distribution, CategoricalDistribution) else None


def _told(choice: Any) -> str:
    text = str(choice)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _is_log(trials: Sequence[FrozenTrial], name: str) -> bool:
    return bool(getattr(trials[0].distributions[name], "log", False))


def _ranks(study: optuna.Study) -> dict[int, int]:
    """Number of a trial → its rank, the worst first."""
    ordered = sorted(valued_trials(study), key=value_of, reverse=study.direction.name != "MAXIMIZE")
    return {trial.number: rank for rank, trial in enumerate(ordered)}


def _shades(number: int) -> list[tuple[float, float, float]]:
    """From light to dark blue."""
    light, dark = (0.80, 0.87, 0.93), (0.0, 0.22, 0.40)
    steps = [k / max(1, number - 1) for k in range(number)]
    return [tuple(a + (b - a) * step for a, b in zip(light, dark, strict=True)) for step in steps]  # type: ignore[misc]
