"""What the trials of a suggested sweep start from: published weights, weights on this machine, or none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import DataError
from trainables.image.config import WEIGHT_SUFFIXES
from trainables.image.models.table import MODELS, OWN_NETS, TORCHVISION_NETS, timm_name

ON_CPU = ("mobilenetv3_large_100", "resnet18", "efficientnet_b0")
"""Tried first where weights can be fetched: small, and good for their size."""
ON_GPU = ("resnet50", "efficientnet_b0", "convnext_tiny")
FROM_SCRATCH = ("simple_cnn3", "cnn4", "resnet18")
_MOST_MODELS = 3


@dataclass(frozen=True)
class Start:
    """What trials start from.

    Attributes:
        pretrained: of the config: true, false, or the path of weights.
        models: to choose from.
        why: for the sweep file.
        said: for people, one line.
    """

    pretrained: bool | str
    models: tuple[str, ...]
    why: str
    said: str


def starting_point(pretrained: bool | str | None, models: tuple[str, ...] = (), *, gpu: bool = False) -> Start:
    """Models whose weights are on this machine or can be fetched now; else nets that train from scratch.

    Args:
        pretrained: what was asked for: a file or folder of weights, true or false; None: whatever can be had.
        models: to choose from; empty: well-known ones.
        gpu: whether trials have one.

    Raises:
        DataError: a folder or file of weights is of no known model.
    """
    from trainables.image.models.weights import at_hand, hub_answers

    if pretrained is False or (models and all(timm_name(name) in OWN_NETS for name in models)):
        return Start(False, models or FROM_SCRATCH, "from scratch, as requested", "Trials start from scratch.")
    if isinstance(pretrained, str):
        named = models or _models_of(pretrained)
        return Start(pretrained, named, "the given weights", f"Trials start from the weights in {pretrained}.")
    usual = models or (ON_GPU if gpu else ON_CPU)
    if hub_answers():
        return Start(True, usual, "published weights, downloaded once", "Trials start from published weights.")
    names = models or tuple(dict.fromkeys((*usual, *MODELS)))
    if there := tuple(name for name in names if at_hand(True, name) is not None)[:_MOST_MODELS]:
        said = f"The hub does not answer: trials start from weights on this machine ({', '.join(there)})."
        return Start(True, there, "published weights that are on this machine", said)
    if pretrained:
        why = "published weights: the hub did not answer when this was written"
        said = (
            "The hub does not answer, and no weights are on this machine: this sweep can run when the hub is reachable."
        )
        return Start(True, usual, why, said)
    why = "the hub did not answer, and no published weights are on this machine"
    said = (
        "The hub does not answer, and no published weights are on this machine: trials start from scratch. "
        "Pretrained weights would give better models: `sweep init FOLDER --weights PATH` takes a weight file or a "
        "folder of them."
    )
    return Start(False, models or FROM_SCRATCH, f"from scratch: {why}", said)


def _models_of(written: str) -> tuple[str, ...]:
    """The models that a file or folder of weights is of, by the files' names.

    Raises:
        DataError: none is known.
    """
    path = Path(os.path.expandvars(written)).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES)
        named = [file.stem for file in files if _is_model(file.stem)]
        wanted = "MODEL.pth (or .safetensors, .pt, .bin), such as resnet18.pth"
    else:
        files = [path] if path.is_file() and path.suffix in WEIGHT_SUFFIXES else []
        named = [name for file in files if (name := _longest_model(file.stem)) is not None]
        wanted = "after its model, such as resnet18_imagenet.pth"
    if not named:
        there = f"the files {', '.join(file.name for file in files[:5])} are" if files else "no weight file"
        raise DataError(f"weights {written}: {there} of no known model. Name files {wanted}")
    return tuple(named[:_MOST_MODELS])


def _is_model(name: str) -> bool:
    import timm

    return name in MODELS or name in TORCHVISION_NETS or bool(timm.is_model(name))


def _longest_model(stem: str) -> str | None:
    """The model that a file's name begins with."""
    for end in range(len(stem), 2, -1):
        if (end == len(stem) or not stem[end].isalnum()) and _is_model(stem[:end]):
            return stem[:end]
    return None
