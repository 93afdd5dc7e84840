"""Lists the examples of any dataset: of the chosen classes, each under one name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.data.splits import no_class
from trainables.image.data_config import DataConfig
from trainables.image.datasets import dataset_class
from trainables.image.datasets.class_names import alike, canonical, unite
from trainables.image.example import Defect, Listing
from trainables.image.index import flat_labels

_SHOWN = 10  # classes, defects
_DETAILS = re.compile(r"'[^']*'|\([^)]*\)|\S*\d\S*")  # of a reason: what differs from file to file


def list_examples(data: DataConfig, progress: Progress = no_progress) -> Listing:
    """The examples of the chosen classes. Reads no picture: the quick way to learn whether there is data at all.

    Raises:
        DataError: the data is not there, or holds nothing to tell apart.
    """
    listing = read_listing(data, progress)
    check_classes(listing)
    caps = data.balance.caps if isinstance(data.balance.caps, dict) else {}  # one cap for all names no class
    if unknown := [name for name in caps if name not in listing.classes]:
        hint = "(no balancing: --set data.balance={})"
        raise DataError(f"data.balance: {no_class(unknown[0], listing.classes)} {hint}")
    return listing


def read_listing(data: DataConfig, progress: Progress = no_progress) -> Listing:
    """The examples of the chosen classes, be it one class only.

    Raises:
        DataError: the data is not there, or there is no such class.
    """
    return choose_classes(unite_classes(dataset_class(data.dataset)(data).examples(progress), data), data)


def unite_classes(listing: Listing, data: DataConfig) -> Listing:
    """The listing with one class where the names of several look the same, or `data.rename_classes` gives one name.

    Raises:
        DataError: names differ in capitals only, or a class that is to be renamed does not exist.
    """
    _, labels = flat_labels(listing.table)
    sizes = np.bincount(labels, minlength=len(listing.classes)).tolist()
    counts = dict(zip(listing.classes, sizes, strict=True))
    renamed = {name if name in counts else canonical(name): new for name, new in data.rename_classes.items()}
    if unknown := [name for name in renamed if name not in {*counts, *map(canonical, counts)}]:
        raise DataError(f"data.rename_classes: {no_class(unknown[0], listing.classes)}")
    called, notes = unite(counts, data.classes or (), renamed)
    classes = tuple(dict.fromkeys(called[name] for name in listing.classes))
    if renamed:
        classes = tuple(sorted(classes))
    if classes != listing.classes or len(set(called.values())) < len(called):
        number = [classes.index(called[name]) for name in listing.classes]
        rows = [sorted({number[label] for label in row}) for row in listing.table["labels"].to_pylist()]
        listing = replace(listing, table=_with_labels(listing.table, rows), classes=classes)
    sums = {name: sum(counts[written] for written in counts if called[written] == name) for name in classes}
    warnings = alike(sums, data.classes or ())
    return replace(listing, notes=(*listing.notes, *notes), warnings=(*listing.warnings, *warnings))


def choose_classes(listing: Listing, data: DataConfig) -> Listing:
    """The listing with only the classes of `data.classes`, numbered in that order.

    Raises:
        DataError: there is no such class.
    """
    if data.classes is None:
        return listing
    wanted = tuple(name if name in listing.classes else canonical(name) for name in data.classes)
    if unknown := [name for name in wanted if name not in listing.classes]:
        raise DataError(f"data.classes: {no_class(unknown[0], listing.classes)}")
    number = {listing.classes.index(name): place for place, name in enumerate(wanted)}
    labels = [[number[label] for label in row if label in number] for row in listing.table["labels"].to_pylist()]
    table = _with_labels(listing.table, labels)
    notes = listing.notes
    if not listing.multilabel:
        table = table.filter(pa.array([bool(row) for row in labels]))
        notes = (*notes, f"{len(labels) - len(table)} examples of classes that data.classes does not list")
    return replace(listing, table=table, classes=wanted, notes=notes)


def _with_labels(table: pa.Table, labels: list[list[int]]) -> pa.Table:
    field = table.schema.field("labels")
    return table.set_column(table.schema.get_field_index("labels"), field, pa.array(labels, type=field.type))


def check_classes(listing: Listing) -> None:
    """Whether there is something to tell apart.

    Raises:
        DataError: no example, one class only, or (multi-label) one class that every example has.
    """
    if not len(listing.table):
        raise DataError(f"data: no example can be used{':' if listing.defects else ''}{defect_lines(listing.defects)}")
    names = listing.table["example"].to_pylist()
    if len(set(names)) < len(names):
        twice = next(name for name, again in itertools.pairwise(sorted(names)) if name == again)
        raise DataError(f"the dataset has two examples called {twice!r}: names must be unique")
    rows, labels = flat_labels(listing.table)
    counts = np.bincount(labels, minlength=len(listing.classes))
    if absent := [name for name, count in zip(listing.classes, counts, strict=True) if not count]:
        raise DataError(f"data: no example of class {', '.join(absent[:_SHOWN])}{_left_out(listing)}")
    if len(listing.classes) < 2 and (not listing.multilabel or len(rows) == len(listing.table)):
        raise DataError(
            f"data: only one class, {listing.classes[0]!r}, which every example has: a classifier needs at least two"
            f"{_left_out(listing)}"
        )


def _left_out(listing: Listing) -> str:
    return f"\n  {len(listing.defects)} cannot be used:{defect_lines(listing.defects)}" if listing.defects else ""


def defect_lines(defects: Sequence[Defect]) -> str:
    """Some of many defects, each on a line of its own: of every kind the first ones; and how many there are of each."""
    if len(defects) <= _SHOWN:
        return "".join(f"\n  {defect}" for defect in defects)
    kinds: dict[str, list[Defect]] = {}
    for defect in defects:
        kinds.setdefault(_DETAILS.sub("…", defect.reason), []).append(defect)
    shown: list[Defect] = []
    for row in itertools.zip_longest(*kinds.values()):
        shown += [defect for defect in row if defect is not None]
    chosen = {id(defect) for defect in shown[:_SHOWN]}
    lines = "".join(f"\n  {defect}" for defect in defects if id(defect) in chosen)
    counts = [f"{len(own)} × {kind}" for kind, own in kinds.items()][:_SHOWN] if len(kinds) > 1 else []
    return f"{lines}\n  and {len(defects) - _SHOWN} more{'; all in all ' if counts else ''}{', '.join(counts)}"
