"""A package without ONNX: the weights, how timm makes their model, and the proof that the two give the trained one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from trainables.errors import TrainableError
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.models.gem import use_gem
from trainables.image.models.table import timm_name
from trainables.image.pixels.examples import open_pixels
from trainables.image.training.evaluate import compute_logits

_NUM_VERIFIED = 32


def architecture(config: ImageConfig, model: nn.Module) -> dict[str, Any]:
    """What `timm.create_model` takes to make a model of these weights: its name, and options."""
    options: Mapping[str, Any] = model._model_args  # type: ignore[assignment]
    return {"name": timm_name(config.model), "options": dict(options), "gem": config.pooling == "gem"}


def verify_weights(
    config: ImageConfig, model: nn.Module, index: ImageIndex, data: DataConfig, path: Path, num_threads: int
) -> dict[str, Any]:
    """Loads the file as the package's README does, and compares the outputs on real images.

    Raises:
        TrainableError: they are not those of the trained model: do not publish.
    """
    made = architecture(config, model)
    again = timm.create_model(made["name"], **made["options"])
    if made["gem"]:
        use_gem(again)
    again.load_state_dict(load_file(path))
    again.in_chans = config.num_channels
    split = next(split for split in ("test", "val", "train") if len(index.rows(split)))
    rows = index.rows(split)[:_NUM_VERIFIED]
    with contextlib.closing(
        open_pixels(index, data, config.input_resolution, config.num_channels, num_threads)
    ) as pixels:
        trained, loaded = (compute_logits(one.eval(), pixels, rows, torch.device("cpu")) for one in (model, again))
    if not np.allclose(trained, loaded, rtol=1e-4, atol=1e-5):
        raise TrainableError("the saved weights do not give the trained model again, and are not published")
    return {"weights": "loaded again, same outputs", "split": split, "num_images": len(rows)}
