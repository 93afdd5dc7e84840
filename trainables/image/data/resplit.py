"""Divides the examples of an index anew; rows, cached pixels and features stay the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.image.data.splits import balance
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex

LEFT_OUT = "left out"
"""In place of a split's name, for training examples above a cap of `data.balance`."""


def resplit(index: ImageIndex, splits: npt.NDArray[np.str_], data: DataConfig, name: str) -> ImageIndex:
    """The index with these splits, and the caps of `data.balance` in what is train there.

    Args:
        index: of all examples.
        splits: a name per row, (N,).
        data: as in the sweep file.
        name: of this division: it makes another fingerprint.
    """
    stay, _ = balance(index.table, splits, index.classes, data.balance.caps, data.split.seed)
    column = pa.array(np.where(stay, splits, LEFT_OUT).tolist(), pa.string())
    table = index.table.set_column(index.table.schema.get_field_index("split"), "split", column)
    return replace(index, table=table, fingerprint=f"{index.fingerprint}/{name}")


def all_to_train_on(index: ImageIndex, data: DataConfig) -> ImageIndex:
    """The index with train and val as one split, which is called train."""
    splits = np.array(index.table["split"].to_pylist())
    return resplit(index, np.where(splits == "test", "test", "train"), data, "train and val")
