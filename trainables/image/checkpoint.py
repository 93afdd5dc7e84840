"""The classifier's state after an epoch: all that going on to the bit needs, and nothing that runs when read.

`model.safetensors` holds the weights; `state.pt` holds tensors and plain values, and is read with
`weights_only=True`. The learning rate and the order of the examples are functions of seed, epoch and step:
they need no state.
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
from trainables.image.models import build_model

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.pt"

Scaler = torch.amp.GradScaler | None


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Scaler = None) -> None:
    """Writes model, optimizer, loss scaler and every random number generator's state."""
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / MODEL_FILE)
    state = {
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "random": _random_state(),
    }
    torch.save(state, folder / STATE_FILE)


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: Scaler = None) -> None:
    """Puts everything back that `save_state` wrote."""
    model.load_state_dict(load_file(folder / MODEL_FILE))
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
