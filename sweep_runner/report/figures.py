"""The report's interactive figures: Optuna's own where it has one, plotly's otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep_runner.report import importance
from sweep_runner.report.plot_data import Confusion, Curve, title_of
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.run_time import RunTime
from trainables.facts import ONNX_BYTES

if TYPE_CHECKING:
    import optuna
    from plotly.graph_objects import Figure

MAX_POINTS = 20_000
"""Of learning curves: more trials than this allows are thinned out, the best ones and the baselines never."""
MAX_SLICES = 6
MAX_PARALLEL = 400
GREY, BLUE, ORANGE = "rgba(128,128,128,0.25)", "#0072B2", "#D55E00"
ORANGE_RGB = "rgb(213,94,0)"
Found = list[importance.Importance] | str
"""Importances, of which one at least is known; or why none is."""
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Shown:
    """A figure of the report.

    Attributes:
        name: of its file, as `--png` writes it.
        title: above it.
        about: a sentence on how to read it.
        figure: of plotly.
    """

    name: str
    title: str
    about: str
    figure: Figure


def best_so_far(board: Leaderboard, ran: RunTime | None = None) -> Shown | None:
    """The objective of every trial in the order of their ends, and the best up to then.

    Args:
        board: the sweep's trials.
        ran: when the sweep ran; None: not known, and pauses are drawn as if it had.
    """
    import plotly.graph_objects as go

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
        best.append(
            row.value if not best else max(best[-1], row.value) if board.mode == "max" else min(best[-1], row.value)
        )
    figure = go.Figure()
    for state, symbol in (
        ("COMPLETED", "circle"),
        ("RUNNING", "circle-open"),
        ("PAUSED", "circle-open-dot"),
        ("PRUNED", "x"),
    ):
        own = [k for k, row in enumerate(rows) if (row.state if row.state != "WAITING" else "RUNNING") == state]
        if not own:
            continue
        figure.add_scatter(
            x=[places[k] for k in own],
            y=[rows[k].value for k in own],
            text=[_label(rows[k]) for k in own],
            mode="markers",
            marker={"symbol": symbol, "size": 7, "color": BLUE if state == "COMPLETED" else "#999999"},
            name=state.lower(),
        )
    figure.add_scatter(
        x=places, y=best, mode="lines", line={"shape": "hv", "color": ORANGE, "width": 2}, name="best so far"
    )
    unit = "trial" if not timed else "minutes of running, without pauses" if ran else "minutes since the first start"
    figure.update_layout(xaxis_title=unit, yaxis_title=board.objective)
    figure.update_xaxes(rangemode="tozero")
    return Shown("best-so-far", "Best so far", "Each point is a trial; the line is the best value up to then.", figure)


def learning_curves(board: Leaderboard, curves: Sequence[Curve], important: Sequence[TrialRow]) -> Shown | None:
    """The objective by epoch: trials that stopped early faint, the best and the baselines in colour."""
    import plotly.graph_objects as go

    named = {row.trial: _label(row) for row in important[: len(COLORS)]}
    states = {row.trial: row.state for row in (*board.ranked, *board.unranked)}
    with_values = [curve for curve in curves if board.objective in curve.metrics]
    if not with_values:
        return None
    others = [curve for curve in with_values if curve.trial not in named]
    room = max(1, MAX_POINTS // max(1, max(len(curve.epochs) for curve in with_values)))
    step = math.ceil(len(others) / room) if others else 1
    figure = go.Figure()
    # One trace a state: a thousand traces would make a page slow.
    faint = "rgba(128,128,128,0.18)" if len(others) > 100 else "rgba(128,128,128,0.45)"  # many lie on each other
    for early, color in ((True, faint), (False, "rgba(86,180,233,0.5)")):
        xs: list[float | None] = []
        ys: list[float | None] = []
        texts: list[str | None] = []
        for curve in others[::step]:
            if (states.get(curve.trial) in ("PRUNED", "PAUSED")) == early:
                values = curve.metrics[board.objective]
                xs += [*curve.epochs, None]
                ys += [*(_short(value) for value in values), None]
                texts += [*[_escaped(curve.title)] * len(values), None]
        if xs:
            name = "pruned or paused" if early else "completed"
            figure.add_scatter(x=xs, y=ys, text=texts, line={"color": color, "width": 1}, name=name, **_dots(ys, color))
    for curve in with_values:
        if curve.trial in named:
            color = COLORS[list(named).index(curve.trial)]
            shown = [_short(value) for value in curve.metrics[board.objective]]
            figure.add_scatter(
                x=list(curve.epochs), y=shown, mode="lines+markers", line={"color": color, "width": 2.5},
                name=named[curve.trial],
            )  # fmt: skip
    figure.update_layout(xaxis_title="epoch", yaxis_title=board.objective)
    if max(curve.epochs[-1] for curve in with_values) <= 12:
        figure.update_xaxes(dtick=1)  # there is no epoch 1.5
    about = "Pruned and paused trials are faint; the best trial and the baselines are named."
    if step > 1:
        about += f" Of the other {len(others)} trials every {step}th is drawn."
    return Shown("learning-curves", "Learning curves", about, figure)


def _dots(values: Sequence[float | None], color: str) -> dict[str, Any]:
    """How lines with gaps are drawn: a value between two gaps has no line, and is seen as a dot only."""
    around = [None, *values, None]
    alone = [value is not None and around[k] is None and around[k + 2] is None for k, value in enumerate(values)]
    if not any(alone):
        return {"mode": "lines"}
    sizes = [6 if one else 0 for one in alone]
    return {"mode": "lines+markers", "marker": {"color": color, "size": sizes, "opacity": 1, "line": {"width": 0}}}


def importances(study: optuna.Study, found: Found) -> Shown | str:
    """Which hyperparameters matter, with intervals; or why it cannot be known.

    Args:
        study: the trials.
        found: of `known_importances`.
    """
    import plotly.graph_objects as go

    if isinstance(found, str):
        return found
    shown = [one for one in found if one.known][::-1]
    figure = go.Figure(
        go.Bar(
            x=[one.share for one in shown],
            y=[one.name for one in shown],
            orientation="h",
            marker_color=BLUE,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, one.high - one.share) for one in shown],
                "arrayminus": [max(0.0, one.share - one.low) for one in shown],
            },
        )
    )
    figure.update_layout(xaxis_title="share", height=140 + 40 * len(shown))
    about = (
        f"PED-ANOVA over {len(study.get_trials(deepcopy=False))} trials: what tells the best quarter from all. "
        "Lines: the middle 90 % when trials are drawn anew."
    )
    unknown = [one.name for one in found if not one.known]
    if unknown:
        about += f" Not known, because chance alone could show as much: {', '.join(unknown)}."
    return Shown("importances", "Hyperparameter importance", about, figure)


def known_importances(study: optuna.Study) -> Found:
    """The importances, of which one at least is known; or why none is."""
    found = importance.measure(study, _common(study))
    if isinstance(found, str) or any(one.known for one in found):
        return found
    number = len(study.get_trials(deepcopy=False))
    return f"Not known: in {number} trials no hyperparameter shows more than chance alone could."


def _common(study: optuna.Study) -> list[str]:
    """The parameters that all trials have, and that differ."""
    trials = study.get_trials(deepcopy=False)
    names = [name for name in (trials[0].params if trials else ()) if all(name in trial.params for trial in trials)]
    return [name for name in names if len({trial.params[name] for trial in trials}) > 1]


def by_importance(study: optuna.Study, found: Found) -> list[str]:
    """The parameters that all trials have: the most important first, then in the sweep file's order those of which it
    is not known.

    Args:
        study: the trials.
        found: of `known_importances`.
    """
    known = _known(found)
    return [*known, *(name for name in _common(study) if name not in known)]


def _known(found: Found) -> list[str]:
    return [] if isinstance(found, str) else [one.name for one in found if one.known]


def _order_in_words(found: Found, names: Sequence[str]) -> str:
    known = [name for name in _known(found) if name in names]
    if not known:
        return "Hyperparameters are in the order of the sweep file: which matter most is not known."
    rest = ", then the others in the order of the sweep file" if len(known) < len(names) else ""
    return f"The most important come first ({', '.join(known)}){rest}."


def parallel_coordinates(study: optuna.Study, objective: str, found: Found) -> Shown | None:
    """All common parameters and the objective, a line per trial.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    from optuna.visualization import plot_parallel_coordinate

    names = by_importance(study, found)[:8]
    if not names or len(study.get_trials(deepcopy=False)) < 2:
        return None
    figure = plot_parallel_coordinate(_thinned(study), params=names, target_name=objective)
    _reorder(figure, names)
    _recolor(figure, best=max if study.direction.name == "MAXIMIZE" else min)
    about = "One line per trial, from its value to its params. The more orange, the better. "
    about += _order_in_words(found, names)
    return Shown("parallel-coordinates", "Parallel coordinates", about, figure)


def _recolor(figure: Figure, best: Callable[[Sequence[float]], float]) -> None:
    """From grey to orange: Optuna's blues reach from white to navy, and hide the best on a dark page."""
    from plotly.colors import find_intermediate_color

    lines = [trace for trace in figure.data if trace.mode == "lines" and trace.customdata is not None]
    values = [float(line.customdata[0][1]) for line in lines]  # the first axis is the objective
    if not lines:
        return
    top, span = best(values), max(values) - min(values)
    for line, value in zip(lines, values, strict=True):
        share = 1 - abs(top - value) / span if span else 1.0
        line.update(line_color=find_intermediate_color("rgb(150,150,150)", ORANGE_RGB, share, colortype="rgb"))
        line.update(opacity=0.7)
    figure.update_traces(
        marker_colorscale=[[0, "rgb(150,150,150)"], [1, ORANGE_RGB]], selector={"mode": "markers", "type": "scatter"}
    )
    figure.update_annotations(font_color="#888888")
    figure.update_layout(margin_t=30)


def _reorder(figure: Figure, names: Sequence[str]) -> None:
    """Optuna puts the axes in the order of the alphabet, after that of the objective."""
    axes = [0, *(1 + sorted(names).index(name) for name in names)]
    for trace in figure.data:
        if trace.customdata is not None:
            trace.update(y=[trace.y[axis] for axis in axes], customdata=[trace.customdata[axis] for axis in axes])
    for note in figure.layout.annotations:
        note.x = axes.index(note.x)
    figure.layout.xaxis.ticktext = [figure.layout.xaxis.ticktext[axis] for axis in axes]


def slices(study: optuna.Study, objective: str, found: Found) -> Shown | None:
    """The objective over each parameter on its own.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from plotly.subplots import make_subplots

    names = by_importance(study, found)[:MAX_SLICES]
    if not names:
        return None
    trials = _thinned(study).get_trials(deepcopy=False)
    figure = make_subplots(rows=1, cols=len(names), shared_yaxes=True, horizontal_spacing=0.02)
    for column, name in enumerate(names, start=1):
        distribution = trials[0].distributions[name]
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else None
        values = [trial.params[name] for trial in trials]
        figure.add_scatter(
            x=[_escaped(str(value)) for value in values] if choices is not None else values,
            y=[trial.value for trial in trials],
            text=[f"trial {trial.user_attrs.get('trial', trial.number)}" for trial in trials],
            mode="markers",
            marker={"color": BLUE, "size": 7, "opacity": 0.6},
            showlegend=False,
            row=1,
            col=column,
        )
        figure.update_xaxes(title_text=_escaped(name), row=1, col=column)
        if choices is not None:
            order = [_escaped(str(choice)) for choice in choices]
            figure.update_xaxes(type="category", categoryorder="array", categoryarray=order, row=1, col=column)
        elif isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
            figure.update_xaxes(type="log", dtick=1, row=1, col=column)
    figure.update_yaxes(title_text=objective, row=1, col=1)
    figure.update_layout(height=380)
    about = f"{objective} over one hyperparameter at a time. {_order_in_words(found, names)}"
    return Shown("slices", "Slices", about, figure)


def contour_pair(study: optuna.Study, found: Found) -> list[str]:
    """The first two parameters, by importance, between whose values there are others; empty: there are no two.

    Between two choices there is nothing, and a surface over them would show what no trial could have.
    """
    from optuna.distributions import CategoricalDistribution

    trials = study.get_trials(deepcopy=False)
    if len(trials) < 4:
        return []
    spaces = trials[0].distributions
    ranged = [name for name in by_importance(study, found) if not isinstance(spaces[name], CategoricalDistribution)]
    return ranged[:2] if len(ranged) > 1 else []


def contour(study: optuna.Study, objective: str, found: Found) -> Shown | None:
    """The objective over two parameters that have a range of numbers.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    from optuna.visualization import plot_contour

    names = contour_pair(study, found)
    if not names:
        return None
    figure = plot_contour(_thinned(study), params=names, target_name=objective)
    about = f"{objective} over {names[0]} and {names[1]}: darker is better; points are trials."
    return Shown("contour", "Contour", about, figure)


def _thinned(study: optuna.Study) -> optuna.Study:
    if len(study.get_trials(deepcopy=False)) <= MAX_PARALLEL:
        return study
    import optuna

    ordered = sorted(
        study.get_trials(deepcopy=False),
        key=lambda trial: trial.value or 0.0,
        reverse=study.direction.name == "MAXIMIZE",
    )
    best, rest = ordered[: MAX_PARALLEL // 4], ordered[MAX_PARALLEL // 4 :]
    thin = optuna.create_study(direction=study.direction)
    thin.add_trials([*best, *rest[:: math.ceil(len(rest) / (MAX_PARALLEL * 3 // 4))]])
    return thin


def trade_off(board: Leaderboard) -> Shown | None:
    """The objective against what a trial costs; trials that no other beats in both are joined.

    The cost is the second objective, if there is one; else latency, parameters or time, whichever is known and differs.
    """
    return _against(board, *_cost_of(board), searched=bool(board.goals))


def size_trade_off(board: Leaderboard) -> Shown | None:
    """The objective against the size of the model, where that was measured and is not drawn by `trade_off`."""
    if _cost_of(board)[0] in (ONNX_BYTES, "num_parameters") or len({row.goal(ONNX_BYTES) for row in board.ranked}) < 2:
        return None
    return _against(board, ONNX_BYTES, "min", _UNITS[ONNX_BYTES], searched=False)


def _against(board: Leaderboard, cost: str, way: str, unit: str, *, searched: bool) -> Shown | None:
    """The figure; `searched`: the line is the front of all objectives, not of these two."""
    import plotly.graph_objects as go

    rows = [row for row in board.ranked if row.state in ("COMPLETED", "PAUSED") and row.value is not None]
    if not board.goals:
        rows = [row for row in rows if row.state == "COMPLETED"]
    rows = [row for row in rows if row.goal(cost) is not None]
    if len(rows) < 2:
        return None
    members = board.front if searched else _cheaper_or_better(rows, cost, board.mode)
    on_front = {row.trial for row in members}
    front = sorted((row for row in rows if row.trial in on_front), key=lambda row: row.goal(cost) or 0.0)
    figure = go.Figure()
    figure.add_scatter(
        x=[row.goal(cost) for row in rows], y=[row.value for row in rows], text=[_label(row) for row in rows],
        mode="markers", marker={"color": BLUE, "size": 7, "opacity": 0.6}, name="trials",
    )  # fmt: skip
    figure.add_scatter(
        x=[row.goal(cost) for row in front], y=[row.value for row in front], text=[_label(row) for row in front],
        mode="lines+markers", line={"color": ORANGE, "shape": "hv" if way == "min" else "vh"}, name="Pareto front",
    )  # fmt: skip
    figure.update_layout(xaxis_title=unit, yaxis_title=board.objective)
    about = f"{cost} was not optimised. No trial is both better and cheaper than one on the line."
    if not board.goals:
        about = f"Only {board.objective} was optimised. No trial is both better and cheaper than one on the line."
    if searched:
        names = ", ".join([board.objective, *(column for column, _ in board.goals)])
        about = f"The sweep optimised {names}. No trial is better in all of them than one on the line."
    return Shown(f"pareto-{cost}", "Pareto front", about, figure)


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


_UNITS = {
    "onnx_latency_ms": "milliseconds per image on one thread, in ONNX Runtime",
    ONNX_BYTES: "bytes of the ONNX file",
    "num_parameters": "number of parameters",
    "num_flops": "floating-point operations per image",
    "duration_s": "seconds of training",
}


def _cheaper_or_better(rows: Sequence[TrialRow], cost: str, mode: str) -> list[TrialRow]:
    """The rows that no other beats in the objective and in a cost."""
    sign = 1 if mode == "max" else -1
    front: list[TrialRow] = []
    for row in sorted(rows, key=lambda row: (row.goal(cost) or 0.0, -sign * (row.value or 0.0))):
        if not front or sign * (row.value or 0.0) > sign * (front[-1].value or 0.0):
            front.append(row)
    return front


def confusion(found: Confusion) -> Shown | None:
    """The confusion matrix as shares of the actual class, with counts on hover."""
    import plotly.graph_objects as go

    if found.matrix is None:
        return None
    totals = found.matrix.sum(axis=1, keepdims=True).clip(min=1)
    names = _unique([_escaped(name) for name in found.classes])
    figure = go.Figure(
        go.Heatmap(
            z=(found.matrix / totals).round(4).tolist(),
            x=names,
            y=names,
            customdata=found.matrix.tolist(),
            hovertemplate="actual %{y}<br>predicted %{x}<br>%{customdata} examples (%{z:.1%})<extra></extra>",
            text=found.matrix.tolist(),
            texttemplate="%{text}" if len(names) <= 20 else None,
            colorscale="Blues",
            zmin=0,
            zmax=1,
            colorbar={"title": "share"},
        )
    )
    figure.update_layout(xaxis_title="predicted", yaxis_title="actual", height=min(900, 260 + 26 * len(names)))
    figure.update_xaxes(type="category")
    figure.update_yaxes(autorange="reversed", type="category")
    return Shown(
        f"confusion-{found.split}", "Confusion matrix", "Rows are actual classes, columns predicted classes.", figure
    )


def calibration(bins: Sequence[Mapping[str, float]], split: str) -> Shown | None:
    """How often the model is right where it says how sure it is."""
    import plotly.graph_objects as go

    if not bins:
        return None
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#999999"}, name="perfect")
    figure.add_scatter(
        x=[each["confidence"] for each in bins], y=[each["accuracy"] for each in bins],
        customdata=[each["count"] for each in bins], mode="lines+markers", line={"color": BLUE},
        marker={"size": 8}, name="model",
        hovertemplate="confidence %{x:.1%}, accuracy %{y:.1%} (%{customdata} examples)<extra></extra>",
    )  # fmt: skip
    figure.update_layout(xaxis_title="confidence", yaxis_title="accuracy")
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[0, 1.02])
    about = "Below the dotted line the model is overconfident, above it underconfident."
    return Shown(f"calibration-{split}", "Calibration", about, figure)


def time_spent(parts: Mapping[str, float]) -> Shown | None:
    """Where the workers' time went."""
    import plotly.graph_objects as go

    if not parts:
        return None
    figure = go.Figure(
        go.Bar(
            x=list(parts.values()), y=list(parts), orientation="h", marker={"color": BLUE},
            text=[f"{value:,.0f} s" for value in parts.values()], textposition="auto",
        )
    )  # fmt: skip
    figure.update_layout(xaxis_title="seconds, over all workers", height=140 + 40 * len(parts))
    figure.update_yaxes(autorange="reversed")
    return Shown("time", "Where the time went", "Sum over all trials.", figure)


def _label(row: TrialRow) -> str:
    return _escaped(title_of(row))


def _escaped(text: str) -> str:
    """plotly reads some HTML in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unique(names: Sequence[str]) -> list[str]:
    """Names that differ: plotly puts equal ones on one place."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def as_json(figure: Figure) -> dict[str, Any]:
    """Its data and layout as plain values; small: no template, which the page gives to all."""
    import json

    figure.update_layout(template="none", title=None, margin={"l": 60, "r": 20, "t": 20, "b": 50})
    figure.update_yaxes(automargin=True)
    plain: dict[str, Any] = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    return plain
