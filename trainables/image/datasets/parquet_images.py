"""Parquet and Arrow files with images in them, as Hugging Face lays them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    COLUMN_SETTINGS,
    Dataset,
    Defect,
    Example,
    Listing,
    Member,
    Recognised,
    table_of,
    unused_but,
)
from trainables.image.datasets.hugging_face import (
    DATUMARO_ADVICE,
    class_names,
    data_files,
    features_of,
    is_datumaro,
    readme_features,
    refuse_several_configurations,
    split_of,
)
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
        names: of the classes whose numbers the labels are; None: nothing says so.
    """

    path: Path
    split: str | None
    images: str
    labels: pa.ChunkedArray
    outside: Sequence[str | None] | None
    names: Sequence[str] | None


class ParquetImages(Dataset):
    """A table with a column of images (`{bytes, path}`, or the bytes alone) and a column of labels.

    Labels are numbers, text, or lists of those (multi-label). Names of numbered classes come from the file's
    `huggingface` metadata, or from `dataset_info` in README.md. Splits come from the words train, validation, test and
    the like in the names of files or of their folders. Several configurations are not pooled.

    The images stay in their files, of which every node must see the same. Filling the pixel cache reads each file once,
    in order; where the cache has no room, each batch of a Parquet set costs as many row groups as it has images.
    """

    unused_settings = unused_but(*COLUMN_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Parquet or Arrow files with a column of images, or with nothing beside them that could be the pictures."""
        files = list(tree.files(suffixes=frozenset(SUFFIXES)))
        if files and is_datumaro(tree.path(files[0])):
            return None
        if not files or (next(tree.pictures(), None) is not None and not _has_images(tree.path(files[0]))):
            return None
        return Recognised("parquet_images", f"{len(files)} Parquet or Arrow files, such as {files[0]}")

    def examples(self, progress: Progress = no_progress) -> Listing:
        files, beside = self._files()
        defects: list[Defect] = []
        parts = []
        for number, path in enumerate(files):
            progress("reading labels", number, len(files))
            try:
                parts.append(self._read(path))
            except (pa.ArrowException, OSError) as error:
                defects.append(Defect(path, f"it cannot be read: {' '.join(str(error).split())[:300]}"))
        progress("reading labels", len(files), len(files))
        if not parts:
            lines = "".join(f"\n  {defect}" for defect in defects[:10])
            raise DataError(f"data.root: no file in {self.root} can be used:{lines}")
        notes = [f"{len(beside)} files that state.json does not name left out (such as {beside[0]})"] if beside else []
        return self._listing(parts, defects, [*notes, *dict.fromkeys(self._notes)])

    def _files(self) -> tuple[list[str], list[str]]:
        self._notes: list[str] = []
        found, beside = data_files(self.tree, sorted(self.tree.files(suffixes=frozenset(SUFFIXES))))
        if not found:
            raise DataError(f"data.root: {self.root} has none\n  {_LAYOUT.format(root=self.root)}")
        refuse_several_configurations(self.tree, found)
        return found, beside

    def _read(self, name: str) -> _Part:
        path = self.tree.path(name)
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
        split = None if self.data.split.given is False else split_of(name)
        feature, in_readme = features_of(schema).get(labels), readme_features(self.tree, name).get(labels)
        if (classes := _class_field(column.type)) is not None:
            column = _of_struct(column, classes)
            feature, in_readme = _inner(feature, classes), _inner(in_readme, classes)
            self._notes.append(
                f"an image has the classes of its objects ({labels}.{classes}); their boxes are not read from Parquet"
            )
        names = class_names(feature)
        if names is None and (names := class_names(in_readme)) is not None:
            self._notes.append("names of classes are from README.md (dataset_info)")
        return _Part(path, split, images, _plain(column), outside, names)

    def _columns(self, path: Path, schema: pa.Schema) -> tuple[str, str]:
        """The names of the columns of images and of labels."""
        known = features_of(schema)

        def is_image(name: str) -> bool:
            feature, kind = known.get(name), schema.field(name).type
            named = isinstance(feature, Mapping) and feature.get("_type") == "Image"
            return named or _is_encoded(kind)

        if is_datumaro(path):
            raise DataError(f"{path} is Datumaro's Arrow, which is not read. {DATUMARO_ADVICE}")
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
            fitting = [name for name in LABEL_COLUMNS if name in schema.names]
            labels = fitting[0] if fitting else None
            others = [name for name in schema.names if name != labels and class_names(known.get(name)) is not None]
            if labels is not None and others:
                self._notes.append(
                    f"labels are in column {labels!r}; {', '.join(map(repr, others))} has some, too (data.label_column)"
                )
            objects = [field.name for field in schema if _class_field(field.type) is not None]
            if labels is None and len(objects) == 1:
                labels = objects[0]
            if labels is None:
                raise DataError(
                    f"{path} has no column {' or '.join(LABEL_COLUMNS[:2])} among {names}: "
                    "name the column of labels with data.label_column"
                )
        elif labels not in schema.names:
            raise DataError(f"data.label_column: {path} has no column {labels!r}; its columns are {names}")
        return images, labels

    def _listing(self, parts: Sequence[_Part], defects: list[Defect], notes: Sequence[str]) -> Listing:
        kinds = {_kind(part.labels.type) for part in parts}
        if None in kinds or len(kinds) > 1:
            types = ", ".join(sorted({str(part.labels.type) for part in parts}))
            raise DataError(
                f"the column of labels is of type {types}: labels are whole numbers, text, or lists of those\n"
                "  Another column is named with data.label_column"
            )
        multilabel, numbered = next(kind for kind in kinds if kind is not None)
        values = [_lists(part.labels.to_pylist(), multilabel) for part in parts]
        names = None
        if numbered and any(part.names for part in parts):
            # By name, because the files of two splits may number their classes differently.
            names = tuple(dict.fromkeys(name for part in parts for name in part.names or ()))
            values = [_numbered(rows, part, names) for rows, part in zip(values, parts, strict=True)]
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
                    try:
                        place = {"path": self._outside(part, outside)}
                    except ValueError as error:
                        defects.append(Defect(f"{name}#{row}", f"{outside}: {error}"))
                        continue
                known = sorted({number[label] for label in labels if label in number})
                examples.append(Example(f"{name}#{row}", known, split=part.split, **place))
        if not examples and any(part.outside for part in parts):
            raise DataError(_no_pixels(self.root, defects))
        notes = [*notes, *(f"{count} {what}" for what, count in counts.items())]
        if unused := [names[place] for place in range(len(names or ())) if names and names[place] not in classes]:
            notes.append(f"classes without an example: {', '.join(unused[:10])}")
        if any(part.split for part in parts) and not all(part.split for part in parts):
            strange = next(part.path for part in parts if part.split is None)
            notes.append(f"{strange.name} and the like name no split: their rows are divided by data.split")
        return Listing(table_of(examples), classes, multilabel, tuple(notes), tuple(defects))

    def _outside(self, part: _Part, path: str) -> Path:
        """The picture that a file names: beside the file, or below root.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        beside = part.path.parent / path
        return beside.absolute() if beside.is_file() else self.tree.path(self.tree.find(path))


def _no_pixels(root: Path, defects: Sequence[Defect]) -> str:
    first = "".join(f"\n  {defect}" for defect in defects[:3])
    return (
        f"data.root: the files in {root} hold no pixels, only paths of images, and none is below root{first}\n"
        "  Such paths count from where the file was written. Put the images below root, or write them into the file "
        "(Hugging Face: save_to_disk and push_to_hub do; to_parquet does not)"
    )


def _has_images(path: Path) -> bool:
    """Whether a file has a column of images."""
    try:
        schema = pq.read_schema(path) if path.suffix.lower() == ".parquet" else map_arrow(path).schema
    except (pa.ArrowException, OSError):
        return False
    return any(_is_encoded(field.type) for field in schema)


CLASS_FIELDS = ("category", "categories", "category_id", "label", "labels", "class", "classes", "class_id")
"""Of a struct of lists that holds an image's objects."""


def _class_field(kind: pa.DataType) -> str | None:
    """The field with the classes of an image's objects; None: it is not a struct of lists with boxes and classes."""
    if not pa.types.is_struct(kind) or not any("box" in field.name for field in kind):
        return None
    lists = [field.name for field in kind if (found := _kind(field.type)) is not None and found[0]]
    return next((name for name in CLASS_FIELDS if name in lists), None)


def _of_struct(column: pa.ChunkedArray, field: str) -> pa.ChunkedArray:
    """A field of a column of structs."""
    chunks = [pc.struct_field(chunk, field) for chunk in column.chunks]
    return pa.chunked_array(chunks, type=column.type.field(field).type)


def _inner(feature: Any, field: str) -> Any:
    """What metadata or a README say of a field of a struct."""
    if isinstance(feature, list):
        named = [each for each in feature if isinstance(each, Mapping) and each.get("name") == field]
        return named[0] if named else _inner(feature[0], field) if len(feature) == 1 else None
    if not isinstance(feature, Mapping):
        return None
    if field in feature:
        return feature[field]
    inner = next((feature[key] for key in ("feature", "struct", "list", "sequence") if key in feature), None)
    return _inner(inner, field)


def _is_encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        if kind.get_field_index("bytes") < 0:
            return False
        pixels = kind.field("bytes").type  # of type null where the file holds paths only
        return _is_encoded(pixels) or (pa.types.is_null(pixels) and kind.get_field_index("path") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or str(kind) == "binary_view")


def _holds_no_bytes(file: pq.ParquetFile, images: str) -> bool:
    """Whether the images of a file lie outside of it: its statistics say that there are none."""
    if pa.types.is_null(file.schema_arrow.field(images).type.field("bytes").type):
        return True
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


def _plain(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Labels as whole numbers where they are floats that are whole, and text in its common form."""
    if pa.types.is_floating(labels.type) and pc.all(pc.equal(pc.floor(labels), labels)).as_py():
        return labels.cast(pa.int64())
    return labels.cast(pa.string()) if str(labels.type) == "string_view" else labels


def _numbered(rows: Sequence[list[Any] | None], part: _Part, names: Sequence[str]) -> list[list[Any] | None]:
    """A part's labels as numbers among the names of all parts.

    Raises:
        DataError: a label is none of the part's classes.
    """
    own = part.names or names
    number = {name: place for place, name in enumerate(names)}
    place = {label: number[name] for label, name in enumerate(own)}
    if strange := next((label for row in rows for label in row or () if label not in place), None):
        raise DataError(f"{part.path} has a label {strange}, but the metadata name the classes 0 to {len(own) - 1}")
    return [None if row is None else [place[label] for label in row] for row in rows]


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
    return tuple(names[label] for label in present), {label: place for place, label in enumerate(present)}
