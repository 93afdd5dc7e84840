"""Which model a weight file is of, by its name: `resnet18.pth`, `resnet18.a1_in1k.safetensors`, `resnet18_mine.pt`."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from trainables.image.config import WEIGHT_SUFFIXES
from trainables.image.models.table import MODELS, TORCHVISION_NETS


@dataclass(frozen=True)
class WeightFiles:
    """What a folder of weights holds.

    Attributes:
        files: of each model, those that are named exactly as it first.
        ignored: weight files whose name begins with no model's.
    """

    files: dict[str, tuple[Path, ...]]
    ignored: tuple[Path, ...]


def weight_files(folder: Path) -> WeightFiles:
    """Looks at the names of a folder's files; models with a file of exactly their name come first, then by name."""
    found: dict[str, list[Path]] = {}
    ignored = []
    for path in sorted(each for each in folder.iterdir() if each.suffix in WEIGHT_SUFFIXES and each.is_file()):
        model = model_of(path)
        if model is None:
            ignored.append(path)
        else:
            found.setdefault(model, []).append(path)
    for model, paths in found.items():
        paths.sort(key=lambda path: (path.stem != model, WEIGHT_SUFFIXES.index(path.suffix), path.name))
    ordered = sorted(found, key=lambda model: (found[model][0].stem != model, model))
    return WeightFiles({model: tuple(found[model]) for model in ordered}, tuple(ignored))


def model_of(path: Path) -> str | None:
    """The model that a file's name begins with, or is, without a tag; None: none."""
    stem = path.stem
    for end in range(len(stem), 2, -1):
        if (end == len(stem) or not stem[end].isalnum()) and _is_model(stem[:end].partition(".")[0]):
            return stem[:end].partition(".")[0]
    return None


def expanded(written: str) -> Path:
    """The file or folder that `pretrained: <path>` means."""
    return Path(os.path.expandvars(written)).expanduser().absolute()


@functools.cache
def _is_model(name: str) -> bool:
    import timm

    return name in MODELS or name in TORCHVISION_NETS or bool(timm.is_model(name))
