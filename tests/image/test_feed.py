"""Batches of normalised images, read ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from trainables.image.batches import feed as feeding
from trainables.image.batches.feed import Feed


class Array:
    """Pixels in memory."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.images = images
        self.reads: list[int] = []

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.reads.append(len(rows))
        return self.images[rows]


IMAGES = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
CPU = torch.device("cpu")


@pytest.mark.parametrize("portion_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_batches_are_the_rows_in_order(monkeypatch: Any, portion_bytes: int, batch_size: int) -> None:
    monkeypatch.setattr(feeding, "_PORTION_BYTES", portion_bytes)
    rows = np.random.default_rng(1).permutation(50)[:43]
    batches = list(Feed(Array(IMAGES), CPU, MEAN, STD).batches(rows, batch_size))
    assert [len(batch) for batch in batches] == [len(part) for part in torch.split(torch.empty(43), batch_size)]
    expected = (IMAGES[rows] / 255.0 - MEAN) / STD
    found = torch.cat(batches).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in batches)


def test_small_images_are_read_many_batches_at_once() -> None:
    source = Array(IMAGES)
    assert len(list(Feed(source, CPU, MEAN, STD).batches(np.arange(50), 5))) == 10
    assert source.reads == [1, 50]


def test_the_change_sees_bytes() -> None:
    seen: list[torch.Tensor] = []

    def invert(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return 255 - images

    feed = Feed(Array(IMAGES), CPU, (0.0,) * 3, (1.0,) * 3)
    (batch,) = feed.batches(np.arange(4), 4, invert)
    assert seen[0].dtype == torch.uint8
    assert seen[0].shape == (4, 3, 6, 5)
    torch.testing.assert_close(batch.permute(0, 2, 3, 1), torch.from_numpy(1.0 - IMAGES[:4] / 255.0).float())


def test_an_error_while_reading_reaches_the_user_of_the_batches() -> None:
    class Broken(Array):
        def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
            if 3 in rows and len(rows) > 1:
                raise OSError("the file is gone")
            return super().gather(rows)

    with pytest.raises(OSError, match="the file is gone"):
        list(Feed(Broken(IMAGES), CPU, MEAN, STD).batches(np.arange(10), 5))


def test_no_rows_no_batches() -> None:
    assert list(Feed(Array(IMAGES), CPU, MEAN, STD).batches(np.arange(0), 5)) == []
