"""Estimates the disk space of checkpoints, model package and pixel cache, before there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainables.contract import DiskUse
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.models.sizes import num_values

_BYTES = 4  # of a float32
_OPTIMIZER_COPIES = 2  # Adam's two moments; SGD with momentum keeps one, and a frozen backbone none
_FIXED_BYTES = 1_000_000  # manifest, random states, class names


def disk_use(data: DataConfig, candidates: Mapping[str, Sequence[Any]]) -> DiskUse | None:
    """See `Trainable.disk_use`. The largest model counts, with the optimizer that keeps most.

    Args:
        data: the sweep file's data section.
        candidates: every value of each config key.
    """

    def values(key: str) -> Sequence[Any]:
        return candidates.get(key) or (ImageConfig.model_fields[key].default,)

    resolution = max(int(value) for value in values("input_resolution"))
    sizes = [num_values(model, resolution, width) for model in values("model") for width in values("width")]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    weights = max(known) * _BYTES
    # Averaged weights beside those that training goes on with, and those of the epochs before.
    spans = [int(value) for value in values("average_weights") if value > 1]
    averages = max(int(any(values("ema_decay"))), *spans, 0)
    return DiskUse(
        checkpoint_bytes=(weights * (1 + _OPTIMIZER_COPIES + averages) + _FIXED_BYTES) * (data.split.num_folds or 1),
        package_bytes=weights + _FIXED_BYTES,
        cache_folder=data.cache_folder,
        cache_bytes=data.cache_limit_bytes,
    )
