"""The base class of dataset adapters, which list a dataset's examples."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.example import Box, Defect, Example, Listing, Mask, Member, Region, Rle, table_of

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree
    from trainables.image.settings.data import DataSettings

__all__ = [
    "Ambiguous", "Box", "Dataset", "Defect", "Example", "Listing", "Mask", "Member", "Recognised", "Region", "Rle",
    "table_of", "unused_but",
]  # fmt: skip
"""What the module of a dataset needs, in one place."""


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

    def __init__(self, data: DataSettings) -> None:
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
