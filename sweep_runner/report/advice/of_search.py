"""Rules about the search: its ranges, its epochs, its pruner."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sweep_runner.report.advice.evidence import Advice, Evidence
from sweep_runner.results.leaderboard import TrialRow
from sweep_runner.spec.fields import ConfigFields
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter
from sweep_runner.spec.strategies import Hyperband, Promotion, SuccessiveHalving
from trainables.loading import load_trainable
from trainables.own_modules import not_imported

_BEGAN, _ENOUGH = 0.5, 20
"""Of the trials, or so many of them: a time limit is often given with more trials than anyone expects to run. With
fewer, other rules rest on little."""
_FEWEST = 6
"""Trials with a value, before the best ones say anything of a range."""
_EDGE, _SIDE = 0.1, 0.25
"""How near to an end of its range the best value is, and the middle one of the best quarter of the trials."""
_RISE = 0.05
"""Of the objective's whole gain, what the last third of the epochs still brought."""
_GAP = 0.1
"""Of accuracy, between train and val."""
_FEWEST_SEARCHED = 10
_BEYOND_DESIGN = 0.1
_FEWEST_RANKED = 10
_WEAK = 0.3
"""Rank correlation below which the first rung says little of the end (Cohen 1988 calls 0.3 medium)."""
_OF_IMAGES = ("augment", "mixup", "random_erasing")
AGAINST_OVERFITTING = ("augment", "weight_decay", "dropout", "label_smoothing", "mixup", "random_erasing")


def hardly_ran(seen: Evidence) -> Iterator[Advice]:
    """A rule of search.stop ended the search before half of the trials had begun."""
    stopped = seen.board.sweep.values.get("stopped_by")
    if seen.spec is None or not stopped or seen.board.sweep.state == "RUNNING":
        return
    wanted, began = seen.spec.search.trials, sum(row.confirms is None for row in seen.board.rows)
    if began >= min(_BEGAN * wanted, _ENOUGH):
        return
    evidence = f"{began} of {wanted} trials had begun when search.stop.{stopped} ended the search"
    command = f"sweep extend {seen.name} --trials {wanted - began}{seen.where}"
    yield Advice("the search hardly ran", evidence, "let it go on, perhaps with more time (search.stop)", command)


def edge_of_range(seen: Evidence) -> Iterator[Advice]:
    """The best values of a numeric parameter lie at an end of its range, where it could go on."""
    for name, parameter in (seen.spec.space if seen.spec is not None else {}).items():
        rows = [row for row in seen.ranked if _is_number(row.params.get(name))]
        if len(rows) < _FEWEST or rows[0].trial != seen.best.trial:
            continue
        top = rows[: max(2, math.ceil(len(rows) / 4))]
        places = [place for row in top if (place := _place(parameter, row.params[name])) is not None]
        if len(places) < len(top):
            continue
        middle = float(np.median(places))
        if places[0] >= 1 - _EDGE and middle >= 1 - _SIDE:
            end, further = "upper", _further(parameter, up=True)
        elif places[0] <= _EDGE and middle <= _SIDE:
            end, further = "lower", _further(parameter, up=False)
        else:
            continue
        if further is None or not _is_valid(seen, name, further):
            continue
        low, high = _ends(parameter)
        values = sorted(row.params[name] for row in top)
        evidence = (
            f"{name} {rows[0].params[name]:.4g} of the best trial is at the {end} end of its range ({low:.4g} to "
            f"{high:.4g}); the best {len(top)} of {len(rows)} trials have {values[0]:.4g} to {values[-1]:.4g}"
        )
        if isinstance(parameter, Choice):
            listed = ", ".join(f"{value:.12g}" for value in sorted({*parameter.values, further}))  # type: ignore[type-var]
            setting = f"'space.{name}=[{listed}]'"
        else:
            setting = f"space.{name}.{'high' if end == 'upper' else 'low'}={further:.4g}"
        yield Advice("edge of the range", evidence, f"widen it, for example to {further:.4g}", seen.extend(setting))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ends(parameter: Parameter) -> tuple[float, float]:
    if isinstance(parameter, Choice):
        numbers = [value for value in parameter.values if isinstance(value, int | float)]
        return min(numbers), max(numbers)
    return parameter.low, parameter.high


def _place(parameter: Parameter, value: float) -> float | None:
    """Where a value lies between the ends, 0 to 1; None where ends say nothing: of one or two values, or of words."""
    if isinstance(parameter, Choice):
        if len(parameter.values) < 3 or not all(_is_number(each) for each in parameter.values):
            return None
        ordered = sorted(each for each in parameter.values if isinstance(each, int | float))
        return ordered.index(value) / (len(ordered) - 1) if value in ordered else None
    low, high = parameter.low, parameter.high
    if not low < high or not low <= value <= high:
        return None
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _further(parameter: Parameter, *, up: bool) -> float | None:
    """A next value beyond an end; None where there is none: zero is where a share or a strength ends."""
    low, high = _ends(parameter)
    if not up and low <= 0:
        return None
    if isinstance(parameter, Choice) or parameter.log:
        beyond = high * 3 if up else low / 3
        if isinstance(parameter, Choice):
            beyond = high * 2 if up else low / 2
    else:
        beyond = high + (high - low) / 2 if up else max(low - (high - low) / 2, 0.0)
    whole = isinstance(parameter, IntRange) or (
        isinstance(parameter, Choice) and all(isinstance(value, int) for value in parameter.values)
    )
    if isinstance(parameter, FloatRange | IntRange) and parameter.step:
        beyond = high + parameter.step if up else low - parameter.step
    return float(round(beyond)) if whole else float(f"{beyond:.3g}")


def _is_valid(seen: Evidence, name: str, value: float) -> bool:
    """Whether the trainable takes a value. Of one that this process has not imported nothing is known."""
    assert seen.spec is not None
    if not_imported(seen.spec.trainable, {}):
        return True
    fields = ConfigFields(load_trainable(seen.spec.trainable).config_class)
    typed = int(value) if float(value).is_integer() and isinstance(fields.default(name), int) else value
    return name in fields and not fields.check(name, typed).wrong


def best_epoch_is_last(seen: Evidence) -> Iterator[Advice]:
    """The best trial was still getting better when its epochs were over."""
    row, curve = seen.best, seen.curves.get(seen.best.trial)
    epochs = row.row["epochs"] or 0
    if row.state != "COMPLETED" or epochs < 3 or row.row["best_epoch"] != epochs or curve is None:
        return
    if seen.spec is None or "epochs" in seen.spec.space:
        return  # a range of epochs has an edge, which is the other rule's
    values = curve.metrics.get(seen.board.objective, ())
    if len(values) != epochs:
        return
    sign = 1.0 if seen.board.mode == "max" else -1.0
    before = epochs - math.ceil(epochs / 3)
    earlier = max(values[:before], key=lambda value: sign * value)
    gain, whole = sign * (values[-1] - earlier), sign * (values[-1] - values[0])
    if not whole > 0 or gain < _RISE * whole:
        return
    evidence = (
        f"the best epoch of the best trial is its last: {seen.board.objective} went from {earlier:.4g} (best of the "
        f"first {before} epochs) to {values[-1]:.4g} (epoch {epochs})"
    )
    settings = f"--set name={seen.name}-longer --set fixed.epochs={2 * epochs}"
    yield Advice(
        "best epoch is the last",
        evidence,
        f"more epochs, such as {2 * epochs}",
        f"sweep run {seen.file} {settings}{seen.where}",
    )


def train_above_val(seen: Evidence) -> Iterator[Advice]:
    """The best trial knows its training examples far better than others."""
    row = seen.best
    metrics = {seen.board.objective: row.value, **row.metrics}
    train, val = metrics.get("train_accuracy"), metrics.get("val_accuracy")
    if train is None or val is None:
        return
    num_val = len(seen.on_val) if seen.on_val is not None else 0
    error = 2 * math.sqrt(max(val * (1 - val), 0.0) / num_val) if num_val else 0.0
    if train - val < max(_GAP, error):
        return
    settled = {**(seen.spec.fixed if seen.spec else {}), **(seen.spec.space if seen.spec else {})}
    # A head trains on features of images as they are: what changes images would run its backbone in every epoch.
    is_head = row.params.get("finetune", settled.get("finetune")) == "head"
    usable = [key for key in AGAINST_OVERFITTING if not is_head or key not in _OF_IMAGES]
    untried = [key for key in usable if key not in settled]
    what = f"try {', '.join(untried[:3])} in the space" if untried else "more examples, or a smaller model"
    of = f" (of {num_val:,} examples)" if num_val else ""
    evidence = f"the best trial is right on {train:.3f} of train and {val:.3f} of val{of}: it overfits"
    yield Advice("train far above val", evidence, what if untried else f"{what}", "")


def pruned_at_first_rung(seen: Evidence) -> Iterator[Advice]:
    """The pruner ends more at its first rung than it is made for, or what it sees there says little of the end."""
    pruner = seen.spec.pruner if seen.spec is not None else None
    if not isinstance(pruner, SuccessiveHalving | Hyperband | Promotion):
        return
    searched = [row for row in seen.ranked if row.name is None]
    stopped = [int(row.row["epochs"] or 0) for row in searched if row.state in ("PRUNED", "PAUSED")]
    if len(searched) < _FEWEST_SEARCHED or not stopped:
        return
    first = min(stopped)
    there = stopped.count(first)
    factor = pruner.reduction_factor or 3
    if there / len(searched) <= 0.5:
        return
    after = f"{there} of {len(searched)} trials stopped after {first} epoch{'s' if first > 1 else ''}"
    longer = [row for row in searched if (row.row["epochs"] or 0) > first]
    agreement = _rank_correlation(seen, longer, first)
    if there / len(searched) > 1 - 1 / factor + _BEYOND_DESIGN:
        evidence = f"{after}, where the pruner's reduction_factor {factor} is made to stop {1 - 1 / factor:.0%}"
    elif agreement is not None and agreement < _WEAK:
        evidence = (
            f"{after}, and of the {len(longer)} that went on the order then says little of the order at the end (rank "
            f"correlation {agreement:.2f})"
        )
    else:
        return
    yield Advice(
        "most trials end at the first rung",
        evidence,
        f"compare them later, with pruner.min_epochs {2 * first}",
        seen.extend(f"pruner.min_epochs={2 * first}"),
    )


def _rank_correlation(seen: Evidence, rows: Sequence[TrialRow], epoch: int) -> float | None:
    """Spearman's, between the objective after an epoch and the best; None of few trials, where it is chance."""
    pairs = []
    for row in rows:
        curve = seen.curves.get(row.trial)
        values = curve.metrics.get(seen.board.objective, ()) if curve is not None else ()
        if len(values) >= epoch and row.value is not None:
            pairs.append((values[epoch - 1], row.value))
    if len(pairs) < _FEWEST_RANKED:
        return None
    early, late = (np.argsort(np.argsort(column)) for column in np.array(pairs).T)
    if np.ptp(np.array(pairs)[:, 0]) == 0 or np.ptp(np.array(pairs)[:, 1]) == 0:
        return None
    return float(np.corrcoef(early, late)[0, 1])
