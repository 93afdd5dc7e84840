"""What the hyperparameters have to do with the objective: importance, parallel coordinates, slices, a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sweep_runner.report.charts.plot import (
    CHAR,
    LONGEST,
    Frame,
    Shown,
    cut,
    dot,
    framed,
    line,
    marks,
    num,
    svg,
    text,
)
from sweep_runner.report.charts.scales import Scale, choices, linear, logarithmic
from sweep_runner.report.param_order import Found, by_importance, number_pair, order_in_words
from sweep_runner.report.study_trials import number_of, value_of, valued_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MAX_SLICES = 6
MAX_AXES = 8
NUM_SHADES = 8
_GOLDEN = 0.6180339887


def importances(study: optuna.Study, found: Found) -> Shown | str:
    """Which hyperparameters matter, with intervals; or why it cannot be known.

    Args:
        study: the trials.
        found: of `known_importances`.
    """
    if isinstance(found, str):
        return found
    shown = [one for one in found if one.known]
    names = choices([one.name for one in shown][::-1])
    frame = framed(
        linear([0.0, *(one.high for one in shown)], zero=True),
        names,
        "share",
        "",
        height=70 + 34 * len(shown),
        letters=30,
    )
    bars = []
    for one in shown:
        y, end = frame.py(one.name), frame.px(one.share)
        bars.append(f'<path class="bar" d="M{num(frame.left)} {num(y - 9)}H{num(end)}V{num(y + 9)}H{num(frame.left)}Z">'
                    f"<title>{one.share:.2f} ({one.low:.2f} to {one.high:.2f})</title></path>")  # fmt: skip
        low, high = frame.px(max(0.0, one.low)), frame.px(one.high)
        bars.append(
            f'<path class="whisker" d="M{num(low)} {num(y)}H{num(high)}'
            f'M{num(low)} {num(y - 4)}v8M{num(high)} {num(y - 4)}v8"/>'
        )
    about = (
        f"PED-ANOVA over {len(study.get_trials(deepcopy=False))} trials: how far each separates the best quarter from "
        "all. Lines: the middle 90 % over resampled trials."
    )
    unknown = [one.name for one in found if not one.known]
    if unknown:
        about += f" Not known, because chance alone could show as much: {', '.join(unknown)}."
    alt = "Hyperparameter importance: " + ", ".join(f"{one.name} {one.share:.2f}" for one in shown)
    return Shown(
        "importances", "Hyperparameter importance", about,
        svg("importances", alt, frame.width, frame.height, [frame.axes("share", ""), *bars]),
    )  # fmt: skip


def parallel_coordinates(study: optuna.Study, objective: str, found: Found) -> Shown | None:
    """The objective and all common parameters, a line per trial.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    trials = valued_trials(study)
    names = by_importance(study, found)[:MAX_AXES]
    if not names or len(trials) < 2:
        return None
    scales = [linear([value_of(trial) for trial in trials]), *(_scale(trials, name) for name in names)]
    width, height, top, bottom, side = 1100.0, 400.0, 40.0, 24.0, 70.0
    places = [side + k * (width - 2 * side) / (len(scales) - 1) for k in range(len(scales))]

    def down(scale: Scale, value: Any) -> float:
        return height - bottom - scale.at(value) * (height - top - bottom)

    shades: list[list[tuple[int, str]]] = [[] for _ in range(NUM_SHADES)]
    shade = _shade(trials, study)
    for trial in sorted(trials, key=lambda each: shade(each)):
        values = [value_of(trial), *(_of_scale(trial, name) for name in names)]
        jitter = _jitter(trial)
        points = [
            (x, down(scale, value) + (jitter * 10 if scale.is_choice else 0))
            for x, scale, value in zip(places, scales, values, strict=True)
        ]
        shades[shade(trial)].append((number_of(trial), line(points)))
    axes = []
    room = (width - 2 * side) / (len(scales) - 1)
    for x, scale, name in zip(places, scales, [objective, *names], strict=True):
        letters = max(6, int(room / CHAR) - 1)
        axes.append(
            f'<path class="axis" d="M{num(x)} {num(top)}V{num(height - bottom)}" data-name="{_attribute(name)}"/>'
        )
        axes.append(text(x, 16 if places.index(x) % 2 == 0 or room > 130 else 30, cut(name, letters), "strong mid"))
        for place, label in scale.ticks:
            y = height - bottom - place * (height - top - bottom)
            axes.append(f'<path class="axis" d="M{num(x - 3)} {num(y)}h3"/>')
            axes.append(text(x - 6, y + 4, label, "tick end halo", longest=max(6, min(LONGEST, letters - 2))))
    crowd = " crowd" if len(trials) > 100 else ""
    about = "One line per trial, from its value to its params. The darker, the better (in dark: the brighter). "
    about += order_in_words(found, names)
    alt = f"Parallel coordinates of {len(trials)} trials over {', '.join([objective, *names])}"
    body = marks([(f"line q{k}{crowd}", own) for k, own in enumerate(shades)])
    return Shown(
        "parallel-coordinates", "Parallel coordinates", about,
        svg("parallel-coordinates", alt, width, height, [body, *axes]), "parallel", wide=True,
    )  # fmt: skip


def slices(study: optuna.Study, objective: str, found: Found) -> list[Shown]:
    """The objective over each parameter on its own, a figure each.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    names = by_importance(study, found)[:MAX_SLICES]
    trials = valued_trials(study)
    if not names or not trials:
        return []
    y = linear([value_of(trial) for trial in trials])
    drawn = []
    for number, name in enumerate(names):
        frame = framed(_scale(trials, name), y, name, objective, width=380, height=280)
        points = [(number_of(trial), _spot(frame, trial, name, value_of(trial))) for trial in trials]
        about = f"{objective} over one hyperparameter at a time. {order_in_words(found, names)}" if not number else ""
        alt = f"{objective} over {name}, {len(trials)} trials"
        content = [frame.axes(name, objective), marks([("dot full", points)])]
        drawn.append(
            Shown(
                f"slice-{number}",
                name,
                about,
                svg(f"slice-{number}", alt, frame.width, frame.height, content),
                "points",
            )
        )
    return drawn


def pair(study: optuna.Study, objective: str, found: Found) -> Shown | None:
    """Two parameters with a range of numbers against each other, the objective as shade.

    Only what was tried is drawn: a surface between the trials would show what nobody has measured.

    Args:
        study: the trials.
        objective: its name.
        found: of `known_importances`.
    """
    names = number_pair(study, found)
    trials = valued_trials(study)
    if not names or not trials:
        return None
    frame = framed(_scale(trials, names[0]), _scale(trials, names[1]), names[0], names[1])
    shade = _shade(trials, study)
    shades: list[list[tuple[int, str]]] = [[] for _ in range(NUM_SHADES)]
    for trial in trials:
        spot = dot(frame.px(trial.params[names[0]]), frame.py(trial.params[names[1]]))
        shades[shade(trial)].append((number_of(trial), spot))
    alt = f"{names[0]} against {names[1]}, {len(trials)} trials, by {objective}"
    content = [frame.axes(*names), marks([(f"dot q{k}", own) for k, own in enumerate(shades)])]
    about = f"{names[0]} against {names[1]}. The darker, the better {objective} (in dark: the brighter)."
    return Shown("pair", "Two hyperparameters", about, svg("pair", alt, frame.width, frame.height, content), "points")


def _jitter(trial: FrozenTrial) -> float:
    """From -0.5 to 0.5, spread evenly: trials with one choice do not lie on each other."""
    return (number_of(trial) * _GOLDEN) % 1 - 0.5


def _spot(frame: Frame, trial: FrozenTrial, name: str, value: float) -> str:
    x = frame.px(_of_scale(trial, name))
    if frame.x.is_choice:
        x += _jitter(trial) * 0.5 * (frame.width - frame.left - frame.right) / len(frame.x.ticks)
    return dot(x, frame.py(value))


def _scale(trials: Sequence[FrozenTrial], name: str) -> Scale:
    from optuna.distributions import CategoricalDistribution

    distribution = trials[0].distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        return choices([_key(choice) for choice in distribution.choices])
    values = [float(trial.params[name]) for trial in trials]
    if getattr(distribution, "log", False):
        return logarithmic(values)
    return linear(values, whole=all(value.is_integer() for value in values))


def _of_scale(trial: FrozenTrial, name: str) -> Any:
    from optuna.distributions import CategoricalDistribution

    value = trial.params[name]
    return _key(value) if isinstance(trial.distributions[name], CategoricalDistribution) else value


def _key(choice: Any) -> str:
    return str(choice)


def _shade(trials: Sequence[FrozenTrial], study: optuna.Study) -> Callable[[FrozenTrial], int]:
    """By rank, in equal parts: one bad outlier would make all others look alike."""
    best_last = sorted(trials, key=value_of, reverse=study.direction.name != "MAXIMIZE")
    places = {trial.number: number * NUM_SHADES // len(best_last) for number, trial in enumerate(best_last)}
    return lambda trial: places[trial.number]


def _attribute(name: str) -> str:
    from html import escape

    return escape(name)
