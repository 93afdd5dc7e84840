"""The mean of several checkpoints' weights, with statistics of batch normalisation that fit it.

Averaging: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", arXiv:2203.05482. Statistics anew after averaging: Izmailov et al. 2018, arXiv:1803.05407.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from trainables.combining import Member
from trainables.errors import TrainableError
from trainables.image.batches.feed import Feed, Rows, Source
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.models.factory import normalization
from trainables.image.models.layout import channels_last
from trainables.image.pixels.examples import open_pixels
from trainables.image.training.checkpoint import MODEL_FILE, load_trained, state_to_save
from trainables.image.training.evaluate import BATCH_SIZE

MOST_EXAMPLES = 8_192
"""Of train, spread evenly, that statistics are estimated on: a mean over more of them hardly moves."""

Norm = nn.modules.batchnorm._BatchNorm


def average_checkpoints(
    members: Sequence[Member[ImageConfig]], data: DataConfig, folder: Path, target: Path, num_threads: int = 1
) -> None:
    """Writes the checkpoint of a soup. See `Combines.average`.

    Args:
        members: of the same layers.
        data: as in the sweep file.
        folder: where `prepare` left the index.
        target: an existing, empty folder.
        num_threads: CPU threads to use.
    """
    index = ImageIndex.load(folder / INDEX_FILE)
    config = members[0].config
    model = load_trained(config, len(index.classes), members[0].checkpoint)
    states = [model.state_dict()]
    for member in members[1:]:
        try:
            states.append(load_trained(member.config, len(index.classes), member.checkpoint).state_dict())
        except RuntimeError as error:  # of other classes, or of another network than the config says
            raise TrainableError(f"trial {member.trial}: its checkpoint is not of this data and network") from error
        if difference := different_layers(states[0], states[-1]):
            raise TrainableError(
                f"trials {members[0].trial} and {member.trial} have different layers, and no mean: {difference}"
            )
    moved = moved_norms(model, states)
    model.load_state_dict(mean_state(states))
    if moved:
        rows = index.rows("train")
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_EXAMPLES).astype(np.int64))]
        pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
        with contextlib.closing(pixels), threads(num_threads):
            estimate_norms(model, moved, pixels, rows)
    save_file(state_to_save(model.cpu()), target / MODEL_FILE)


def different_layers(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> str:
    """The first difference between two state dicts, in words; empty where there is none."""
    for name in dict.fromkeys([*first, *second]):
        if name not in first or name not in second:
            return f"only one of them has {name}"
        if first[name].shape != second[name].shape:
            return f"{name} is {tuple(first[name].shape)} and {tuple(second[name].shape)}"
    return ""


def mean_state(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each tensor; of counters and other whole numbers the first one's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


def moved_norms(model: nn.Module, states: Sequence[dict[str, torch.Tensor]]) -> list[Norm]:
    """The batch normalisations whose statistics differ between states: of a frozen part they are all the same."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, Norm)
        and module.running_mean is not None
        and any(not torch.equal(states[0][f"{name}.running_mean"], state[f"{name}.running_mean"]) for state in states)
    ]


def estimate_norms(model: nn.Module, norms: Iterable[Norm], pixels: Source, rows: Rows) -> None:
    """Takes the statistics of these layers anew: the mean over batches, everything else as it answers.

    Args:
        model: in evaluation mode, in which it is left.
        norms: of the model.
        pixels: of the dataset.
        rows: to look at; a last batch that is smaller than the others is left out.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    channels_last(model.to(device))
    feed = Feed(pixels, device, *normalization(model))
    size = min(BATCH_SIZE, len(rows))
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    with torch.inference_mode():
        for number, images in enumerate(feed.batches(rows[: len(rows) // size * size], size), start=1):
            for norm in norms:
                norm.momentum = 1.0 / number
            model(images)
    model.eval()
