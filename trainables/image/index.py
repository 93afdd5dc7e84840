"""The index: one table of all examples, a row each; nothing that reads it knows a dataset by name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather

from trainables.digests import DigestMismatch, content_bytes, trailer
from trainables.errors import DataError
from trainables.image.settings.pixel_rule import ValueRange

SPLITS = ("train", "val", "test")
FOLDS = "folds"
"""The column of an index with folds: the fold of each example from 0, one number per repetition; null: test."""
_ARROW_END = b"ARROW1"

MEMBER = pa.struct([("column", pa.string()), ("row", pa.int64())])
RLE = pa.struct([("width", pa.int32()), ("height", pa.int32()), ("counts", pa.binary())])
MASK = pa.struct(
    [
        ("path", pa.string()),  # of the mask file; null when `rle` is the mask
        ("value", pa.int32()),
        ("background", pa.string()),
        ("digest", pa.string()),
        ("rle", RLE),
    ]
)

SCHEMA = pa.schema(
    [
        ("example", pa.string()),  # unique: the relative path, with `#k` for the k-th crop of a picture
        ("path", pa.string()),  # absolute path of the image file; null when `image` holds it
        ("member", MEMBER),  # where the image is in the file that `path` names, when that holds many; null: it is it
        ("image", pa.binary()),  # the encoded image itself; null when `path` names it
        ("box", pa.list_(pa.int32(), 4)),  # left, top, right, bottom in pixels; null: the whole picture
        ("mask", MASK),  # outside of it `background` takes the place of the picture; null: nothing is masked
        ("labels", pa.list_(pa.int32())),  # class numbers; exactly one unless the dataset is multi-label
        ("group", pa.string()),  # examples of one group never fall on both sides of a split
        ("split", pa.string()),  # train, val or test
    ]
)


@dataclass(frozen=True)
class ImageIndex:
    """Every example of a dataset.

    Attributes:
        table: rows as in `SCHEMA`.
        classes: the class names; a label is a position in it.
        multilabel: whether an example may have any number of labels.
        fingerprint: changes when the examples, their pixels' source, labels or splits change.
        pixels_fingerprint: changes only when the encoded images, their boxes or their order change; decoded pixels
            are shared by what has the same. Empty: unknown, then `fingerprint` counts.
        found_range: what is black and white in pictures with more than 8 bits that do not say it; None: there are
            none, or the sweep file says it.
    """

    table: pa.Table
    classes: tuple[str, ...]
    multilabel: bool
    fingerprint: str
    pixels_fingerprint: str = ""
    found_range: ValueRange | None = None

    @cached_property
    def num_repeats(self) -> int:
        """How often the examples were cut into folds; 0 without folds."""
        if FOLDS not in self.table.column_names:
            return 0
        return int(pc.max(pc.list_value_length(self.table[FOLDS])).as_py())

    @cached_property
    def num_folds(self) -> int:
        """How many models a trial trains, each with another val; 0 without folds."""
        if not self.num_repeats:
            return 0
        return self.num_repeats * (1 + int(pc.max(pc.list_flatten(self.table[FOLDS])).as_py()))

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """The row numbers of a split, in order, shape (n,)."""
        mask = pc.equal(self.table["split"], split).to_numpy(zero_copy_only=False)
        return np.flatnonzero(mask).astype(np.int64)

    @cached_property
    def targets(self) -> npt.NDArray[np.generic]:
        """Single-label: class numbers, (N,) int64. Multi-label: 0 or 1, (N, C) float32."""
        labels = self.table["labels"].combine_chunks()
        counts = pc.list_value_length(labels).to_numpy(zero_copy_only=False)
        flat = labels.flatten().to_numpy(zero_copy_only=False)
        if not self.multilabel:
            assert (counts == 1).all(), "a single-label example has exactly one label"
            return np.asarray(flat, dtype=np.int64)
        targets = np.zeros((len(self.table), len(self.classes)), dtype=np.float32)
        targets[np.repeat(np.arange(len(self.table)), counts), flat] = 1.0
        return targets

    def save(self, path: Path) -> None:
        """Writes the index as one Arrow (feather) file that `load` maps into memory."""
        facts = {
            "classes": self.classes,
            "multilabel": self.multilabel,
            "fingerprint": self.fingerprint,
            "pixels_fingerprint": self.pixels_fingerprint,
            "found_range": self.found_range,
        }
        table = self.table.replace_schema_metadata({"image_index": json.dumps(facts)})
        sink = pa.BufferOutputStream()
        pyarrow.feather.write_feather(table, sink, compression="uncompressed")
        content = memoryview(sink.getvalue())
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(content)
            file.write(trailer(content))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Maps what `save` wrote.

        Raises:
            DataError: the file was changed since.
        """
        whole = pa.memory_map(str(path)).read_buffer()
        content = whole
        if whole.slice(whole.size - len(_ARROW_END)).to_pybytes() != _ARROW_END:  # as earlier versions wrote it
            try:
                content = whole.slice(0, content_bytes(memoryview(whole)))
            except DigestMismatch as error:
                raise DataError(
                    f"{path}: changed after it was written ({error}); `sweep resume` writes it again"
                ) from error
        table = pyarrow.feather.read_table(pa.BufferReader(content))
        facts = json.loads(table.schema.metadata[b"image_index"])
        return cls(
            table,
            tuple(facts["classes"]),
            facts["multilabel"],
            facts["fingerprint"],
            facts.get("pixels_fingerprint", ""),
            None if facts.get("found_range") is None else tuple(facts["found_range"]),
        )


def flat_labels(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every label of a table: the row that has it, and its class number, both (L,)."""
    labels = table["labels"].combine_chunks()
    counts = pc.list_value_length(labels).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(table)), counts)
    return rows, labels.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
