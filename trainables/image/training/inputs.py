"""Opens what a trial trains on: stored features of its frozen backbone where it may, else pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from trainables.contract import TrialHandle
from trainables.image.batches.feed import Source
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.features.store import open_features
from trainables.image.features.stored import Features
from trainables.image.index import ImageIndex
from trainables.image.pixels.examples import open_pixels
from trainables.image.training.checkpoint import is_head_only


@contextlib.contextmanager
def open_inputs(
    config: ImageConfig, index: ImageIndex, data: DataConfig, weights: Path | None, handle: TrialHandle
) -> Iterator[Source | Features]:
    """Opens features or pixels, and closes them. A trial that began with one of the two goes on with it.

    Args:
        config: of the trial.
        index: the examples; features are computed for its train and val.
        data: as in the sweep file.
        weights: of the backbone.
        handle: of the trial.
    """
    if handle.resumed is None or is_head_only(handle.resumed.folder):
        features = open_features(config, index, data, weights, handle.num_threads)
        if features is not None:
            with contextlib.closing(features):
                yield features
            return
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, handle.num_threads, fit=config.fit)
    with contextlib.closing(pixels):
        yield pixels
