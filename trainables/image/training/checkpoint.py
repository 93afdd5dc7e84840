"""The classifier's state after an epoch: all that going on to the bit needs, and nothing that runs when read.

`model.safetensors` holds the weights that were judged, `training.safetensors` those that training goes on with where
these are others (averaged weights); `state.pt` holds tensors and plain values, and is read with `weights_only=True`.
The learning rate and the order of the examples are functions of seed, epoch and step, and of the metrics reported so
far: they need no state.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.models.factory import build_model

MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
STATE_FILE = "state.pt"

Scaler = torch.amp.GradScaler | None


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Scaler = None,
    average: nn.Module | None = None,
) -> None:
    """Writes model, optimizer, loss scaler and every random number generator's state.

    Args:
        folder: an existing one.
        model: that is trained.
        optimizer: of its parameters.
        scaler: of the loss, in fp16.
        average: the same model with averaged weights, if there is one: it is what is judged.
    """
    _save_weights(folder / MODEL_FILE, model if average is None else average)
    if average is not None:
        _save_weights(folder / TRAINING_FILE, model)
    state = {
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "random": _random_state(),
    }
    torch.save(state, folder / STATE_FILE)


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Scaler = None,
    average: nn.Module | None = None,
) -> None:
    """Puts everything back that `save_state` wrote."""
    if average is not None:
        average.load_state_dict(load_file(folder / MODEL_FILE))
    model.load_state_dict(load_file(folder / (MODEL_FILE if average is None else TRAINING_FILE)))
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    _set_random_state(state["random"])


def load_trained(config: ImageConfig, num_classes: int, checkpoint: Path) -> nn.Module:
    """The trained model of a checkpoint, on the CPU and in evaluation mode.

    Args:
        config: that it was trained with.
        num_classes: of the data that it was trained on.
        checkpoint: the folder that `save_state` wrote.
    """
    model = build_model(config, num_classes)
    model.load_state_dict(load_file(checkpoint / MODEL_FILE))
    return model.eval()


def _save_weights(path: Path, model: nn.Module) -> None:
    save_file({name: value.detach().contiguous() for name, value in model.state_dict().items()}, path)


def _random_state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():  # on another machine's GPUs they would mean nothing
        torch.cuda.set_rng_state_all(state["cuda"])
