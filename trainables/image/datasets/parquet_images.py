"""Parquet and Arrow files with images in them, as Hugging Face lays them out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    VOC_SETTINGS,
    Dataset,
    Defect,
    Example,
    Listing,
    Member,
    Recognised,
    table_of,
)
from trainables.image.datasets.image_folder import SPLIT_FOLDERS
from trainables.image.datasets.tree import Tree
from trainables.image.pixels.containers import is_arrow, map_arrow

SUFFIXES = (".parquet", ".arrow", ".feather")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category")
"""Looked for in this order where `data.label_column` is not given."""

_LAYOUT = """Parquet or Arrow files are looked for in root, root/data, and below:
    {root}/train-00000-of-00001.parquet, {root}/validation-*.parquet, {root}/test-*.parquet
  or without such names, to be divided by data.split"""


@dataclass(frozen=True)
class _Part:
    """One file.

    Attributes:
        path: the file.
        split: as its name (or its folder's) says.
        images: the name of the column of images.
        labels: the column of labels.
        outside: the paths of images that lie outside of the file, a row each; None: they are in it.
        features: Hugging Face's description of the column of labels.
    """

    path: Path
    split: str | None
    images: str
    labels: pa.ChunkedArray
    outside: Sequence[str | None] | None
    features: Any


class ParquetImages(Dataset):
    """A table with a column of images (`{bytes, path}`, or the bytes alone) and a column of labels.

    Labels are numbers, text, or lists of those (multi-label). Names of numbered classes come from the file's
    `huggingface` metadata. Splits come from the names `train-*`, `validation-*`, `test-*` of files or of their folders.

    The images stay in their files, of which every node must see the same. Filling the pixel cache reads each file once,
    in order; where the cache has no room, each batch of a Parquet set costs as many row groups as it has images.
    """

    unused_settings = ("download", "table", "options", *VOC_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Parquet or Arrow files and no pictures beside them."""
        files = list(tree.files(suffixes=frozenset(SUFFIXES)))
        if not files or next(tree.pictures(), None) is not None:
            return None
        return Recognised("parquet_images", f"{len(files)} Parquet or Arrow files, such as {files[0]}")

    def examples(self, progress: Progress = no_progress) -> Listing:
        files = self._files()
        defects: list[Defect] = []
        parts = []
        for number, path in enumerate(files):
            progress("reading labels", number, len(files))
            try:
                parts.append(self._read(path))
            except (pa.ArrowException, OSError) as error:
                name = path.relative_to(self.root).as_posix()
                defects.append(Defect(name, f"it cannot be read: {' '.join(str(error).split())[:300]}"))
        progress("reading labels", len(files), len(files))
        if not parts:
            lines = "".join(f"\n  {defect}" for defect in defects[:10])
            raise DataError(f"data.root: no file in {self.root} can be used:{lines}")
        return self._listing(parts, defects)

    def _files(self) -> list[Path]:
        try:
            found = sorted(path for path in self.root.rglob("*") if path.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise DataError(f"data.root: {self.root} cannot be read: {error.strerror}") from error
        found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(self.root).parts)]
        if not found:
            state = "has none" if self.root.is_dir() else "does not exist"
            raise DataError(f"data.root: {self.root} {state}\n  {_LAYOUT.format(root=self.root)}")
        return found

    def _read(self, path: Path) -> _Part:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            images, labels = self._columns(path, file.schema_arrow)
            schema, column = file.schema_arrow, file.read(columns=[labels])[labels]
            outside = None
            if pa.types.is_struct(schema.field(images).type) and _holds_no_bytes(file, images):
                paths = file.read(columns=[f"{images}.path"])[images]
                outside = [None if value is None else value["path"] for value in paths.to_pylist()]
        else:
            if not is_arrow(path):
                raise OSError("it is no Arrow file or stream")
            table = map_arrow(path)
            images, labels = self._columns(path, table.schema)
            schema, column = table.schema, table[labels]
            outside = None
            if pa.types.is_struct(schema.field(images).type):
                chunks = table[images].chunks
                if all(chunk.field("bytes").null_count == len(chunk) for chunk in chunks):
                    outside = [path for chunk in chunks for path in chunk.field("path").to_pylist()]
        split = None if self.data.split.given is False else _split_of(path, self.root)
        return _Part(path, split, images, column, outside, _features(schema).get(labels))

    def _columns(self, path: Path, schema: pa.Schema) -> tuple[str, str]:
        """The names of the columns of images and of labels."""
        known = _features(schema)

        def is_image(name: str) -> bool:
            feature, kind = known.get(name), schema.field(name).type
            named = isinstance(feature, Mapping) and feature.get("_type") == "Image"
            return named or _is_encoded(kind)

        names = ", ".join(schema.names)
        images = self.data.image_column
        if images is None:
            found = [name for name in schema.names if is_image(name)]
            if len(found) != 1:
                what = "no column of images" if not found else f"several columns of images, {', '.join(found)}"
                raise DataError(f"{path} has {what} among {names}: name it with data.image_column")
            (images,) = found
        elif images not in schema.names or not _is_encoded(schema.field(images).type):
            raise DataError(f"data.image_column: {path} has no column of images {images!r}; its columns are {names}")
        labels = self.data.label_column
        if labels is None:
            labels = next((name for name in LABEL_COLUMNS if name in schema.names), None)
            if labels is None:
                raise DataError(
                    f"{path} has no column {' or '.join(LABEL_COLUMNS[:2])} among {names}: "
                    "name the column of labels with data.label_column"
                )
        elif labels not in schema.names:
            raise DataError(f"data.label_column: {path} has no column {labels!r}; its columns are {names}")
        return images, labels

    def _listing(self, parts: Sequence[_Part], defects: list[Defect]) -> Listing:
        kinds = {_kind(part.labels.type) for part in parts}
        if None in kinds or len(kinds) > 1:
            types = ", ".join(sorted({str(part.labels.type) for part in parts}))
            raise DataError(
                f"the column of labels is of type {types}: labels are whole numbers, text, or lists of those"
            )
        multilabel, numbered = next(kind for kind in kinds if kind is not None)
        values = [_lists(part.labels.to_pylist(), multilabel) for part in parts]
        names = next((found for part in parts if (found := _class_names(part.features))), None) if numbered else None
        classes, number = _classes(values, names)
        counts: Counter[str] = Counter()
        examples = []
        for part, rows in zip(parts, values, strict=True):
            name = part.path.relative_to(self.root).as_posix()
            for row, labels in enumerate(rows):
                if labels is None or (not multilabel and any(label not in number for label in labels)):
                    counts["rows without a label (null or -1) left out"] += 1
                    continue
                place: dict[str, Any] = {"path": part.path, "member": Member(part.images, row)}
                if part.outside is not None:
                    outside = part.outside[row]
                    if outside is None:
                        defects.append(Defect(f"{name}#{row}", "the row has no image"))
                        continue
                    place = {"path": (part.path.parent / outside).absolute()}
                known = sorted({number[label] for label in labels if label in number})
                examples.append(Example(f"{name}#{row}", known, split=part.split, **place))
        notes = [f"{count} {what}" for what, count in counts.items()]
        if unused := [names[place] for place in range(len(names or ())) if names and names[place] not in classes]:
            notes.append(f"classes without an example: {', '.join(unused[:10])}")
        if any(part.split for part in parts) and not all(part.split for part in parts):
            strange = next(part.path for part in parts if part.split is None)
            notes.append(f"{strange.name} and the like name no split: their rows are divided by data.split")
        return Listing(table_of(examples), classes, multilabel, tuple(notes), tuple(defects))


def _is_encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_encoded(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_no_bytes(file: pq.ParquetFile, images: str) -> bool:
    """Whether the images of a file lie outside of it: its statistics say that there are none."""
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group)
        leaf = next(
            rows.column(place)
            for place in range(rows.num_columns)
            if rows.column(place).path_in_schema == f"{images}.bytes"
        )
        statistics = leaf.statistics
        if statistics is None or not statistics.has_null_count or statistics.null_count < rows.num_rows:
            return False
    return bool(file.num_row_groups)


def _split_of(path: Path, root: Path) -> str | None:
    """`train-00000-of-00002.parquet`, `train.parquet`, `train/data-00000.arrow` → train."""
    parts = path.relative_to(root).parts
    for word in (re.split(r"[-_.]", parts[-1], maxsplit=1)[0], *reversed(parts[:-1])):
        if (split := SPLIT_FOLDERS.get(word.lower())) is not None:
            return split
    return None


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """What Hugging Face's metadata say of the columns; nothing when there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, Mapping) else {}


def _class_names(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    if not isinstance(feature, Mapping):
        return None
    names = feature.get("names")
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    return _class_names(feature.get("feature"))


def _kind(kind: pa.DataType) -> tuple[bool, bool] | None:
    """Whether labels are lists, and whether they are numbers; None when they are neither numbers nor text."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _kind(kind.value_type)
        return None if inner is None or inner[0] else (True, inner[1])
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return False, True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return False, False
    return None


def _lists(labels: list[Any], multilabel: bool) -> list[list[Any] | None]:
    """Each row's labels as a list; None where there is no label, which Hugging Face also writes as -1."""
    if multilabel:
        return [None if row is None else [label for label in row if label is not None] for row in labels]
    return [None if label is None or label == -1 else [label] for label in labels]


def _classes(
    values: Sequence[Sequence[list[Any] | None]], names: Sequence[str] | None
) -> tuple[tuple[str, ...], Mapping[Any, int]]:
    """The classes that occur, and the number of each label."""
    present = sorted({label for rows in values for row in rows if row is not None for label in row})
    if names is None:
        return tuple(str(label) for label in present), {label: place for place, label in enumerate(present)}
    if beyond := [label for label in present if not 0 <= label < len(names)]:
        raise DataError(f"there is a label {beyond[0]}, but the file's metadata name the classes 0 to {len(names) - 1}")
    return tuple(names[label] for label in present), {label: place for place, label in enumerate(present)}
