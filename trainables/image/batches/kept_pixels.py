"""Keeps a trial's decoded images on its GPU: copied once, then batches are gathered there by index.

Without it each portion of images is read from the cache and sent over the bus, in each epoch anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from trainables.image.compute.memory import is_out_of_memory
from trainables.image.config import ImageConfig
from trainables.records import Warn

Rows = npt.NDArray[np.int64]

_COPIED_BYTES = 64 << 20
"""At a time: what is read from the cache, or decoded, before it goes to the device."""
_LARGEST_SHARE = 0.5
"""Of the memory that a step leaves free. The rest is for whatever else runs on the GPU: trials that share it decide one
after another, each by what is left then."""


class Gatherable(Protocol):
    """Where the pixels come from."""

    def gather(self, rows: Rows) -> npt.NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Memory:
    """Of the device, in bytes.

    Attributes:
        free: to whoever asks first.
        of_a_step: that a training step takes in addition to what is held between steps.
    """

    free: int
    of_a_step: int


def fits(set_bytes: int, memory: Memory) -> bool:
    """Whether so many bytes of pixels may stay on the device."""
    return set_bytes <= _LARGEST_SHARE * (memory.free - memory.of_a_step)


def why_not_kept(
    config: ImageConfig,
    device: torch.device,
    set_bytes: int,
    memory: Memory | None,
    *,
    in_parts: bool = False,
    takes_turns: bool = False,
) -> str | None:
    """Why a trial's pixels do not stay on its device, in words; None when they do.

    Args:
        config: of the trial.
        device: it trains on.
        set_bytes: of the images of train and val.
        memory: of the device; None: not known.
        in_parts: a batch does not fit as it is.
        takes_turns: the nets of folds do, each with its own train and val.
    """
    if device.type != "cuda" or memory is None:
        return "there is no GPU"
    if takes_turns:
        return "the models of the folds take turns on the GPU, each with images of its own"
    if in_parts:
        return f"memory is short already: a batch of {config.batch_size} goes through the model in parts"
    if not fits(set_bytes, memory):
        return (
            f"the images take {set_bytes >> 20:,} MiB; of {memory.free >> 20:,} MiB that are free a step takes "
            f"{memory.of_a_step >> 20:,} MiB, and images may take half of the rest"
        )
    return None


def memory_of(device: torch.device) -> Memory | None:
    """Of a GPU on which a step was tried since its peak was reset; None of a CPU."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    step = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
    return Memory(free, max(0, step))


class KeptPixels:
    """Images on the device.

    Attributes:
        num_bytes: that they take there.
    """

    def __init__(self, source: Gatherable, rows: Rows, device: torch.device) -> None:
        """Copies them.

        Args:
            source: of the pixels.
            rows: of the index; each is kept once.
            device: where to.
        """
        rows = np.unique(rows)
        first = source.gather(rows[:1])
        self._images = torch.empty((len(rows), *first.shape[1:]), dtype=torch.uint8, device=device)
        at_once = max(1, _COPIED_BYTES // first.nbytes)
        for start in range(0, len(rows), at_once):
            some = torch.from_numpy(source.gather(rows[start : start + at_once]))
            self._images[start : start + len(some)].copy_(some)
        self._places = np.full(int(rows[-1]) + 1, -1, dtype=np.int64)
        self._places[rows] = np.arange(len(rows))

    @property
    def num_bytes(self) -> int:
        return self._images.numel()

    def places(self, rows: Rows) -> torch.Tensor:
        """Where these rows are, (N,) int64, on the CPU."""
        found = self._places[rows]
        assert not len(found) or found.min() >= 0, "a row that is not kept"
        return torch.from_numpy(found)

    def gather(self, places: torch.Tensor) -> torch.Tensor:
        """The images at these places of the device, (N, H, W, C) uint8."""
        return self._images.index_select(0, places)


def keep(
    config: ImageConfig,
    source: Gatherable,
    rows: Rows,
    set_bytes: int,
    device: torch.device,
    *,
    in_parts: bool = False,
    takes_turns: bool = False,
    warn: Warn = print,
) -> KeptPixels | None:
    """Copies a trial's images to its device where they may stay there; says what came of it.

    Call it after a step was tried, and before the peak of memory is reset.

    Args:
        config, set_bytes, device, in_parts, takes_turns: as for `why_not_kept`.
        source: of the pixels.
        rows: of train and val.
        warn: is told why they do not stay there.
    """
    kept = None
    why_not = why_not_kept(config, device, set_bytes, memory_of(device), in_parts=in_parts, takes_turns=takes_turns)
    if why_not is None:
        try:
            kept = KeptPixels(source, rows, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # Another trial was faster.
            why_not = str(error).strip().splitlines()[0]
    if kept is None:
        warn(f"pixels_on_device: images are read batch by batch: {why_not}")
        return None
    print(f"pixels_on_device: {kept.num_bytes >> 20:,} MiB of images of train and val stay on the GPU")
    return kept
