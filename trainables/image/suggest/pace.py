"""Measures how fast this machine trains, on a batch, and how large the images are, on a sample."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trainables.cpus import num_cpus
from trainables.image.config import ImageConfig

_SAMPLE = 48
"""Pictures whose size is looked at."""
_BATCH = 16
_GPU_BATCH = 64
_REPEATS = 2


@dataclass(frozen=True)
class Machine:
    """What trials run on.

    Attributes:
        cpus: that may be used.
        gpus: that PyTorch sees.
        name: of the first GPU; empty without one.
    """

    cpus: int
    gpus: int
    name: str = ""

    @property
    def at_a_time(self) -> int:
        """Trials at a time: one per GPU, else one per CPU."""
        return self.gpus or self.cpus

    @property
    def words(self) -> str:
        cpus = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{self.gpus} GPU{'s' if self.gpus > 1 else ''} ({self.name}) and {cpus}" if self.gpus else cpus


@dataclass(frozen=True)
class Pace:
    """Images per second of one model in one trial.

    Attributes:
        train: forward and backward.
        forward: forward alone.
        resolution: at which it was measured; the cost goes with its square.
    """

    train: float
    forward: float
    resolution: int

    def at(self, resolution: int) -> Pace:
        """The same at another resolution."""
        scale = (self.resolution / resolution) ** 2
        return Pace(self.train * scale, self.forward * scale, resolution)


def this_machine() -> Machine:
    """What this process could train on."""
    import torch

    gpus = torch.cuda.device_count()
    return Machine(num_cpus(), gpus, torch.cuda.get_device_name(0) if gpus else "")


def pace_of(model: str, resolution: int, num_classes: int, machine: Machine) -> Pace:
    """Runs a batch through a model with random weights: on a GPU, or on one CPU as a trial has it."""
    import torch
    from torch.nn.functional import cross_entropy

    from trainables.image.models.factory import build_model
    from trainables.image.models.layout import channels_last

    device = "cuda" if machine.gpus else "cpu"
    clock = time.perf_counter if machine.gpus else time.process_time  # of this process, whatever else the CPU does
    size = _GPU_BATCH if machine.gpus else _BATCH
    config = ImageConfig(model=model, pretrained=False, input_resolution=resolution)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = channels_last(build_model(config, num_classes)).to(device).train()
        images = torch.zeros(size, 3, resolution, resolution, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(size, dtype=torch.long, device=device)

        def train() -> None:
            cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]

        def forward() -> None:
            with torch.inference_mode():
                net(images)

        def seconds(step: Callable[[], None]) -> float:
            step()  # the first allocates
            times = []
            for _ in range(_REPEATS):
                began = clock()
                step()
                if machine.gpus:
                    torch.cuda.synchronize()
                times.append(clock() - began)
            return min(times)

        return Pace(size / seconds(train), size / seconds(forward), resolution)
    finally:
        torch.set_num_threads(num_threads)


def shorter_side(table: pa.Table) -> int | None:
    """The median of the examples' shorter sides in pixels, of a sample; None where that takes decoding."""
    step = max(1, table.num_rows // _SAMPLE)
    sides = [side for row in table.take(list(range(0, table.num_rows, step))).to_pylist() if (side := _side(row))]
    return round(statistics.median(sides)) if sides else None


def _side(row: dict[str, object]) -> int | None:
    import io

    from PIL import Image, UnidentifiedImageError

    box = row["box"]
    if isinstance(box, Sequence):
        left, top, right, bottom = box
        return int(min(right - left, bottom - top))
    image = row["image"]
    source = io.BytesIO(image) if isinstance(image, bytes) else row["path"] if row["member"] is None else None
    if source is None:
        return None
    try:
        with Image.open(source) as picture:  # type: ignore[arg-type]
            return min(picture.size)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None  # preparing names it
