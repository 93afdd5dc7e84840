"""The lists of CUB-200 and its kin: pictures, labels, splits and names in four files that share numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from trainables.errors import DataError
from trainables.image.datasets.tables.grid import Grid
from trainables.image.datasets.tables.text import decoded

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

IMAGES, LABELS, SPLITS = "images.txt", "image_class_labels.txt", "train_test_split.txt"


def is_cub(tree: Tree, path: str) -> bool:
    """Whether a file is the list of pictures of such a set: the list of their labels is beside it."""
    folder, _, name = path.rpartition("/")
    return name == IMAGES and f"{folder}/{LABELS}".lstrip("/") in tree


def read_cub(tree: Tree, path: str) -> Grid:
    """The lists joined: columns `file`, `label`, and `split` where it is given (1 is train, 0 is test).

    Raises:
        DataError: a list cannot be read, or lacks a picture of the others.
    """
    folder = path.rpartition("/")[0]

    def column(name: str) -> dict[str, str]:
        place = f"{folder}/{name}".lstrip("/")
        try:
            text, _ = decoded(tree.path(place).read_bytes(), place)
        except OSError as error:
            raise DataError(f"data.table: {tree.path(place)} cannot be read: {error.strerror}") from error
        rows = [line.split(None, 1) for line in text.splitlines() if line.strip()]
        if broken := next((number for number, row in enumerate(rows, 1) if len(row) != 2), None):
            raise DataError(f"data.table: {place}, line {broken} is not a number and a value")
        return {number: value.strip() for number, value in rows}

    files, labels = column(IMAGES), column(LABELS)
    splits = column(SPLITS) if f"{folder}/{SPLITS}".lstrip("/") in tree else None
    for name, other in ((LABELS, labels), (SPLITS, splits)):
        if other is not None and (missing := next((number for number in files if number not in other), None)):
            raise DataError(f"data.table: {name} has no line for image {missing} of {path} ({files[missing]})")
    columns = {"file": list(files.values()), "label": [labels[number] for number in files]}
    notes = [f"{path}: labels are in {LABELS}"]
    if splits is not None:
        words = {"1": "train", "0": "test"}
        columns["split"] = [words.get(splits[number], splits[number]) for number in files]
        notes.append(f"splits are in {SPLITS}: 1 is train, 0 is test")
    return Grid(
        path, pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()}), True, tuple(notes)
    )
