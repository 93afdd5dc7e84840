"""Suggests a sweep for some images: the richest that fits the minutes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.image.data.listing import list_examples
from trainables.image.data_config import DataConfig
from trainables.image.example import Listing
from trainables.image.index import flat_labels
from trainables.image.suggest.pace import Machine, Pace, pace_of, shorter_side, this_machine
from trainables.image.suggest.start import Start, starting_point
from trainables.image.usual import TRANSFORMERS
from trainables.suggestion import Suggestion

MINUTES = 5.0
"""How long a suggested sweep may take, unless more is asked for."""
TRIALS = 20
_MEASURED_AT = 128  # pixels
_UNEQUAL = 3  # times the smallest class
_ENLARGED = 3  # small pictures are shown to a pretrained net at most so many times as large
_START_S = 45.0  # Ray, imports, the last evaluation, the export, the report
_TRIAL_S = 2.5  # of a trial, whatever it trains
_SHARE_RUN = 0.56  # of the epochs: a third, and the best third of the trials the other two thirds
_VAL = 0.25  # of the cost of training: looking at val


@dataclass(frozen=True)
class Choice:
    """One way to spend the time.

    Attributes:
        finetune: what is trained.
        resolution: of the input.
        epochs: at most.
        num_models: how many of the models.
    """

    finetune: tuple[str, ...]
    resolution: int
    epochs: int
    num_models: int


def suggest_sweep(
    data: DataConfig,
    fixed: Mapping[str, Any] | None = None,
    *,
    listing: Listing | None = None,
    pretrained: bool | str | None = None,
    trials: int | None = None,
    minutes: float = MINUTES,
) -> Suggestion:
    """Looks at data, weights and machine.

    Args:
        data: what is to be classified.
        fixed: hyperparameters that are decided already.
        listing: its examples, where they are known already.
        pretrained: what to start from: see `starting_point`.
        trials: how many; None: a usual number.
        minutes: how long the sweep may take on this machine.

    Raises:
        DataError: the data is not there or cannot be used.
    """
    fixed = fixed or {}
    listing = listing or list_examples(data)
    machine = this_machine()
    named = (str(fixed["model"]),) if "model" in fixed else ()
    if fixed.get("finetune") == "scratch":
        pretrained = False
    start = starting_point(fixed.get("pretrained", pretrained), named, gpu=machine.gpus > 0)
    side = shorter_side(listing.table)
    trials = trials or TRIALS
    paces = {name: pace_of(name, _MEASURED_AT, len(listing.classes), machine) for name in start.models}
    num = listing.table.num_rows
    choices = _choices(start, machine, side, fixed)
    costs = [_seconds(choice, list(paces.values()), num, trials, machine) for choice in choices]
    fitting = [k for k, cost in enumerate(costs) if cost <= minutes * 60]
    chosen = fitting[0] if fitting else len(choices) - 1
    estimate = f"about {_duration(costs[chosen])} on {machine.words}"
    estimated = f"The sweep takes {estimate} without other load, estimated from one batch per model."
    said = (start.said, estimated, *_richer(choices[:chosen], costs[:chosen], data))
    return _suggestion(choices[chosen], start, listing, machine, trials, side, said, estimate, _shows_objects(data))


def _choices(start: Start, machine: Machine, side: int | None, fixed: Mapping[str, Any]) -> list[Choice]:
    """From the richest to the leanest."""
    most = len(start.models)
    fewer = max(1, most - 1)
    if start.pretrained is False:
        sizes: tuple[int, ...] = (128, 96, 64) if machine.gpus else (96, 64, 48)
        found = [Choice(("scratch",), size, 30, number) for number in (most, fewer) for size in sizes[:2]]
        found += [Choice(("scratch",), size, epochs, fewer) for size, epochs in ((sizes[1], 15), (sizes[2], 15))]
        found += [Choice(("scratch",), sizes[2], 8, number) for number in (fewer, 1)]
    else:
        sizes = (224, 160) if machine.gpus else (160, 128)
        found = [Choice(("head", "full"), size, 10, most) for size in sizes]
        found += [Choice(("head", "full"), sizes[-1], 6, fewer)]
        found += [Choice(("head",), size, 20, number) for number in (most, 1) for size in (*sizes, 96)]
    allowed = dict.fromkeys(Choice(each.finetune, _size(each, side), each.epochs, each.num_models) for each in found)
    if (epochs := fixed.get("epochs")) is not None:
        allowed = dict.fromkeys(Choice(c.finetune, c.resolution, int(epochs), c.num_models) for c in allowed)
    if (size := fixed.get("input_resolution")) is not None:
        allowed = dict.fromkeys(Choice(c.finetune, int(size), c.epochs, c.num_models) for c in allowed)
    if (finetune := fixed.get("finetune")) is not None:
        allowed = dict.fromkeys(Choice((str(finetune),), c.resolution, c.epochs, c.num_models) for c in allowed)
    return list(allowed)


def _size(choice: Choice, side: int | None) -> int:
    """Small pictures are not enlarged without end: it costs time and shows nothing more."""
    if side is None:
        return choice.resolution
    limit = side if choice.finetune == ("scratch",) else _ENLARGED * side
    return min(choice.resolution, max(32, math.ceil(limit / 32) * 32))


def _seconds(choice: Choice, paces: list[Pace], num: int, trials: int, machine: Machine) -> float:
    """How long a sweep takes, roughly."""
    paces = [pace.at(choice.resolution) for pace in paces[: choice.num_models]]
    train = sum(1 / pace.train for pace in paces) / len(paces)  # seconds per image, of any of the models
    features = sum(num / pace.forward for pace in paces)
    share_full = 0.0 if choice.finetune == ("head",) else 1.0 if "head" not in choice.finetune else 0.5
    epochs = choice.epochs * _SHARE_RUN
    full = share_full * trials * epochs * 0.64 * num * train * (1 + _VAL)
    heads = features if share_full < 1 else 0.0
    return _START_S + (heads + full + trials * _TRIAL_S) / machine.at_a_time


def _richer(choices: list[Choice], costs: list[float], data: DataConfig) -> list[str]:
    if not choices:
        return []
    kinds = {"scratch": "models from scratch", "head": "heads"}
    best, cost = choices[0], costs[0]
    trained = kinds.get("+".join(best.finetune), "heads and whole models")
    what = f"{trained} at {best.resolution} pixels for {best.epochs} epochs"
    folder = shlex.quote(str(data.root)) if data.root is not None else "FOLDER"
    return [
        f"Training {best.num_models} {what} would take about {_duration(cost)}: "
        f"`sweep init {folder} --minutes {math.ceil(cost / 60)}`."
    ]


def _suggestion(
    choice: Choice,
    start: Start,
    listing: Listing,
    machine: Machine,
    trials: int,
    side: int | None,
    said: tuple[str, ...],
    estimate: str,
    shows_objects: bool,
) -> Suggestion:
    models = start.models[: choice.num_models]
    pretrained = start.pretrained is not False
    enlarged = "" if side is None else f" (shorter side of the images: {side})"
    fixed: dict[str, Any] = {
        "epochs": choice.epochs,
        "pretrained": start.pretrained,
        "input_resolution": choice.resolution,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "batch_size": 64 if machine.gpus else 32,
    }
    why = {
        "fixed.epochs": "maximum; weak trials pause earlier",
        "fixed.pretrained": start.why,
        "fixed.input_resolution": f"pixels{enlarged}; cost grows with the square",
        "fixed.optimizer": "a single one, so that one range of lr suits: sgd needs ten times as much",
        "fixed.weight_decay": "usual for adamw",
        "fixed.batch_size": "usual; the lr is tuned to it",
        "space.model": "small, and accurate for their size"
        if pretrained
        else "small ones: large models need more images",
        "search": f"{trials} trials take {estimate}",
    }
    if shows_objects:
        fixed["resize"] = "squash"
        why["fixed.resize"] = "labels are those of all objects: a crop could cut one off"
    elif pretrained and (side is None or side > choice.resolution):
        fixed |= {"resize": "crop", "crop_fraction": 0.95}
        why["fixed.resize"] = "centre crop; squash distorts, pad adds grey"
        why["fixed.crop_fraction"] = "of the shorter side"
    space: dict[str, Any] = {"model": list(models)}
    both = choice.finetune == ("head", "full")
    if both:
        space["finetune"] = ["head", "full"]
        why["space.finetune"] = "head: last layer on frozen features (fast); full: all layers"
    else:
        fixed["finetune"] = choice.finetune[0]
        why["fixed.finetune"] = {
            "head": "last layer on frozen features, computed once: more takes too long here",
            "scratch": "no weights to start from",
        }.get(choice.finetune[0], "as asked")
    space["lr"] = _lr(choice, models)
    why["space.lr"] = _LR_WHY[choice.finetune if choice.finetune in _LR_WHY else ("head", "full")]
    when = {"when": {"finetune": "full"}} if both else {}
    if choice.finetune != ("head",):
        if pretrained:
            space["head_lr_multiplier"] = {"values": [1, 10], **when}
            why["space.head_lr_multiplier"] = "a new head may need a higher lr than pretrained layers"
        augment = ["none", "light", "trivialaugment"]
        space["augment"] = {"values": augment, **when} if when else augment
        kept = "; features of frozen backbones are computed without" if both else ""
        why["space.augment"] = f"light and trivialaugment flip images: not for letters and digits{kept}"
    if not listing.multilabel:
        space["label_smoothing"] = [0.0, 0.1]
        why["space.label_smoothing"] = "0.1 helps against wrong labels"
    metric, why["objective"] = _objective(listing)
    return Suggestion(fixed, space, metric, trials, why, said)


_LR_WHY: Mapping[tuple[str, ...], str] = {
    ("head", "full"): "for adamw: the lower half suits whole models, the upper half heads",
    ("head",): "for adamw: a head needs more than a whole model",
    ("scratch",): "for adamw from scratch",
}


def _lr(choice: Choice, models: tuple[str, ...]) -> dict[str, Any]:
    if choice.finetune == ("scratch",):
        low, high = 3e-4, 1e-2
    elif choice.finetune == ("head",):
        low, high = 3e-4, 3e-2
    else:
        low = 2e-5 if any(model.startswith(TRANSFORMERS) for model in models) else 1e-4
        high = 3e-2  # for heads: on flowers the best of them stood at 1e-2, the end of a range that ended there
    return {"low": low, "high": high, "log": True}


def _shows_objects(data: DataConfig) -> bool:
    """Whether an image has the labels of annotated objects, which may be anywhere on it."""
    from trainables.image.datasets import dataset_class

    return data.view == "images" and data.dataset is not None and "crops" in dataset_class(data.dataset).views


def _objective(listing: Listing) -> tuple[str, str]:
    if listing.multilabel:
        return "val_map", "mean average precision: true negatives do not count"
    counts = np.bincount(flat_labels(listing.table)[1], minlength=len(listing.classes))
    if counts.min() * _UNEQUAL < counts.max():
        return "val_macro_f1", "unbalanced classes: each counts the same"
    return "val_accuracy", "share of correct images"


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"
