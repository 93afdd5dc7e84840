"""What a dataset adapter is: a class that lists a dataset's examples."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.index import SCHEMA

if TYPE_CHECKING:
    from trainables.image.data_config import DataConfig
    from trainables.image.datasets.tree import Tree

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
        rle: the mask itself, where it is no file but was drawn in an annotation.
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


@dataclass(frozen=True)
class Recognised:
    """A reading of what lies in a folder, found by looking at it.

    Attributes:
        dataset: the built-in name of the adapter that reads it.
        found: what was seen and how it is read, in one line for people.
        settings: keys of the data section that belong to the reading.
        parts: files and folders that are a part of this layout, so that they are no tables of labels.
        views: that the reading has; empty: all of its adapter's.
        classes: their names, where they are seen at once.
    """

    dataset: str
    found: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The reading as a data section says it, but for the root."""
        return json.dumps({"dataset": self.dataset, **self.settings}, ensure_ascii=False)


class Ambiguous(DataError):
    """What lies at a root can be read in several ways.

    Attributes:
        readings: which.
    """

    def __init__(self, root: Path, readings: Sequence[Recognised], more: str = "") -> None:
        self.readings = tuple(readings)
        lines = [f"data.root: {root} can be read in {len(readings)} ways: say which", *map(_choice, readings)]
        super().__init__("\n  ".join([*lines, *([more] if more else [])]))


def _choice(reading: Recognised) -> str:
    return f"{reading.found}\n    data: {reading.written}"


VOC_SETTINGS = (
    "year",
    "difficult",
    "margin",
    "min_size",
    "mask",
    "background",
    "annotations",
    "images",
    "box_origin",
)
COLUMN_SETTINGS = ("image_column", "label_column")
SETTINGS_OF_FEW = ("download", "table", "class_from", "options", *VOC_SETTINGS, *COLUMN_SETTINGS)
"""Keys of the data section that mean something to few datasets."""


def unused_but(*used: str) -> tuple[str, ...]:
    """The `unused_settings` of a dataset that uses few of `SETTINGS_OF_FEW`."""
    return tuple(key for key in SETTINGS_OF_FEW if key not in used)


_ROWS_AT_ONCE = 2048


class Dataset(ABC):
    """Lists a dataset's examples. Subclass it, write `examples`; nothing else knows the dataset.

    Keep the module light, because `sweep check` imports it: heavy imports belong into `examples`.

    Class attributes:
        needs_root: whether `data.root` must be given.
        views: the values of `data.view` that it knows.
        unused_settings: keys of the data section that mean nothing here and are therefore refused.
        needs_table: whether `data.table` must be given.
    """

    needs_root: ClassVar[bool] = True
    needs_table: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ("images",)
    unused_settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: DataConfig) -> None:
        self.data = data

    @property
    def root(self) -> Path:
        """The dataset's folder."""
        assert self.data.root is not None, "DataConfig asks for a root where one is needed"
        return self.data.root

    @property
    def tree(self) -> Tree:
        """What lies below root.

        Raises:
            DataError: root is not there, or cannot be read.
        """
        from trainables.image.datasets.tree import Tree

        return Tree.of(self.root)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """How this adapter reads what lies in a folder; None when that is not its layout.

        Looks at the beginnings of a few files, never at the names of folders alone. What is its layout but broken is
        claimed all the same: `examples` says what is wrong with it.
        """
        return None

    @classmethod
    def readings(cls, tree: Tree) -> list[Recognised]:
        """Every way in which this adapter may read what lies in a folder; several are a question to the user."""
        found = cls.recognise(tree)
        return [] if found is None else [found]

    @abstractmethod
    def examples(self, progress: Progress = no_progress) -> Listing:
        """Lists everything, without decoding a picture.

        Raises:
            DataError: the dataset is not there, or nothing of it can be used.
        """


def table_of(examples: Iterable[Example]) -> pa.Table:
    """The examples as a table in `SCHEMA`. Of an iterator, only a few thousand are ever in memory as objects."""
    rest = iter(examples)
    batches = []
    while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
        batches.append(_batch_of(some))
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _batch_of(examples: Sequence[Example]) -> pa.RecordBatch:
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
    return pa.record_batch(columns, schema=SCHEMA)


def _mask_row(mask: Mask) -> dict[str, object]:
    return {
        **vars(mask),
        "path": None if mask.path is None else str(mask.path),
        "rle": None if mask.rle is None else vars(mask.rle),
    }
