"""What a trial's network was fed: its first training images, as they are and as augmented."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from trainables.image.batches.augment import make_augmentation
from trainables.image.batches.feed import portion_size
from trainables.image.config import ImageConfig
from trainables.image.data.balancing import sampled_rows
from trainables.image.data_config import DataConfig
from trainables.image.features.wanted import num_views, wants_features
from trainables.image.index import ImageIndex
from trainables.image.looking.tiles import seen
from trainables.image.parallel.draws import Draws, Part
from trainables.image.training.order import epoch_generator, epoch_order

TILE = 96  # pixels
_GAP = 4
_VERSIONS = 2
_QUALITY = 80
Images = npt.NDArray[np.uint8]


def pictures_fed(
    config: ImageConfig, index: ImageIndex, data: DataConfig, seed: int, num: int
) -> tuple[bytes, str] | None:
    """One picture of training examples before and after augmentation.

    Args:
        config, index, data, seed, num: as for `images_fed`.

    Returns:
        A JPEG with a column per example, the unchanged ones on top; and what its rows are, in words. None: training
        changes no image, or each fold changes them in its own way.

    Raises:
        DataError: a picture cannot be read any more.
    """
    found = images_fed(config, index, data, seed, num)
    return None if found is None else (_sprite(found[0]), found[1])


def images_fed(
    config: ImageConfig, index: ImageIndex, data: DataConfig, seed: int, num: int
) -> tuple[list[Images], str] | None:
    """The first training examples of a trial, unchanged and as the trial drew them.

    Mixing (mixup, cutmix) comes after augmentation, and is not shown.

    Args:
        config: of the trial.
        index: the examples.
        data: how they are read.
        seed: of the trial, where the config has none of its own.
        num: how many examples.

    Returns:
        (num, H, W, C) each; and what they are, in words.
    """
    augmentation = make_augmentation(config)
    if augmentation is None or index.num_folds:
        return None
    seed = seed if config.seed is None else config.seed
    train = index.rows("train")
    if wants_features(config) and num_views(config):
        # Stored features: every trial is fed the same versions, each drawn over all training examples in order.
        rows, drawn_over = np.sort(train), len(train)
        generators = [torch.Generator().manual_seed(view) for view in range(min(_VERSIONS, num_views(config)))]
        words = "versions of which the trial used the features"
    else:
        rows = epoch_order(train, config.batch_size, seed, 1)
        if data.balance.strategy == "sampler":
            rows = sampled_rows(index, data.balance.power, seed, 1)[: len(rows)]
        size = config.input_resolution**2 * config.num_channels
        drawn_over = min(len(rows), portion_size(size, config.batch_size))
        generators = [epoch_generator(seed, 1)]
        words = "as the first epoch of the trial changed them"
    rows = rows[: min(num, drawn_over)]
    images = seen(index, data, config, rows)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
    part = Part(drawn_over, torch.arange(len(rows)))
    lines = [images]
    for generator in generators:
        changed = augmentation(pictures, Draws(generator, part)).float().round().clamp(0, 255).byte()
        lines.append(changed.permute(0, 2, 3, 1).numpy())
    return lines, f"Top: {len(rows)} training examples, unchanged. Below: {words}."


def _sprite(lines: list[Images]) -> bytes:
    """Rows of tiles on white."""
    width, height = (len(side) * (TILE + _GAP) - _GAP for side in (lines[0], lines))
    whole = Image.new("RGB", (width, height), "white")
    for y, line in enumerate(lines):
        for x, pixels in enumerate(line):
            tile = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
            # Small images are enlarged pixel by pixel: people shall see what the network sees.
            how = Image.Resampling.NEAREST if tile.width < TILE else Image.Resampling.LANCZOS
            whole.paste(tile.resize((TILE, TILE), how), (x * (TILE + _GAP), y * (TILE + _GAP)))
    buffer = io.BytesIO()
    whole.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
