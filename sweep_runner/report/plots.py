"""Figures: learning curves, confusions, classes, calibration; of one trial, or of two side by side.

Every function returns a matplotlib figure, made without pyplot: nothing global is touched, no window opens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sweep_runner.report.plot_data import Confusion, Curve

# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "figure.titlesize": 11,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $
    "figure.dpi": 100,
    "savefig.dpi": 150,  # read when a figure is written
}
LONGEST_NAME = 24
"""Longer class names are cut: they would take the room of the plot."""
NUM_PAIRS = 15
_NUM_WITH_COUNTS = 20  # classes up to which each cell of a confusion matrix says its count
_NAMED_CURVES = 8  # trials that a figure of many names; the others are grey


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format that the file's ending names; the same figure gives the same file."""
    with rc_context({**STYLE, "svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def overview(curves: Sequence[Curve], highlighted: Sequence[int], objective: str) -> Figure:
    """Every trial's learning curve in one figure; the highlighted ones in colour and named.

    Args:
        curves: at least one.
        highlighted: numbers of trials, the most important first.
        objective: the sweep's metric.
    """
    with rc_context(STYLE):
        metrics = _present(curves, ["train_loss", "val_loss", "train_accuracy", "val_accuracy", objective])
        columns = min(2, len(metrics))
        rows = math.ceil(len(metrics) / columns)
        figure = Figure(figsize=(4.6 * columns, 2.9 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        colors = dict(zip(list(highlighted)[:_NAMED_CURVES], COLORS, strict=False))
        for axis, metric in zip(axes, metrics, strict=False):
            for curve in sorted(curves, key=lambda curve: curve.trial in colors):
                if metric in curve.metrics:
                    bold = curve.trial in colors
                    axis.plot(
                        curve.epochs,
                        curve.metrics[metric],
                        color=colors.get(curve.trial, "#BBBBBB"),
                        linewidth=1.8 if bold else 0.8,
                        zorder=3 if bold else 2,
                        **_marks(curve),
                        label=curve.title if bold else None,
                    )
            _finish_curve_axis(axis, metric, [curve.metrics.get(metric, ()) for curve in curves])
        for axis in axes[len(metrics) :]:
            axis.set_axis_off()
        handles = dict(pair for axis in axes for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        order = {curve.title: list(colors).index(curve.trial) for curve in curves if curve.trial in colors}
        handles = dict(sorted(handles.items(), key=lambda item: order[item[0]]))
        if handles:
            figure.legend(
                list(handles.values()),
                list(handles),
                loc="outside lower center",
                ncols=min(3, len(handles)),
                frameon=False,
            )
        figure.suptitle(f"Learning curves of {len(curves)} trial{'s' if len(curves) != 1 else ''}")
        return figure


def learning_curves(curves: Sequence[Curve], objective: str) -> Figure:
    """Loss and accuracy on train and val: a column a trial, with the same scales, so that two compare.

    Args:
        curves: of one trial, or of two side by side.
        objective: the sweep's metric; shown, too, where it is no accuracy.
    """
    with rc_context(STYLE):
        kinds = [kind for kind in ("loss", "accuracy") if _present(curves, [f"train_{kind}", f"val_{kind}"])]
        own = objective.partition("_")[2] if objective.startswith(("train_", "val_")) else objective
        if own not in kinds:
            kinds.append(own)
        across = len(curves) == 1
        rows, columns = (1, len(kinds)) if across else (len(kinds), len(curves))
        figure = Figure(figsize=(4.4 * columns, 3.1 * rows + 0.3), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey="none" if across else "row")
        for column, curve in enumerate(curves):
            for row, kind in enumerate(kinds):
                axis = axes[0, row] if across else axes[row, column]
                _draw_curve(axis, curve, kind)
                shown = [other.metrics.get(metric, ()) for other in curves for metric, *_ in _lines_of(kind)]
                _finish_curve_axis(axis, kind, shown)
                if not across and row == 0:
                    axis.set_title(curve.title)
        if across:
            figure.suptitle(curves[0].title)
        return figure


def _draw_curve(axis: Axes, curve: Curve, kind: str) -> None:
    for metric, label, color in _lines_of(kind):
        values = curve.metrics.get(metric)
        if values is not None:
            axis.plot(curve.epochs, values, color=color, label=label, linewidth=1.8, **_marks(curve))
    if curve.best_epoch is not None and len(curve.epochs) > 1:
        axis.axvline(curve.best_epoch, color=GREY, linewidth=1, linestyle=":", label=f"best epoch ({curve.best_epoch})")
    axis.legend(frameon=False)


def _lines_of(kind: str) -> tuple[tuple[str, str, str], ...]:
    """The metrics of a kind, each with its label and colour; one that belongs to no split has its own name."""
    return (f"train_{kind}", "train", BLUE), (f"val_{kind}", "val", ORANGE), (kind, kind, ORANGE)


def _marks(curve: Curve) -> dict[str, Any]:
    """A line through one point is not seen: points are marked while there are few."""
    return {"marker": "o", "markersize": 4} if len(curve.epochs) <= 10 else {}


def _finish_curve_axis(axis: Axes, metric: str, shown: Iterable[Sequence[float]]) -> None:
    axis.set_xlabel("epoch")
    axis.set_ylabel(metric.replace("_", " "))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    values = np.array([value for series in shown for value in series if math.isfinite(value)])
    if "loss" in metric and len(values) and values.min() > 0 and values.max() > 50 * float(np.median(values)):
        axis.set_yscale("log")  # one trial that diverged would press all others into a line


def confusion_matrix(confusions: Sequence[Confusion]) -> Figure:
    """The confusion matrix of one trial, or of two side by side; of labels, a 2×2 matrix each.

    Args:
        confusions: all with the same classes.
    """
    with rc_context({**STYLE, "axes.grid": False}):
        if confusions[0].matrix is None:
            return _label_matrices(confusions)
        num_classes = len(confusions[0].classes)
        side = _side(num_classes)
        margin = 0.55 + 0.075 * max(map(len, _short(confusions[0].classes)))
        figure = Figure(figsize=((side + margin) * len(confusions) + 0.8, side + margin + 0.4), layout="constrained")
        axes = figure.subplots(1, len(confusions), squeeze=False)[0]
        for axis, confusion in zip(axes, confusions, strict=True):
            image = _draw_matrix(axis, confusion)
        bar = figure.colorbar(image, ax=list(axes), shrink=0.6, pad=0.02)
        bar.set_label("share of the actual class")
        bar.outline.set_visible(False)
        return figure


def _side(num_classes: int) -> float:
    """Inches."""
    return max(2.4, num_classes * (0.42 if num_classes <= _NUM_WITH_COUNTS else 0.2 if num_classes <= 50 else 0.14))


def _draw_matrix(axis: Axes, confusion: Confusion):  # type: ignore[no-untyped-def]
    matrix = confusion.matrix
    assert matrix is not None
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names, num_classes = _short(confusion.classes), len(confusion.classes)
    size = 9 if num_classes <= _NUM_WITH_COUNTS else 8
    large = 10 + 0.09 * max(0, num_classes - _NUM_WITH_COUNTS)  # points: titles grow with the figure
    axis.set_xticks(range(num_classes), names, rotation=90, fontsize=size)
    axis.set_yticks(range(num_classes), names, fontsize=size)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("predicted", fontsize=large)
    axis.set_ylabel("actual", fontsize=large)
    right = int(np.trace(matrix))
    axis.set_title(
        f"{confusion.title}\n{confusion.split}: {right:,} of {matrix.sum():,} right ({_share(right, matrix.sum())})",
        fontsize=large,
    )
    if num_classes <= _NUM_WITH_COUNTS:
        for row, column in np.argwhere(matrix):
            color = "white" if shares[row, column] > 0.55 else "#333333"
            text = f"{matrix[row, column]:,}"
            axis.text(column, row, text, ha="center", va="center", color=color, fontsize=8 if len(text) < 4 else 6.5)
    return image


def _label_matrices(confusions: Sequence[Confusion]) -> Figure:
    names = confusions[0].classes
    columns = min(len(names), 6 if len(confusions) == 1 else 4)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=((1.55 * columns + 0.5) * len(confusions), 1.85 * rows + 0.7), layout="constrained")
    parts = figure.subfigures(1, len(confusions), squeeze=False)[0]
    for part, confusion in zip(parts, confusions, strict=True):
        assert confusion.labels is not None
        axes = part.subplots(rows, columns, squeeze=False).flatten()
        for number, (axis, name) in enumerate(zip(axes, _short(names, 16), strict=False)):
            # yes first, as people read it: found, missed; said by mistake, rightly not said
            matrix = confusion.labels[number][::-1, ::-1]
            shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(2, 2):
                color = "white" if shares[row, column] > 0.55 else "#333333"
                axis.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=color, fontsize=8)
            axis.set_xticks([0, 1], ["yes", "no"] if number >= len(names) - columns else ["", ""], fontsize=7)
            axis.set_yticks([0, 1], ["yes", "no"] if number % columns == 0 else ["", ""], fontsize=7)
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
            axis.set_title(f"{name}\nF1 {confusion.f1[number]:.2f}", fontsize=8)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        part.supxlabel("predicted", fontsize=9)
        part.supylabel("actual", fontsize=9)
        part.suptitle(f"{confusion.title}, {confusion.split}")
    return figure


def confused_pairs(confusions: Sequence[Confusion]) -> Figure:
    """The pairs of classes that were confused most often, of one trial or of two side by side."""
    with rc_context({**STYLE, "axes.grid.axis": "x"}):
        shown = [confusion.pairs[:NUM_PAIRS] for confusion in confusions]
        height = 0.27 * max(1, *map(len, shown)) + 1.0
        figure = Figure(figsize=(6.2 * len(confusions), height), layout="constrained")
        axes = figure.subplots(1, len(confusions), squeeze=False, sharex=True)[0]
        for axis, confusion, pairs in zip(axes, confusions, shown, strict=True):
            arrow = "→" if confusion.matrix is not None else "missed, said"
            support = dict(zip(confusion.classes, confusion.support, strict=True))
            names = [f"{_cut(actual)} {arrow} {_cut(said)}" for actual, said, _ in pairs]
            bars = axis.barh(range(len(pairs)), [count for *_, count in pairs], color=ORANGE, height=0.7)
            axis.bar_label(
                bars,
                [f"{count:,}  ({_share(count, support[actual])})" for actual, _, count in pairs],
                padding=4,
                fontsize=8,
            )
            axis.set_yticks(range(len(pairs)), names)
            axis.invert_yaxis()
            axis.margins(x=0.2)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
            axis.set_xlabel("examples (share of the actual class)")
            axis.set_title(f"Most confused: {confusion.title}, {confusion.split}")
            if not pairs:
                axis.set_xticks([])
                axis.text(0.5, 0.5, "no confusions", transform=axis.transAxes, ha="center", va="center")
        return figure


def class_figures(confusions: Sequence[Confusion]) -> Figure:
    """F1 of each class as bars. Of one trial also precision and recall, worst class last; of two, beside each other."""
    with rc_context({**STYLE, "axes.grid.axis": "x"}):
        first = confusions[0]
        order = sorted(range(len(first.classes)), key=lambda number: -first.f1[number])
        names = [f"{_cut(first.classes[number])} ({first.support[number]:,})" for number in order]
        places = np.arange(len(order))
        figure = Figure(
            figsize=(6.4, 0.27 * len(order) * (1 if len(confusions) == 1 else 1.25) + 1.3), layout="constrained"
        )
        axis = figure.subplots()
        thickness = 0.7 / len(confusions)
        for number, (confusion, color) in enumerate(zip(confusions, COLORS, strict=False)):
            offset = (number - (len(confusions) - 1) / 2) * thickness
            label = "F1" if len(confusions) == 1 else confusion.title
            axis.barh(
                places + offset, [confusion.f1[i] for i in order], thickness, color=color, label=label, alpha=0.85
            )
        if len(confusions) == 1:
            for label, values, marker in (("precision", first.precision, ">"), ("recall", first.recall, "o")):
                axis.scatter(
                    [values[i] for i in order], places, marker=marker, s=22, label=label, zorder=3,
                    color="white", edgecolor="#222222", linewidth=0.9,
                )  # fmt: skip
        axis.set_yticks(places, names)
        axis.set_ylim(len(order) - 0.4, -0.6)
        axis.set_xlim(0, 1.02)
        axis.set_xlabel("F1" if len(confusions) > 1 else "F1, precision, recall")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        titles = first.title if len(confusions) == 1 else "F1"
        axis.set_title(f"{titles}: classes on {first.split} (examples)")
        return figure


def calibration(bins: Sequence[Mapping[str, float]], title: str) -> Figure:
    """How often a model is right where it says how sure it is, with the examples in each bin as bars below.

    Args:
        bins: `confidence`, `accuracy` and `count` each, as `sweep_runner.report.facts.calibration_bins` gives them.
        title: whose model, on what.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 5.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        sure = [each["confidence"] for each in bins]
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfect")
        upper.plot(sure, [each["accuracy"] for each in bins], color=BLUE, marker="o", linewidth=1.8, label="model")
        upper.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), ylabel="how often it is right", title=f"Calibration: {title}")
        upper.legend(frameon=False)
        lower.bar(sure, [each["count"] for each in bins], width=0.06, color=BLUE, alpha=0.85)
        lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4, min_n_ticks=1))
        lower.set(xlabel="how sure the model is", ylabel="count")
        return figure


def _present(curves: Sequence[Curve], metrics: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(metrics) if any(name in curve.metrics for curve in curves)]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _cut(name: str, longest: int = LONGEST_NAME) -> str:
    """A name with its middle left out when it is long: names that begin alike differ at their ends."""
    tail = longest // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def _short(names: Iterable[str], longest: int = LONGEST_NAME) -> list[str]:
    return [_cut(name, longest) for name in names]


ABOUT_CONFUSIONS: dict[str, Callable[[Sequence[Confusion]], Figure]] = {
    "confusion": confusion_matrix,
    "pairs": confused_pairs,
    "classes": class_figures,
}
"""What is drawn of a final evaluation, by the name of its file."""
