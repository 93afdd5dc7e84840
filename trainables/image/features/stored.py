"""Stored features of a frozen backbone, and the batches that a head is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from trainables.image.batches.feed import Change, Draw, Rows, Share, parts_of
from trainables.image.config import Precision
from trainables.image.models.own_head import Layout
from trainables.image.pixels.pixel_cache import MappedFile

_PORTION_BYTES = 4 << 20
"""Read at once unless a batch is larger: of small features that is an epoch."""


@dataclass(frozen=True)
class Backbone:
    """What features came from: enough to make the whole model again.

    Attributes:
        weights: the file that the backbone was read from.
        digest: of its content.
        num_parameters: of the model without its classifier.
        precision: that it computed in, and that its head trains in: `no`, `bf16` or `fp16`.
        layout: of the features of a head that is more than one linear layer.
    """

    weights: str
    digest: str
    num_parameters: int
    precision: Precision
    layout: Layout | None = None


class Features:
    """The pooled features of an index's examples; row numbers are the index's. Rows of test are not computed.

    Attributes:
        backbone: that they came from.
        num_views: how many versions of each training image there are, changed at random; 0: one, as it is.
        shared_s: how long this trial computed them for all trials, or waited for one that did.
    """

    def __init__(self, file: MappedFile, backbone: Backbone, num_views: int = 0, both: bool = False) -> None:
        """Args:
        file: as `store` writes it.
        backbone: that they came from.
        num_views: see above.
        both: training images are there as they are, too, before their versions: with folds each is val once.
        """
        self.backbone = backbone
        self.num_views = num_views
        self.shared_s = 0.0
        self._first_view = int(both)
        self._file = file
        self._values: npt.NDArray[np.float32] = file.array.view(np.float32)[:, 0, :, 0]
        self._num_rows = len(self._values) // max(1, num_views + (self._first_view if num_views else 0))

    @property
    def width(self) -> int:
        """Features of an example."""
        return int(self._values.shape[1])

    def rows_of_epoch(self, rows: Rows, epoch: int) -> Rows:
        """Where an epoch (from 1) finds these training examples: its version of them, for `gather`."""
        if not self.num_views:
            return rows
        return rows + (self._first_view + (epoch - 1) % self.num_views) * self._num_rows

    def gather(self, rows: Rows) -> npt.NDArray[np.float32]:
        """A new array with these rows, in this order: (B, D) float32."""
        return np.asarray(self._values[rows])

    def close(self) -> None:
        """Lets the file be evicted."""
        self._file.close()


class FeatureFeed:
    """Gives out batches of features, as `Feed` does of images.

    Attributes:
        wait_s: how long reading has taken so far.
    """

    def __init__(self, features: Features, device: torch.device) -> None:
        self.wait_s = 0.0
        self._features = features
        self._device = device

    def batches(
        self, rows: Rows, batch_size: int, change: Change | None = None, share: Share | None = None
    ) -> Iterator[torch.Tensor]:
        """Yields `(B, D)` float32 in the order of the rows; `change` is of images, and must be None."""
        assert change is None
        at_once = max(1, _PORTION_BYTES // (4 * self._features.width * batch_size)) * batch_size
        for start in range(0, len(rows), at_once):
            began = perf_counter()
            some = rows[start : start + at_once]
            part, sizes = parts_of(len(some), batch_size, share) if share else (None, [])
            mine = some if part is None else some[part.rows.numpy()]
            values = torch.from_numpy(self._features.gather(mine)).to(self._device)
            self.wait_s += perf_counter() - began
            yield from torch.split(values, sizes if part else batch_size)

    def raw(self, rows: Rows, batch_size: int, draw: Draw | None = None) -> Iterator[tuple[torch.Tensor, ...]]:
        """As `Feed.raw`: features are inputs as they lie; nothing can be drawn for them."""
        assert draw is None
        return ((values,) for values in self.batches(rows, batch_size))

    def images(self, given: torch.Tensor) -> torch.Tensor:
        """As `Feed.images`."""
        return given
