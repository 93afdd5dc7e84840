"""The peer of the image benchmarks: torchvision's ImageFolder and DataLoader, and a training loop as timm's.

As their documentation writes them: decode, resize, to tensor, normalise in worker processes; then zero_grad, forward,
loss, backward, step. `channels_last` is timm's option of that name, off by default, as in timm's script.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Seen:
    """What an epoch showed.

    Attributes:
        seconds: of training alone.
        num_images: that were trained on.
        accuracy: on val, afterwards.
    """

    seconds: float
    num_images: int
    accuracy: float


def train_new(folder: Path, values: Mapping[str, Any], threads: int = 1, **options: Any) -> list[Seen]:
    """Trains the network of these values of ours, from the same first weights."""
    from benchmarks.image_side import model_of
    from benchmarks.photos import classes_of

    torch.set_num_threads(threads)
    return train(folder, model_of(len(classes_of(folder)), **values), **options)


def train(
    folder: Path,
    model: nn.Module,
    *,
    resolution: int,
    epochs: int,
    batch_size: int,
    lr: float,
    workers: int,
    channels_last: bool = False,
    bf16: bool = False,
) -> list[Seen]:
    """Trains, and says of each epoch how long it took. The first includes the start of the workers."""
    steps = [transforms.Resize((resolution, resolution)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    prepared = transforms.Compose(steps)
    sets = [ImageFolder(str(folder / split), prepared) for split in ("train", "val")]
    options = {"batch_size": batch_size, "num_workers": workers, "persistent_workers": workers > 0}
    training, validation = DataLoader(sets[0], shuffle=True, **options), DataLoader(sets[1], **options)
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=form)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4)
    compute_loss = nn.CrossEntropyLoss()
    seen = []
    for _ in range(epochs):
        model.train()
        began, num_images = time.perf_counter(), 0
        for images, targets in training:
            images = images.contiguous(memory_format=form)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = compute_loss(model(images), targets)
            loss.backward()
            optimizer.step()
            num_images += len(images)
        seconds = time.perf_counter() - began
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            right = sum(int((model(images).argmax(1) == targets).sum()) for images, targets in validation)
        seen.append(Seen(seconds, num_images, right / len(sets[1])))
    return seen
