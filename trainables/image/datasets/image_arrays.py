"""Pictures and labels as arrays: MedMNIST's and Keras' .npz, HDF5, MNIST's idx files, CSV files of pixels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets.base import Dataset, Example, Listing, Member, Recognised, table_of, unused_but
from trainables.image.datasets.split_words import split_and_rest
from trainables.image.datasets.tree import Tree, suffix
from trainables.image.pixels import arrays

_SUFFIXES = frozenset({".npz", ".h5", ".hdf5"})
_LABEL_WORDS = frozenset({"label", "labels", "y", "target", "targets", "class", "classes"})
_T10K = "t10k"  # how MNIST's test files are called
_MOST_NAMES = 100_000


@dataclass(frozen=True)
class _Part:
    """The pictures of one split (or all of them), and their labels.

    Attributes:
        split: as the names say.
        path: of the pictures' file.
        name: of their array.
        labels: (N,) numbers, or (N, C) of 0 and 1.
    """

    split: str | None
    path: str
    name: str
    labels: npt.NDArray[Any]


class ImageArrays(Dataset):
    """Arrays of pictures (N, H, W) or (N, H, W, 3), and of their labels.

    Which array is which is seen by shapes; splits come from the names of arrays (`train_images`, `x_train`) or files.
    Labels (N, C) of 0 and 1 are any number of labels per picture, or one-hot if each row has exactly one. Names of
    classes come from an array of text (`list_classes`) or a `labels.txt` beside, or are the numbers.
    """

    unused_settings = unused_but()

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Files of arrays, in the root or below, and no pictures."""
        files = [] if tree.num_pictures("") else _files(tree)
        if not files:
            return None
        return Recognised("image_arrays", f"arrays of images and labels: {few_of(files, 1)}", parts=tuple(files))

    def examples(self, progress: Progress = no_progress) -> Listing:
        self._notes: list[str] = []
        self._names: tuple[str, ...] = ()
        files = _files(self.tree)
        if not files:
            raise DataError(
                f"data.root: no arrays of images in {self.root}: looked for .npz, .h5, .hdf5, "
                "MNIST's idx files (train-images-idx3-ubyte), and CSV files `label,pixel0,...`"
            )
        parts = list(self._parts(files, progress))
        if not parts:
            raise DataError(
                f"data.root: {', '.join(files[:5])}: no array of images with an array of as many labels "
                "(such as train_images (N, 28, 28) and train_labels (N,))"
            )
        return self._listing(parts)

    def _parts(self, files: Sequence[str], progress: Progress) -> Iterator[_Part]:
        for number, file in enumerate(files):
            progress("reading arrays", number, len(files))
            path = self.tree.path(file)
            try:
                yield from self._in_file(file, path)
            except (OSError, ValueError, KeyError, EOFError) as error:
                raise DataError(f"data.root: {path} cannot be used: {error}") from error
        progress("reading arrays", len(files), len(files))

    def _in_file(self, file: str, path: Path) -> Iterator[_Part]:
        own = _split_in(file)
        head = self.tree.head(file, 4096)
        if suffix(file) == ".csv":
            yield _Part(own, file, arrays.CSV_PIXELS, arrays.csv_labels(path))
            return
        shapes = arrays.arrays_in(path)
        if arrays.is_idx(head):
            if len(shapes[arrays.IDX]) > 1:
                beside = self._labels_of_idx(file)
                yield _Part(own, file, arrays.IDX, arrays.load(self.tree.path(beside), arrays.IDX))
            return
        stacks = {name: shape for name, shape in shapes.items() if len(shape) >= 3}
        for name, shape in shapes.items():
            if len(shape) == 1 and 1 < shape[0] <= _MOST_NAMES and not self._names:
                self._names = _texts(arrays.load(path, name))
        splits = {name: _split_in(name) or own for name in stacks}
        if twice := [name for name in stacks if list(splits.values()).count(splits[name]) > 1]:
            raise ValueError(f"its arrays {', '.join(twice)} may all be the images: keep one per split")
        for name, shape in stacks.items():
            fitting = [
                other
                for other, size in shapes.items()
                if 1 <= len(size) <= 2 and size[0] == shape[0] and (_split_in(other) or own) == splits[name]
            ]
            called = [
                other for other in fitting if _LABEL_WORDS & set(re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", other.lower()))
            ]
            fitting = called or fitting
            if len(fitting) > 1:
                raise ValueError(f"its arrays {', '.join(fitting)} may all be the labels of {name}: keep one")
            if fitting:
                yield _Part(splits[name], file, name, arrays.load(path, fitting[0]))
            else:
                self._notes.append(f"{shape[0]} images of {name} in {file} left out: no array of labels is as long")

    def _labels_of_idx(self, file: str) -> str:
        name = re.sub(r"images([-.]idx)\d", r"labels\g<1>1", file)
        found = next((each for each in (name, f"{name}.gz", name.removesuffix(".gz")) if each in self.tree), None)
        if found is None or name == file:
            raise ValueError(f"there are no labels: {name} is missing")
        return found

    def _listing(self, parts: Sequence[_Part]) -> Listing:
        matrices = {part.labels.ndim == 2 and part.labels.shape[1] > 1 for part in parts}
        if len(matrices) > 1:
            raise DataError("data.root: some labels are one number per image, and others a row of 0 and 1")
        is_matrix = matrices.pop()
        flat = [part.labels if is_matrix else part.labels.reshape(len(part.labels)) for part in parts]
        for part, labels in zip(parts, flat, strict=True):
            if labels.dtype.kind not in "iub" and not (
                labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels))
            ):
                raise DataError(
                    f"data.root: the labels of {part.name} in {part.path} are not whole numbers ({labels.dtype})"
                )
            if is_matrix and not np.isin(labels, (0, 1)).all():
                raise DataError(
                    f"data.root: the labels of {part.name} in {part.path} are rows of other numbers than 0 and 1"
                )
        rows = [labels.astype(np.int64) for labels in flat]
        one_hot = is_matrix and all((labels.sum(axis=1) == 1).all() for labels in rows)
        if one_hot:
            rows = [labels.argmax(axis=1) for labels in rows]
        multilabel = is_matrix and not one_hot
        num_columns = flat[0].shape[1] if is_matrix else 0
        present = range(num_columns) if is_matrix else np.unique(np.concatenate(rows)).tolist()
        classes, number = self._classes(list(present))
        anew = self.data.split.given is False
        examples = [
            Example(
                f"{part.path}#{part.name}#{row}",
                np.flatnonzero(label).tolist() if multilabel else [number[int(label)]],
                path=self.tree.path(part.path),
                member=Member(part.name, row),
                split=None if anew else part.split,
            )
            for part, labels in zip(parts, rows, strict=True)
            for row, label in enumerate(labels)
        ]
        return Listing(table_of(examples), classes, multilabel=multilabel, notes=tuple(self._notes))

    def _classes(self, present: list[int]) -> tuple[tuple[str, ...], dict[int, int]]:
        """The names of classes, and label → place."""
        names = self._names or self._names_beside()
        if names and present and present[0] >= 0 and present[-1] < len(names) and len(set(names)) == len(names):
            found = tuple(names[label] for label in present)
        else:
            found = tuple(str(label) for label in present)
        return found, {label: place for place, label in enumerate(present)}

    def _names_beside(self) -> tuple[str, ...]:
        for name in ("labels.txt", "classes.txt"):
            if name in self.tree:
                lines = self.tree.head(name).decode("utf-8", errors="replace").splitlines()
                self._notes.append(f"names of classes from {name}")
                return tuple(line.strip() for line in lines if line.strip())
        return ()


def _files(tree: Tree) -> list[str]:
    """The files of arrays; of MNIST's pairs, both."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in tree.files():
        kind = suffix(name)
        if kind in _SUFFIXES:
            head = tree.head(name, 256)
            if arrays.is_npz(head) or arrays.is_hdf5(head):
                found["arrays"].append(name)
        elif "ubyte" in name or "-idx" in name or ".idx" in name:
            if arrays.is_idx(tree.head(name, 256)):
                found["arrays"].append(name)
        elif kind == ".csv":
            line = tree.head(name).split(b"\n", 1)[0].decode("utf-8", errors="replace")
            if arrays.pixel_columns(line) is not None:
                found["arrays"].append(name)
    return found["arrays"]


def _split_in(name: str) -> str | None:
    """The split that the name of a file or an array speaks of."""
    base = name.rpartition("/")[2]
    if _T10K in base:
        return "test"
    found = split_and_rest(base.partition(".")[0])
    return found[0] if found else None


def _texts(array: npt.NDArray[Any]) -> tuple[str, ...]:
    if array.dtype.kind not in "SUO":
        return ()
    return tuple(text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text) for text in array)
