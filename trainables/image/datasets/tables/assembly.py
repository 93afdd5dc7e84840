"""From rows of a table to examples: pictures found, contradictions named, labels put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trainables.contract import Progress
from trainables.errors import DataError
from trainables.image.datasets.base import Defect, Listing
from trainables.image.datasets.picture_names import MISSING
from trainables.image.datasets.tables.grid import listed
from trainables.image.datasets.tables.kind import is_multilabel
from trainables.image.datasets.tables.read import DROPPED, Integers, Rows
from trainables.image.index import SCHEMA

if TYPE_CHECKING:
    from trainables.image.datasets.tables.finding import Finder
    from trainables.image.settings.data import DataSettings
    from trainables.image.settings.table import Table

_SHOWN = 10


@dataclass(frozen=True)
class Pictures:
    """The pictures that rows name.

    Attributes:
        names: their paths relative to the root, in order.
        of_row: (N,) each row's picture, a place in `names`; -1: it names none that can be used.
        defects: rows that name no picture, or one that is not there.
    """

    names: Sequence[str]
    of_row: Integers
    defects: Sequence[Defect]


def resolve(rows: Rows, finder: Finder, progress: Progress) -> Pictures:
    """Finds the picture of each row."""
    found: dict[tuple[str, str | None, str], str | None] = {}
    paths: list[str | None] = []
    defects = []
    finder.by_split = finder.by_file_name = 0
    ends = [*(part.start for part in rows.parts[1:]), len(rows.names)]
    for part, end in zip(rows.parts, ends, strict=True):
        for row in range(part.start, end):
            if row % 5000 == 0:
                progress("looking for images", row, len(rows.names))
            written = rows.names[row]
            if written is None or written == DROPPED or not written.strip():
                if written != DROPPED:
                    defects.append(Defect(rows.place(row), "it names no image"))
                paths.append(None)
                continue
            key = (part.base, part.split, written)
            if key not in found:
                try:
                    found[key] = finder.find(written, part.base, part.split)
                except ValueError as error:
                    found[key] = None
                    defects.append(Defect(f"{written} ({rows.place(row)})", str(error)))
            paths.append(found[key])
    progress("looking for images", len(rows.names), len(rows.names))
    names = sorted({path for path in paths if path is not None})
    number = {name: place for place, name in enumerate(names)}
    of_row = np.array([-1 if path is None else number[path] for path in paths], dtype=np.int64)
    return Pictures(names, of_row, defects)


def assemble(rows: Rows, pictures: Pictures, finder: Finder, data: DataSettings, settings: Table) -> Listing:
    """One example per picture.

    Args:
        rows: what the tables say.
        pictures: that they name.
        finder: of the pictures.
        data: the data section.
        settings: its table, as it is read.

    Raises:
        DataError: it is open how it is meant, or nothing is left.
    """
    source = listed([part.name for part in rows.parts], 4)
    notes, defects = list(rows.notes), list(pictures.defects)
    if missing := sum(defect.reason == MISSING for defect in defects):
        notes.append(f"{missing} images that {source} names are missing")
    if finder.by_file_name:
        notes.append(f"{finder.by_file_name} names in {source} are paths of another place: found by the file's name")
    if finder.by_split:
        notes.append(f"{finder.by_split} names fit several images: the one in the folder of the table's split is meant")
    if rows.by_folder:
        rows = _folder_labels(rows, pictures)
        notes.append(rows.notes[-1])
    names = list(pictures.names)
    labels = _label_sets(rows, pictures, len(names))
    wrong = _contradictions(rows, pictures, labels)
    splits = _split_of_each(rows, pictures, len(names))
    groups = _group_of_each(rows, pictures, names)
    beside = sorted(set(finder.names) - set(names))
    if stripped := _without_zeros([defect for defect in defects if defect.reason == MISSING], beside):
        notes.append(stripped)
    if rows.lists and rows.splits is None:
        names += beside
        labels += [[] for _ in beside]
        splits += [None] * len(beside)
        groups += beside
    elif beside:
        notes.append(f"{len(beside)} images are not in {source}: left out (such as {beside[0]})")
    counts = np.array([len(each) for place, each in enumerate(labels) if place not in wrong], dtype=np.int64)
    multilabel, note = is_multilabel(counts, rows, settings.kind)
    notes += [note] if note else []
    if not multilabel:
        wrong |= {place: _several(rows, pictures, place) for place, each in enumerate(labels) if len(each) > 1}
    defects += [wrong[place] for place in sorted(wrong)]
    kept = np.array([place for place in range(len(names)) if place not in wrong], dtype=np.int64)
    without = np.array([not labels[place] for place in kept], dtype=bool)
    if without.any():
        why = "" if multilabel else " left out: each must have one"
        if multilabel and settings.unlabelled == "drop":
            why = " left out (data.table.unlabelled: drop)"
        notes.append(f"{int(without.sum())} images without a label{why}")
        kept = kept[~without] if why else kept
    order = sorted(kept.tolist(), key=lambda place: names[place])
    if not order:
        raise DataError(_nothing(source, defects))
    classes, number = _occurring(rows.classes, (labels[place] for place in order))
    if unused := [name for name in rows.classes if name not in classes]:
        notes.append(f"labels without an example: {len(unused)} ({', '.join(unused[:_SHOWN])})")
    given = data.split.given is not False
    table = index_table(
        [names[place] for place in order],
        [f"{finder.tree.root}/{names[place]}" for place in order],
        [[number[label] for label in labels[place]] for place in order],
        [groups[place] for place in order],
        [splits[place] if given else None for place in order],
    )
    return Listing(table, classes, multilabel=multilabel, notes=tuple(notes), defects=tuple(defects))


def _without_zeros(missing: Sequence[Defect], beside: Sequence[str]) -> str:
    """What spreadsheets do to ids such as 00853: that such names fit pictures but for their leading zeros."""
    stems: dict[str, list[str]] = {}
    for name in beside:
        stem = name.rpartition("/")[2].partition(".")[0]
        if stem.startswith("0"):
            stems.setdefault(stem.lstrip("0"), []).append(name)
    written = (defect.name.rpartition(" (")[0].rpartition("/")[2].partition(".")[0] for defect in missing)
    fitting = [(name, stems[name][0]) for name in written if len(stems.get(name, ())) == 1]
    if not fitting:
        return ""
    name, picture = fitting[0]
    return (
        f"{len(fitting)} of the missing images are there but for leading zeros (such as {name}: {picture}): "
        "spreadsheets drop them, so restore them in the table"
    )


def index_table(
    names: Sequence[str],
    paths: Sequence[str],
    labels: Sequence[Sequence[int]],
    groups: Sequence[str],
    splits: Sequence[str | None],
    boxes: Sequence[Sequence[int]] | None = None,
) -> pa.Table:
    """The rows of the index, of pictures that are files."""
    count = len(names)
    columns: dict[str, pa.Array] = {
        "example": pa.array(names, pa.string()),
        "path": pa.array(paths, pa.string()),
        "labels": pa.array(labels, SCHEMA.field("labels").type),
        "group": pa.array(groups, pa.string()),
        "split": pa.array(splits, pa.string()),
    }
    if boxes is not None:
        columns["box"] = pa.array(boxes, SCHEMA.field("box").type)
    empty = {field.name: pa.nulls(count, field.type) for field in SCHEMA if field.name not in columns}
    return pa.table({field.name: {**columns, **empty}[field.name] for field in SCHEMA}, schema=SCHEMA)


def nothing_found(rows: Rows, pictures: Pictures, folder: object) -> DataError:
    """What to say when no row names a picture that is there."""
    first = "".join(f"\n  {defect}" for defect in pictures.defects[:_SHOWN])
    source = listed([part.name for part in rows.parts], 4)
    return DataError(
        f"data.table: none of the {len(rows.names)} names in {source} is an image in {folder}{first}\n"
        '  data.table.names says how a name becomes a file name, such as "im{}.jpg"'
    )


def _folder_labels(rows: Rows, pictures: Pictures) -> Rows:
    """The rows with the folder of each picture as its label."""
    folders = [PurePosixPath(name).parent.name for name in pictures.names]
    classes = tuple(sorted(set(folders)))
    if len(classes) < 2:
        source = listed([part.name for part in rows.parts], 4)
        raise DataError(
            f"data.table: {source} only lists images, and they lie in {listed(classes) or 'one folder'}: no label\n"
            "  A table of labels has a column for them; lists called train, val and test only say the splits"
        )
    number = {name: place for place, name in enumerate(classes)}
    of_picture = np.array([number[folder] for folder in folders], dtype=np.int64)
    used = np.flatnonzero(pictures.of_row >= 0)
    note = f"the folder that an image lies in is its label: {len(classes)} folders"
    return replace(
        rows,
        pair_rows=used,
        pair_labels=of_picture[pictures.of_row[used]],
        classes=classes,
        notes=(*rows.notes, note),
    )


def _label_sets(rows: Rows, pictures: Pictures, count: int) -> list[list[int]]:
    """The labels of each picture, from all of its rows, ascending."""
    owner = pictures.of_row[rows.pair_rows]
    pairs = np.unique(np.stack([owner, rows.pair_labels], axis=1)[owner >= 0], axis=0)
    ends = np.searchsorted(pairs[:, 0], np.arange(count), side="right")
    flat = pairs[:, 1].tolist()
    return [flat[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def _rows_by_picture(pictures: Pictures, least: int = 2) -> dict[int, list[int]]:
    """The rows of each picture that has at least so many."""
    used = np.flatnonzero(pictures.of_row >= 0)
    counts = np.bincount(pictures.of_row[used], minlength=len(pictures.names))
    found: dict[int, list[int]] = defaultdict(list)
    for row in used[counts[pictures.of_row[used]] >= least].tolist():
        found[int(pictures.of_row[row])].append(row)
    return found


def _contradictions(rows: Rows, pictures: Pictures, labels: Sequence[Sequence[int]]) -> dict[int, Defect]:
    """Pictures of which two rows say different things: other labels where a row says all, or another split."""
    several = _rows_by_picture(pictures)
    if not several or (not rows.whole and rows.splits is None):
        return {}
    starts = np.searchsorted(rows.pair_rows, np.arange(len(rows.names) + 1))
    wrong = {}
    for place, numbers in several.items():
        first = numbers[0]
        for row in numbers[1:]:
            had = [set(rows.pair_labels[starts[each] : starts[each + 1]].tolist()) for each in (first, row)]
            other_split = rows.splits is not None and rows.splits[first] != rows.splits[row]
            if (rows.whole and had[0] != had[1]) or other_split:
                wrong[place] = Defect(
                    f"{rows.names[row]} ({rows.place(row)})", f"{rows.names[first]} has another row that says otherwise"
                )
                break
    return wrong


def _several(rows: Rows, pictures: Pictures, place: int) -> Defect:
    """A picture that has two labels where one is meant."""
    said: list[tuple[int, int]] = []
    for row in np.flatnonzero(pictures.of_row == place).tolist():
        said += [(row, int(label)) for label in rows.pair_labels[rows.pair_rows == row]]
    (first, label), (row, other) = said[0], next(each for each in said if each[1] != said[0][1])
    return Defect(
        f"{rows.names[row]} ({rows.place(row)})",
        f"its label is {rows.classes[other]!r} here and {rows.classes[label]!r} in {rows.place(first)}",
    )


def _first_rows(pictures: Pictures) -> Integers:
    """The first row of each picture."""
    first = np.full(len(pictures.names), -1, dtype=np.int64)
    used = np.flatnonzero(pictures.of_row >= 0)[::-1]
    first[pictures.of_row[used]] = used
    return first


def _split_of_each(rows: Rows, pictures: Pictures, count: int) -> list[str | None]:
    if rows.splits is None:
        return [None] * count
    return [split or None for split in rows.splits[_first_rows(pictures)].tolist()]


def _group_of_each(rows: Rows, pictures: Pictures, names: Sequence[str]) -> list[str]:
    if rows.groups is None:
        return list(names)
    written = [rows.groups[row] for row in _first_rows(pictures).tolist()]
    return [group.strip() if group and group.strip() else name for group, name in zip(written, names, strict=True)]


def _occurring(classes: Sequence[str], labels: Iterable[Sequence[int]]) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes that have an example, and their numbers by what they were before."""
    present = sorted({label for each in labels for label in each})
    return tuple(classes[label] for label in present), {label: number for number, label in enumerate(present)}


def _nothing(source: str, defects: Sequence[Defect]) -> str:
    first = "".join(f"\n  {defect}" for defect in defects[:_SHOWN])
    return f"data.table: no image that {source} names can be used{first}"
