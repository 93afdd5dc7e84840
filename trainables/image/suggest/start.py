"""What the trials of a suggested sweep start from: published weights, weights on this machine, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.config import WEIGHT_SUFFIXES
from trainables.image.models.table import MODELS, OWN_NETS, timm_name
from trainables.image.models.weight_files import expanded, model_of, weight_files

ON_CPU = ("mobilenetv3_large_100", "resnet18", "efficientnet_b0")
"""Tried first where weights can be fetched: small, and good for their size."""
ON_GPU = ("resnet50", "efficientnet_b0", "convnext_tiny")
FROM_SCRATCH = ("simple_cnn3", "cnn4", "resnet18")
_MOST_MODELS = 3
_SHOWN = 5  # files


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
        return _given(pretrained, models)
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


def _given(written: str, models: tuple[str, ...]) -> Start:
    """A file or folder of weights, and what of it is used.

    Raises:
        DataError: it is of no known model.
    """
    path = expanded(written)
    why, said = "the given weights", f"Trials start from the weights in {written}"
    if models:
        return Start(written, models, why, f"{said}.")
    if not path.is_dir():
        known = model_of(path) if path.is_file() and path.suffix in WEIGHT_SUFFIXES else None
        if known is None:
            if not path.exists():
                raise DataError(f"weights {written}: there is no such file or folder")
            raise DataError(
                f"weights {written}: {path.name} is of no known model. Name it after its model, such as "
                "resnet18_imagenet.pth"
            )
        return Start(written, (known,), why, f"{said}.")
    found = weight_files(path)
    unclear = {name: files for name, files in found.files.items() if len(files) > 1 and files[0].stem != name}
    named = tuple(name for name in found.files if name not in unclear)
    if not named:
        there = f"none of {len(found.ignored)} weight files is of a known model" if found.ignored else "no weight file"
        there = f"several files of {', '.join(unclear)}" if unclear else there
        raise DataError(f"weights {written}: {there}. Name files after their models, such as resnet18.pth")
    num = sum(map(len, found.files.values())) + len(found.ignored)
    told = [f"{said}: {len(named)} of {num} files are of known models"]
    told += [f"at most {_MOST_MODELS} are used, not {', '.join(named[_MOST_MODELS:])}"] if named[_MOST_MODELS:] else []
    told += [f"ignored, as there are several of one model: {_names(each)}" for each in unclear.values()]
    told += [f"ignored, as no model's name begins theirs: {_names(found.ignored)}"] if found.ignored else []
    plain = len(named) == num and len(told) == 1
    return Start(written, named[:_MOST_MODELS], why, f"{said}." if plain else f"{'; '.join(told)}.")


def _names(files: Sequence[Path]) -> str:
    return few_of([file.name for file in files], _SHOWN)
