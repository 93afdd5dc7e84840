"""From rows of the index to normalised images on the device, read ahead by a thread.

Small images are taken many batches at a time: the cost of a read, a copy to the device, an augmentation and
a normalisation is then paid once for all of them, which is most of what a small net's step costs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from trainables.image.batches.kept_pixels import KeptPixels
from trainables.image.parallel.draws import Part

Rows = npt.NDArray[np.int64]
Share = Callable[[int], slice]
"""Which of the examples of a batch, by their number, are this process's."""

Draw = Callable[[int, tuple[int, ...]], torch.Tensor]
"""For so many images of a height and width → what is drawn for them, (N, k), on the CPU."""
Make = Callable[..., torch.Tensor]
"""Images (N, C, H, W) and what was drawn for them → the images, changed."""

_PORTION_BYTES = 1 << 20
"""Of uint8 pixels, read at once unless a batch is larger; as float32 four times that, which caches still hold."""
_READ_AHEAD = 2


class Change(Protocol):
    """Changes images, uint8 (N, C, H, W), of which there may be more elsewhere: those at hand are a part then."""

    def __call__(self, images: torch.Tensor, part: Part = ..., /) -> torch.Tensor: ...


class Source(Protocol):
    """Where the pixels come from."""

    def gather(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The images of these rows, (B, H, W, C)."""
        ...


class Feed:
    """Gives out batches of images.

    Attributes:
        wait_s: how long the user of the batches has waited for pixels so far.
        kept: the pixels, where they are on the device: they are gathered there, and no longer read from the source.
    """

    def __init__(self, pixels: Source, device: torch.device, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Args:
        pixels: the source.
        device: where the batches go.
        mean: of each channel, for pixels in 0…1.
        std: likewise.
        """
        self.wait_s = 0.0
        self.kept: KeptPixels | None = None
        self._pixels = pixels
        self._device = device
        means, stds = (torch.tensor(values, device=device) for values in (mean, std))
        self._scale = 1.0 / (255.0 * stds)
        self._shift = -means / stds
        self._shape: tuple[int, ...] = ()  # of an example: height, width, channels

    def batches(
        self, rows: Rows, batch_size: int, change: Change | None = None, share: Share | None = None
    ) -> Iterator[torch.Tensor]:
        """Yields `(B, C, H, W)` float32, normalised, in the order of the rows.

        Args:
            rows: of the index.
            batch_size: of every batch; the last one is smaller when the rows do not divide evenly.
            change: the augmentation, on uint8 `(N, C, H, W)`, of one or more batches at once.
            share: of each batch only this part is read and given out; what is drawn for it is what it would be in
                the whole batch.
        """
        for read, part, sizes in self._read_ahead(rows, batch_size, share):
            given = read.to(self._device, non_blocking=True)
            yield from torch.split(self._normalised(self._pictures(given), change, part), sizes if part else batch_size)

    def raw(self, rows: Rows, batch_size: int, draw: Draw | None = None) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields batches on the device as `images` takes them, in the order of the rows: nothing is computed yet.

        Args:
            rows: of the index.
            batch_size: as for `batches`.
            draw: draws the augmentation of so many images of a size; asked as often as `batches` asks `change`.
        """
        for read, _, _ in self._read_ahead(rows, batch_size, None):
            given = [torch.split(read.to(self._device, non_blocking=True), batch_size)]
            if draw is not None:
                given.append(torch.split(to_device(draw(len(read), self._shape[:2]), self._device), batch_size))
            yield from zip(*given, strict=True)

    def images(self, given: torch.Tensor, drawn: torch.Tensor | None = None, make: Make | None = None) -> torch.Tensor:
        """A batch of `raw` as `batches` yields it: `(B, C, H, W)` float32, normalised. Work of the device alone.

        Args:
            given: pixels, or their places.
            drawn: what was drawn for them.
            make: makes the augmentation that was drawn.
        """
        pictures = self._pictures(given)
        return self._normalised(pictures if make is None else make(pictures, drawn))

    def _read_ahead(
        self, rows: Rows, batch_size: int, share: Share | None
    ) -> Iterator[tuple[torch.Tensor, Part | None, list[int]]]:
        """Yields portions of one or more batches in the memory of the CPU, and how much of each batch is in them."""
        portions = self._portions(rows, batch_size)
        pending: deque[tuple[Future[torch.Tensor], Part | None, list[int]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="pixels") as reader:
            try:
                while True:
                    while len(pending) < _READ_AHEAD and (portion := next(portions, None)) is not None:
                        part, sizes = parts_of(len(portion), batch_size, share) if share else (None, [])
                        mine = portion if part is None else portion[part.rows.numpy()]
                        pending.append((reader.submit(self._read, mine), part, sizes))
                    if not pending:
                        return
                    waiting_since = perf_counter()
                    reading, part, sizes = pending.popleft()
                    read = reading.result()
                    self.wait_s += perf_counter() - waiting_since
                    yield read, part, sizes
            finally:
                for reading, _, _ in pending:
                    reading.cancel()

    def bytes_of(self, rows: Rows) -> int:
        """What these images take as uint8."""
        if not self._shape and len(rows):
            self._shape = self._pixels.gather(rows[:1]).shape[1:]
        return math.prod(self._shape) * len(rows)

    @property
    def metrics(self) -> dict[str, float]:
        """What a report is to say where pixels were to stay on the device: how much of its memory they take."""
        return {"pixels_on_device_bytes": self.kept.num_bytes if self.kept is not None else 0}

    def _portions(self, rows: Rows, batch_size: int) -> Iterator[Rows]:
        size = portion_size(self.bytes_of(rows[:1]), batch_size)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _read(self, rows: Rows) -> torch.Tensor:
        """Images, or where they are on the device."""
        read = torch.from_numpy(self._pixels.gather(rows)) if self.kept is None else self.kept.places(rows)
        # From pinned memory the copy to a GPU runs beside the computing.
        return read.pin_memory() if self._device.type == "cuda" else read

    def _pictures(self, given: torch.Tensor) -> torch.Tensor:
        """What is given, as uint8 (N, C, H, W)."""
        images = given if self.kept is None else self.kept.gather(given)
        # (N, H, W, C) seen as (N, C, H, W) is PyTorch's channels-last format: nothing is moved.
        return images.permute(0, 3, 1, 2)

    def _normalised(
        self, pictures: torch.Tensor, change: Change | None = None, part: Part | None = None
    ) -> torch.Tensor:
        if change is not None:
            pictures = change(pictures) if part is None else change(pictures, part)
        floats = torch.empty(pictures.shape, device=self._device, memory_format=torch.channels_last).copy_(pictures)
        # By lines of W·C values: over the channels alone PyTorch's innermost loop would be of three values, and this
        # four times slower.
        lines, width = floats.permute(0, 2, 3, 1).flatten(2), floats.shape[3]
        lines.mul_(self._scale.repeat(width)).add_(self._shift.repeat(width))
        return floats


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device, without waiting for what the device is at."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def portion_size(example_bytes: int, batch_size: int) -> int:
    """How many examples are read, and changed, at once: whole batches."""
    return batch_size * max(1, _PORTION_BYTES // max(1, example_bytes * batch_size))


def parts_of(num: int, batch_size: int, share: Share) -> tuple[Part, list[int]]:
    """This process's part of `num` examples that are taken in batches, and how many of each batch those are."""
    rows, sizes = [], []
    for start in range(0, num, batch_size):
        mine = np.arange(start, min(start + batch_size, num))
        rows.append(mine[share(len(mine))])
        sizes.append(len(rows[-1]))
    return Part(num, torch.from_numpy(np.concatenate(rows))), sizes
