"""Checks before the first trial that pretrained weights are there, and that they fit their models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.contract import Progress
from trainables.errors import WeightsError
from trainables.image.checks.verdicts import impossible
from trainables.image.config import ImageConfig
from trainables.image.models.prepared import WeightsFile
from trainables.image.models.table import MODELS, timm_name
from trainables.image.models.weights import digest_of

_NUM_CLASSES = 2  # any number will do: the classifier is never read from the file


@dataclass(frozen=True)
class PreparedWeights:
    """What was found.

    Attributes:
        files: the weights of each model that a trial may start from.
        summary: lines for the plan.
        warnings: combinations that will fail, while others of the sweep work.
    """

    files: tuple[WeightsFile, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def prepare_weights(candidates: Mapping[str, Sequence[Any]], progress: Progress) -> PreparedWeights:
    """Fetches published weights into the cache, and tries local weight files on the models.

    Which combinations occur is not known here (parameters may be conditional), so that only what can never
    work is an error: a model that no weights fit, weights that fit no model.

    Args:
        candidates: every value of each config key.
        progress: called for each combination.

    Raises:
        WeightsError: see above.
    """
    if all(value == "scratch" for value in candidates["finetune"]) or not any(candidates["pretrained"]):
        return PreparedWeights()
    pairs = list(itertools.product(candidates["model"], [value for value in candidates["pretrained"] if value]))
    found: dict[tuple[str, bool | str], Path | None] = {}
    failed: dict[tuple[str, bool | str], WeightsError] = {}
    warnings: list[str] = []
    for number, (model, pretrained) in enumerate(pairs):
        progress("looking for pretrained weights", number, len(pairs))
        try:
            found[model, pretrained], wrong_sizes = _try(model, pretrained, candidates)
            warnings += wrong_sizes
        except WeightsError as error:
            failed[model, pretrained] = error
    progress("looking for pretrained weights", len(pairs), len(pairs))

    without_weights_too = not all(candidates["pretrained"]) or "scratch" in candidates["finetune"]
    for (model, pretrained), failure in failed.items():
        model_works = any(model == other for other, _ in found)
        weights_work = any(pretrained == other for _, other in found)
        if not weights_work or not (model_works or without_weights_too):
            raise failure
    files = [
        WeightsFile(model, pretrained, str(path.absolute()), digest_of(path))
        for (model, pretrained), path in found.items()
        if path is not None
    ]
    several = len({file.pretrained for file in files}) > 1
    return PreparedWeights(
        files=tuple(files),
        summary={file.label if several else f"weights of {file.model}": file.path for file in files},
        warnings=(
            *(f"trials with {model} from these weights will fail: {error}" for (model, _), error in failed.items()),
            *warnings,
        ),
    )


def _try(model: str, pretrained: bool | str, candidates: Mapping[str, Sequence[Any]]) -> tuple[Path | None, list[str]]:
    """The weights, loaded once; and a warning when there are resolutions that they do not fit."""
    from trainables.image.models.factory import find_weights, starting_model

    first = {key: candidates[key][0] for key in ("input_resolution", "color")}
    config = ImageConfig.model_validate({**first, "model": model, "pretrained": pretrained})
    path = find_weights(config)
    if path is None:
        return None, []
    name, channels = timm_name(model), config.num_channels
    sizes = list(dict.fromkeys(candidates["input_resolution"]))
    fitting = _fitting_sizes(config, path, sizes) if name not in MODELS and len(sizes) > 1 else sizes
    size = next(iter(fitting), sizes[0])  # of none the first tells why
    # Parameters may be conditional: the first of the poolings that go with this model.
    poolings = (
        kind
        for kind in candidates["pooling"]
        if (kind in MODELS[name].poolings if name in MODELS else not impossible(name, kind, size, channels))
    )
    tried = {"input_resolution": size, "pooling": next(poolings, "native")}
    starting_model(config.model_copy(update=tried), _NUM_CLASSES, path)
    wrong = [str(size) for size in sizes if size not in fitting]
    if not wrong:
        return path, []
    fit = ", ".join(str(size) for size in fitting)
    return path, [f"trials with {model} at {', '.join(wrong)} pixels will fail: the weights of {path} fit {fit} pixels"]


def _fitting_sizes(config: ImageConfig, path: Path, sizes: Sequence[int]) -> list[int]:
    """The resolutions that a weight file fits, found without memory for each."""
    import torch

    from trainables.image.models.factory import build_model, with_weights
    from trainables.image.models.tryout import FAILURES
    from trainables.image.models.weights import read_weights

    shapes = {name: value.to("meta") for name, value in read_weights(path).items()}
    fitting = []
    for size in sizes:
        sized = config.model_copy(update={"input_resolution": size})
        try:
            with torch.device("meta"):
                with_weights(build_model(sized, _NUM_CLASSES), sized, shapes, str(path))
        except FAILURES:
            continue  # which these are is told together
        fitting.append(size)
    return fitting
