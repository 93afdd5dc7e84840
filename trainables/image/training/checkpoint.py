"""The classifier's state after an epoch: all that going on to the bit needs, and nothing that runs when read.

`model.safetensors` holds the weights that were judged, `training.safetensors` those that training goes on with where
these are others (averaged weights), `earlier.safetensors` those of the epochs before where the mean is of these, too;
`state.pt` holds tensors and plain values, and is read with `weights_only=True`.
The learning rate and the order of the examples are functions of seed, epoch and step, and of the metrics reported so
far: they need no state.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainables.combining import Member
from trainables.errors import TrainableError, WeightsError
from trainables.image.config import ImageConfig
from trainables.image.features.stored import Backbone, Features
from trainables.image.models.ensemble import Ensemble, Trained
from trainables.image.models.factory import build_model, starting_model
from trainables.image.models.head import Head, load_head
from trainables.image.models.own_head import OwnHead
from trainables.image.training.members import join, member_folder, members_of

if TYPE_CHECKING:
    from trainables.image.training.averaging import LastEpochs

MODEL_FILE = "model.safetensors"
HEAD_FILE = "head.safetensors"
BACKBONE_FILE = "backbone.json"
TRAINING_FILE = "training.safetensors"
STATE_FILE = "state.pt"

Scaler = torch.amp.GradScaler | None


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Scaler = None,
    average: nn.Module | None = None,
    backbone: Backbone | None = None,
    last: LastEpochs | None = None,
) -> None:
    """Writes model, optimizer, loss scaler and every random number generator's state.

    Args:
        folder: an existing one.
        model: that is trained.
        optimizer: of its parameters.
        scaler: of the loss, in fp16.
        average: the same model with averaged weights, if there is one: it is what is judged.
        backbone: that a head was trained on, apart from it: it is named, not written.
        last: what `average` is the mean of, where it is that of some epochs.
    """
    _save_weights(folder / (MODEL_FILE if backbone is None else HEAD_FILE), model if average is None else average)
    if backbone is not None:
        named = {"weights": backbone.weights, "digest": backbone.digest}
        (folder / BACKBONE_FILE).write_text(json.dumps(named), encoding="utf-8")
    if average is not None:
        _save_weights(folder / TRAINING_FILE, model)
    if last is not None:
        last.save(folder)
    state = {
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "random": random_state(),
    }
    torch.save(state, folder / STATE_FILE)


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Scaler = None,
    average: nn.Module | None = None,
    last: LastEpochs | None = None,
) -> None:
    """Puts everything back that `save_state` wrote."""
    judged = HEAD_FILE if is_head_only(folder) else MODEL_FILE
    if average is not None:
        _load_weights(average, folder / judged)
    _load_weights(model, folder / (judged if average is None else TRAINING_FILE))
    if last is not None:
        last.load(folder, model)
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    set_random_state(state["random"])


def load_trained(config: ImageConfig, num_classes: int, checkpoint: Path) -> nn.Module:
    """The trained model of a checkpoint, on the CPU and in evaluation mode.

    Args:
        config: that it was trained with.
        num_classes: of the data that it was trained on.
        checkpoint: the folder that `save_state` wrote.

    Raises:
        TrainableError: it holds a model per fold, and no single one.
    """
    configs, multilabel = members_of(checkpoint)
    if configs:
        members = [
            Trained(each, load_trained(each, num_classes, member_folder(checkpoint, number)))
            for number, each in enumerate(configs)
        ]
        return Ensemble(members, multilabel).eval()
    if folds := fold_folders(checkpoint):
        raise TrainableError(
            f"{checkpoint} holds the {len(folds)} models of a trial with folds: there is no single one to load"
        )
    if is_head_only(checkpoint):
        model = starting_model(config, num_classes, backbone_weights(checkpoint))
        _load_weights(model, checkpoint / HEAD_FILE)
    else:
        model = build_model(config, num_classes)
        _load_weights(model, checkpoint / MODEL_FILE)
    return model.eval()


def load_head_alone(config: ImageConfig, num_classes: int, checkpoint: Path, features: Features) -> nn.Module:
    """The trained head of a head-only checkpoint, features → logits, on the CPU and in evaluation mode."""
    layout = features.backbone.layout
    head: nn.Module
    if layout is None:
        head = Head(features.width, num_classes, config.dropout)
    else:
        head = OwnHead(starting_model(config, num_classes, backbone_weights(checkpoint)), layout, config.dropout)
    _load_weights(head, checkpoint / HEAD_FILE)
    return head.eval()


def join_checkpoints(members: Sequence[Member[ImageConfig]], multilabel: bool, target: Path) -> None:
    """Writes a checkpoint of an ensemble, with what its members' checkpoints have of their models."""
    join(members, multilabel, (MODEL_FILE, HEAD_FILE, BACKBONE_FILE), target)


def state_to_save(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's state dict as safetensors takes it: in order, and no two tensors in the same memory.

    A tensor with several names (blocks of CoaT share theirs) is written under each, so that any loader finds it.
    """
    tensors: dict[str, torch.Tensor] = {}
    taken = set()
    for name, value in model.state_dict().items():
        whole = value.detach().contiguous()
        place = whole.untyped_storage().data_ptr()
        tensors[name] = whole.clone() if place in taken else whole
        taken.add(place)
    return tensors


def is_head_only(checkpoint: Path) -> bool:
    """Whether a checkpoint holds a head alone (or one per fold), and names the weights of its backbone."""
    return any((folder / BACKBONE_FILE).exists() for folder in (checkpoint, fold_folder(checkpoint, 0)))


def fold_folder(checkpoint: Path, number: int) -> Path:
    """Where a checkpoint of a trial with folds has the state of its n-th model, counted from 0."""
    return checkpoint / f"fold-{number + 1:02d}"


def fold_folders(checkpoint: Path) -> list[Path]:
    """The states of its models, in order; none in a checkpoint of a trial without folds."""
    return sorted(checkpoint.glob("fold-*"))


def backbone_weights(checkpoint: Path) -> Path:
    """The weights of the backbone that a head-only checkpoint names.

    Raises:
        WeightsError: they are gone, or others.
    """
    from trainables.image.models.weights import digest_of

    named = json.loads((checkpoint / BACKBONE_FILE).read_bytes())
    path = Path(named["weights"])
    if not path.is_file():
        raise WeightsError(f"{path}: the weights of this trial's frozen backbone are gone: put them back")
    if digest_of(path) != named["digest"]:
        raise WeightsError(f"{path}: not the weights that this trial's frozen backbone had: put those back")
    return path


def _load_weights(model: nn.Module, path: Path) -> None:
    if path.name == HEAD_FILE and not isinstance(model, Head | OwnHead):
        load_head(model, load_file(path))
    else:
        model.load_state_dict(load_file(path))


def _save_weights(path: Path, model: nn.Module) -> None:
    save_file(state_to_save(model), path)


def random_state() -> dict[str, Any]:
    """Of every generator of random numbers that a trial may use."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        # As a tensor: of 625 single numbers pickling would be most of what a head's checkpoint takes.
        "python": (version, torch.tensor(internal), gauss),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Puts back what `random_state` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(torch.as_tensor(internal).tolist()), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():  # on another machine's GPUs they would mean nothing
        torch.cuda.set_rng_state_all(state["cuda"])
