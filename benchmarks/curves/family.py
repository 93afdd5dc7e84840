"""Generated learning curves that cross: seven hyperparameters of an image-classifier sweep, 27 epochs.

What they share with real curves: the best learning rate depends on optimizer, batch size and network; a high one is
fast early and worse late; larger networks and pictures are slower and better; small networks without weight decay
overfit late; a learning rate far too high never leaves chance; configurations and epochs have noise.

`finetune` and `scratch` treat every swing between epochs as chance. On real photos most of it is real: unseen pictures
swing along with those of val. `finetune_swings` and `scratch_swings` are the same with such swings, which the truth
has, too: larger at a high learning rate, fading as the trial converges.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sweep_runner.spec.space import Choice, FloatRange, Parameter, Scalar

LAST = 27
MODELS = ("small", "middle", "large")
RESOLUTIONS = (64, 96, 128)
SPACE: Mapping[str, Parameter] = {
    "model": Choice(values=MODELS),
    "optimizer": Choice(values=("adamw", "sgd")),
    "lr": FloatRange(low=1e-5, high=1.0, log=True),
    "batch_size": Choice(values=(16, 32, 64, 128)),
    "weight_decay": FloatRange(low=1e-6, high=1e-1, log=True),
    "label_smoothing": FloatRange(low=0.0, high=0.3),
    "input_resolution": Choice(values=RESOLUTIONS),
}
USUAL: Mapping[str, Scalar] = {
    "model": "middle",
    "optimizer": "adamw",
    "lr": 1e-3,
    "batch_size": 32,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "input_resolution": 96,
}
"""What a practitioner starts from."""
MISLEADING: Mapping[str, Scalar] = {
    "model": "small",
    "optimizer": "sgd",
    "lr": 1e-5,
    "batch_size": 16,
    "weight_decay": 0.1,
    "label_smoothing": 0.3,
    "input_resolution": 64,
}


@dataclass(frozen=True)
class Task:
    """Of each network and resolution, the smallest first.

    Attributes:
        chance: accuracy of a model that has learnt nothing.
        ceilings, speeds: of the networks.
        gains: of the resolutions.
        shift: of the best learning rate, in orders of magnitude.
        noise: standard deviation of an observation.
        swing: standard deviation of what the truth itself swings from epoch to epoch.
    """

    chance: float
    ceilings: tuple[float, float, float]
    speeds: tuple[float, float, float]
    gains: tuple[float, float, float]
    shift: float
    noise: float
    swing: float = 0.0


_FINETUNE = (0.20, (0.86, 0.90, 0.92), (0.9, 0.6, 0.45), (0.0, 0.015, 0.02), -0.6)
_SCRATCH = (0.10, (0.68, 0.74, 0.79), (0.22, 0.13, 0.07), (0.0, 0.02, 0.03), 0.0)
TASKS: Mapping[str, Task] = {
    "finetune": Task(*_FINETUNE, noise=0.010),
    "scratch": Task(*_SCRATCH, noise=0.012),
    "finetune_swings": Task(*_FINETUNE, noise=0.006, swing=0.015),
    "scratch_swings": Task(*_SCRATCH, noise=0.008, swing=0.015),
}


def truth(task: str, config: Mapping[str, Any], epoch: int, seed: int = 0) -> float:
    """What the model of an epoch is worth: accuracy in [0, 1], without the noise of measuring it."""
    of = TASKS[task]
    value = smooth_truth(task, config, epoch)
    if not of.swing or value <= of.chance:
        return value
    fast = min(max(_off(task, config) + 1.0, 0.3), 1.5)  # how high the learning rate is, for this network
    spread = of.swing * fast * (1.4 - epoch / LAST)
    return max(value + random.Random(f"swing/{_key(task, config, seed)}/{epoch}").gauss(0, spread), of.chance)


def smooth_truth(task: str, config: Mapping[str, Any], epoch: float) -> float:
    """The same without swings."""
    of = TASKS[task]
    model, size = MODELS.index(config["model"]), RESOLUTIONS.index(int(config["input_resolution"]))
    batch = math.log10(config["batch_size"] / 32)
    off = _off(task, config)
    if off > 1.3:
        return of.chance
    ceiling = of.ceilings[model] + of.gains[size]
    ceiling -= 0.012 if config["optimizer"] == "sgd" and model == 2 else 0.0
    ceiling -= 0.010 if config["optimizer"] == "adamw" and model == 0 else 0.0
    decay = math.log10(config["weight_decay"]) - (-2.5 if config["optimizer"] == "adamw" else -3.5)
    ceiling -= 0.004 * decay**2 + 0.25 * (config["label_smoothing"] - 0.1) ** 2 + 0.006 * abs(batch - 0.15)
    ceiling -= (0.10 if off > 0 else 0.03) * off**2
    speed = of.speeds[model] * (1 - 0.12 * size) * 10 ** (0.45 * max(min(off, 0.5), -4))
    value = of.chance + max(ceiling - of.chance, 0) * (1 - math.exp(-((speed * epoch) ** 0.8)))
    if decay < -1 and epoch > LAST / 3:
        value -= 0.02 * (2 - model) * min(-1 - decay, 1.5) * math.log(epoch / (LAST / 3))
    return max(value, of.chance)


def _off(task: str, config: Mapping[str, Any]) -> float:
    """Orders of magnitude by which the learning rate is above the best one."""
    batch = math.log10(config["batch_size"] / 32)
    best = -3.0 + 0.5 * batch if config["optimizer"] == "adamw" else -1.3 + batch
    return math.log10(config["lr"]) - (best + TASKS[task].shift - 0.2 * (MODELS.index(config["model"]) - 1))


def observed(task: str, config: Mapping[str, Any], epoch: int, seed: int) -> float:
    """What a trial reports."""
    key = _key(task, config, seed)
    of_config, of_epoch = random.Random(f"config/{key}"), random.Random(f"epoch/{key}/{epoch}")
    noise = TASKS[task].noise
    error = of_config.gauss(0, noise / 3) + of_epoch.gauss(0, noise * (1.4 - epoch / LAST))
    return truth(task, config, epoch, seed) + error


def _key(task: str, config: Mapping[str, Any], seed: int) -> str:
    return json.dumps([task, seed, sorted((name, str(value)) for name, value in config.items())])


def draw(dice: random.Random) -> dict[str, Any]:
    """A configuration, uniform over the space (learning rate and weight decay over their orders of magnitude)."""
    return {
        "model": dice.choice(MODELS),
        "optimizer": dice.choice(("adamw", "sgd")),
        "lr": 10 ** dice.uniform(-5, 0),
        "batch_size": dice.choice((16, 32, 64, 128)),
        "weight_decay": 10 ** dice.uniform(-6, -1),
        "label_smoothing": dice.uniform(0.0, 0.3),
        "input_resolution": dice.choice(RESOLUTIONS),
    }


@cache
def best(task: str) -> float:
    """The highest smooth truth: of 20,000 random configurations, and 5,000 steps up from the best of them."""
    dice = random.Random(0)

    def value(config: Mapping[str, Any]) -> float:
        return max(smooth_truth(task, config, epoch) for epoch in (9, 18, LAST))

    top, at = max(((value(config), config) for config in (draw(dice) for _ in range(20_000))), key=lambda pair: pair[0])
    for _ in range(5_000):
        near = dict(at)
        for name, low, high in (("lr", 1e-5, 1.0), ("weight_decay", 1e-6, 1e-1)):
            near[name] = min(max(near[name] * 10 ** dice.gauss(0, 0.1), low), high)
        near["label_smoothing"] = min(max(near["label_smoothing"] + dice.gauss(0, 0.02), 0.0), 0.3)
        if (found := value(near)) > top:
            top, at = found, near
    return top
