"""Warnings about configs that can be trained but may surprise: too large for this machine, or without ONNX."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainables.contract import ConfigProblem
from trainables.image.checks.verdicts import image_bytes, translates
from trainables.image.config import ImageConfig
from trainables.image.features.wanted import wants_features
from trainables.image.models.survey import has_onnx, survey, why_no_features
from trainables.image.models.table import MODELS, OWN_NETS, TORCHVISION_NETS, timm_name
from trainables.quantities import size_text

_FLOAT = 4
_GPUS = ("/dev/nvidiactl", "/dev/kfd")


def advice(config: ImageConfig) -> Iterator[ConfigProblem]:
    """What to know about a configuration that can be trained."""
    name = timm_name(config.model)
    yield from _without_onnx(config, name)
    yield from _without_features(config, name)
    needed, there = step_bytes(config), memory_bytes()
    if needed is not None and there is not None and needed > there:
        yield ConfigProblem(
            "model",
            f"a training step of {config.model} on {config.batch_size} images of {config.input_resolution} pixels "
            f"takes about {size_text(needed)}, and this machine has {size_text(there)} and no GPU: a trial may "
            f"run out of memory. Use a smaller batch_size, input_resolution or model",
            fatal=False,
        )


def _without_onnx(config: ImageConfig, name: str) -> Iterator[ConfigProblem]:
    """Of a model that has no ONNX translation, as the survey of models says, or else a try."""
    found: bool | str | None = name in OWN_NETS or name in TORCHVISION_NETS or has_onnx(name.partition(".")[0])
    if found is None:
        found = translates(name)
    if found is True:
        return
    otherwise = (
        "if it is the best, it is published as weights with the code that loads them, and sweep predict, evaluate and "
        "serve cannot use it"
    )
    if found is None:
        message = f"whether {config.model} has an ONNX translation is not known: trying took too long. Without one, "
        yield ConfigProblem("model", message + otherwise, fatal=False)
        return
    why = f" ({found.removeprefix('the model has no ONNX translation: ')})" if isinstance(found, str) else ""
    yield ConfigProblem("model", f"{config.model} has no ONNX translation{why}: {otherwise}", fatal=False)


def _without_features(config: ImageConfig, name: str) -> Iterator[ConfigProblem]:
    """Of a model whose head-only trials would train on stored features, as other models' do, and cannot."""
    why = why_no_features(name.partition(".")[0]) if wants_features(config) else None
    if why is not None:
        message = f"head-only trials store no features, and the backbone runs in each epoch: it {why}"
        yield ConfigProblem("model", message, fatal=False, of_value=True)


def step_bytes(config: ImageConfig) -> int | None:
    """About how much memory a training step takes: weights, gradients, optimizer, and what the backward pass keeps.

    Returns:
        None for a model that nobody measured.
    """
    name = timm_name(config.model)
    row = survey().get(name.partition(".")[0])
    if row is None or not row["parameters"]:
        return None
    weights = int(row["parameters"]) * _FLOAT
    if config.finetune in ("head", "last_n"):
        return weights
    if row["kept_mib"]:
        image = float(row["kept_mib"]) * 1024**2 * (config.input_resolution / int(row["usual_resolution"])) ** 2
    elif name not in MODELS:
        image = image_bytes(name, config.pooling, config.input_resolution, config.num_channels)
    else:
        return None
    copies = 3 if config.optimizer == "sgd" else 4
    return int(weights * copies + image * config.batch_size)


def memory_bytes() -> int | None:
    """This machine's memory; None where a GPU's memory counts, or where it cannot be asked."""
    if any(Path(device).exists() for device in _GPUS) or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
