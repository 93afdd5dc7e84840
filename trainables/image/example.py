"""Examples as a dataset lists them: where each image lies, which part of it is meant, its labels and its split."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 2048

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the upright picture; right and bottom are just outside."""


@dataclass(frozen=True)
class Rle:
    """Pixels of a picture in COCO's compressed run-length code.

    Attributes:
        width: of the (upright) picture.
        height: of the (upright) picture.
        counts: as `pycocotools.mask` writes them.
    """

    width: int
    height: int
    counts: bytes


@dataclass(frozen=True)
class Mask:
    """Which pixels of a picture belong to an example; the others are painted over.

    Attributes:
        path: of the mask, a picture of the same size as the (upright) picture itself; absolute. None: see `rle`.
        value: the palette index (or grey level) of the pixels that belong to the example.
        background: what is painted over the others: `mean`, `black` or `blurred`.
        digest: of the mask's content, so that another file in its place is noticed.
        rle: the mask itself, where it is not a file but was drawn in an annotation.
    """

    path: Path | None
    value: int
    background: str
    digest: str
    rle: Rle | None = None


@dataclass(frozen=True)
class Region:
    """The part of a picture that is an example.

    Attributes:
        box: None: all of the picture.
        mask: None: everything in the box.
    """

    box: Box | None = None
    mask: Mask | None = None


@dataclass(frozen=True)
class Member:
    """An image's place in a file that holds many (Parquet, Arrow, a CIFAR batch).

    Attributes:
        column: that holds the images.
        row: counted from 0.
    """

    column: str
    row: int


@dataclass(frozen=True)
class Example:
    """One example, before it is a row of the table.

    Attributes:
        name: unique in the dataset, and the same wherever the dataset lies: the path relative to its root.
        labels: class numbers; exactly one unless the dataset is multi-label.
        path: the image file, absolute, as a `Path` or text; with `member`, the file that holds it and others. Or else:
        image: the encoded image.
        box: the part of the picture that is the example; None: all of it.
        mask: what of that part belongs to the example; None: everything.
        member: the image's place in the file `path`; None: that file is the image.
        group: the picture (or person, or place) that it comes from; by default its own name.
        split: the split that the dataset gives it; None: to be chosen.
    """

    name: str
    labels: Sequence[int]
    path: Path | str | None = None
    image: bytes | None = None
    box: Box | None = None
    group: str | None = None
    split: str | None = None
    mask: Mask | None = None
    member: Member | None = None


@dataclass(frozen=True)
class Defect:
    """Something that cannot be used.

    Attributes:
        name: the example or file.
        reason: what is wrong with it.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Listing:
    """All examples of a dataset.

    Attributes:
        table: rows as in `SCHEMA`, `split` null where it is to be chosen; in an order that does not change.
        classes: the class names; a label is a position in it.
        multilabel: whether an example may have any number of labels.
        notes: what the user should know of what was found: counts of files that were passed over, and the like.
        warnings: what of it is probably not meant.
        lost_classes: those of which there are files, but none that can be read.
        defects: what could not be used; left out of the table.
    """

    table: pa.Table
    classes: tuple[str, ...]
    multilabel: bool = False
    notes: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()
    warnings: tuple[str, ...] = ()
    lost_classes: tuple[str, ...] = ()


def table_of(examples: Iterable[Example]) -> pa.Table:
    """The examples as a table in `SCHEMA`. Of an iterator, only a few thousand are ever in memory as objects."""
    import pyarrow as pa

    from trainables.image.index import SCHEMA

    rest = iter(examples)
    batches = []
    while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
        batches.append(_batch_of(some, SCHEMA))
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _batch_of(examples: Sequence[Example], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    for each in examples:
        assert (each.path is None) != (each.image is None), f"{each.name}: either a path or an image"
    columns: dict[str, list[Any]] = {
        "example": [each.name for each in examples],
        "path": [None if each.path is None else str(each.path) for each in examples],
        "member": [None if each.member is None else vars(each.member) for each in examples],
        "image": [each.image for each in examples],
        "box": [each.box for each in examples],
        "mask": [None if each.mask is None else _mask_row(each.mask) for each in examples],
        "labels": [list(each.labels) for each in examples],
        "group": [each.name if each.group is None else each.group for each in examples],
        "split": [each.split for each in examples],
    }
    return pa.record_batch(columns, schema=schema)


def _mask_row(mask: Mask) -> dict[str, object]:
    return {
        **vars(mask),
        "path": None if mask.path is None else str(mask.path),
        "rle": None if mask.rle is None else vars(mask.rle),
    }
