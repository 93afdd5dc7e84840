"""Pictures in a folder, and a table that says which labels each has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    COLUMN_SETTINGS,
    VOC_SETTINGS,
    Dataset,
    Defect,
    Example,
    Listing,
    Recognised,
    table_of,
)
from trainables.image.datasets.image_folder import SPLIT_FOLDERS
from trainables.image.datasets.label_tables import Labels, read_labels
from trainables.image.datasets.picture_names import MISSING
from trainables.image.datasets.tree import Tree, suffix


@dataclass
class _Row:
    """What the table says of one picture, put together from all its rows."""

    labels: set[int]
    split: str | None
    written: str


class MultilabelTable(Dataset):
    """Each picture has any number of labels, as `data.table` says.

    A name in the table may leave out folders or the suffix, and be written with other capitals, as long as one picture
    fits. A picture that the table names and that is missing is a defect; pictures that no row of a table names are left
    out and counted. With a folder of lists, a picture that no list names is an example without a label.
    """

    needs_table = True
    unused_settings = ("download", "options", *VOC_SETTINGS, *COLUMN_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """A table in the root whose first column names pictures that are there."""
        tables = [name for name in tree.folders[""].files if suffix(name) in (".csv", ".tsv")]
        fitting = [name for name in tables if _names_pictures(tree, name)]
        if len(fitting) != 1:
            return None
        return Recognised("multilabel_table", f"{fitting[0]}, a table of labels", {"table": {"path": fitting[0]}})

    def examples(self, progress: Progress = no_progress) -> Listing:
        settings = self.data.table
        assert settings is not None, "DataConfig asks for a table where one is needed"
        if not self.root.is_dir():
            raise DataError(f"data.root: {self.root} {'is no folder' if self.root.exists() else 'does not exist'}")
        path = self.root / Path(settings.path).expanduser()
        found = read_labels(path, settings, self.data.classes)
        pictures = Tree.of(self.root / settings.images)
        names = list(pictures.pictures())
        if not names:
            raise DataError(f"data.root: no picture in {pictures.root}")
        rows, defects, named = self._rows(found, pictures, progress)
        notes = list(found.notes)
        if missing := sum(defect.reason == MISSING for defect in defects):
            notes.append(f"{missing} pictures that {path.name} names are missing")
        if not rows:
            first = "".join(f"\n  {defect}" for defect in defects[:10])
            raise DataError(
                f"data.table: none of the {len(found.names)} names in {path} is a picture in {pictures.root}{first}\n"
                '  data.table.names says how a name becomes a file name, such as "im{}.jpg"'
            )
        beside = [name for name in names if name not in named]
        if found.splits is None and not found.one_row_each and path.is_dir():
            rows |= {name: _Row(set(), None, name) for name in beside}
        elif beside:
            notes.append(f"{len(beside)} pictures are not in {path.name}: left out (such as {beside[0]})")
        classes, number = _occurring(found.classes, rows)
        if unused := [name for name in found.classes if name not in classes]:
            notes.append(f"labels without an example: {len(unused)} ({', '.join(unused[:10])})")
        unlabelled = [name for name, row in rows.items() if not row.labels]
        if unlabelled and settings.unlabelled == "drop":
            notes.append(f"{len(unlabelled)} pictures without a label left out (data.table.unlabelled: drop)")
            rows = {name: row for name, row in rows.items() if row.labels}
        elif unlabelled:
            notes.append(f"{len(unlabelled)} pictures without a label")
        examples = [
            Example(
                self._name(pictures, name),
                sorted(number[label] for label in row.labels),
                path=pictures.root / name,
                split=row.split,
            )
            for name, row in sorted(rows.items())
        ]
        return Listing(table_of(examples), classes, multilabel=True, notes=tuple(notes), defects=tuple(defects))

    def _rows(
        self, found: Labels, pictures: Tree, progress: Progress
    ) -> tuple[dict[str, _Row], list[Defect], set[str]]:
        """By picture, what the table says of it; what of the table cannot be used; all pictures that it names."""
        assert self.data.table is not None
        rows: dict[str, _Row] = {}
        defects: list[Defect] = []
        contradicting: set[str] = set()
        resolved: dict[str, str | ValueError] = {}
        for number, (written, labels, place) in enumerate(zip(found.names, found.labels, found.places, strict=True)):
            if number % 5000 == 0:
                progress("looking for pictures", number, len(found.names))
            if not (written or "").strip():
                defects.append(Defect(place, "it names no picture"))
                continue
            if written not in resolved:
                resolved[written] = _resolve(pictures, self.data.table.names.format(written.strip()))
                if isinstance(error := resolved[written], ValueError):
                    defects.append(Defect(f"{written} ({place})", str(error)))
            name = resolved[written]
            if isinstance(name, ValueError):
                continue
            split = None if found.splits is None else self._split(found.splits[number], place)
            row = rows.setdefault(name, _Row(set(labels), split, written))
            differs = found.one_row_each and row.labels != set(labels)
            if (differs or row.split != split) and name not in contradicting:
                contradicting.add(name)
                defects.append(Defect(f"{written} ({place})", f"{row.written} has another row that says otherwise"))
            row.labels |= set(labels)
        return {name: row for name, row in rows.items() if name not in contradicting}, defects, set(rows)

    def _split(self, written: str | None, place: str) -> str | None:
        if self.data.split.given is False or not (written or "").strip():
            return None
        assert written is not None
        split = SPLIT_FOLDERS.get(written.strip().lower())
        if split is None:
            raise DataError(f"data.table.split_column: {place} has {written!r}: it must be train, val or test")
        return split

    def _name(self, pictures: Tree, name: str) -> str:
        """Relative to root where that is possible."""
        path = pictures.root / name
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else name


def _occurring(classes: tuple[str, ...], rows: Mapping[str, _Row]) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes that have an example, and their numbers by what they were before."""
    present = sorted({label for row in rows.values() for label in row.labels})
    return tuple(classes[label] for label in present), {label: number for number, label in enumerate(present)}


def _names_pictures(tree: Tree, table: str) -> bool:
    """Whether one of a table's first lines begins with the name of a picture."""
    lines = tree.head(table).decode("utf-8", errors="replace").splitlines()[1:5]
    return any(isinstance(_resolve(tree, re.split("[,;\t]", line)[0].strip('" ')), str) for line in lines)


def _resolve(pictures: Tree, name: str) -> str | ValueError:
    try:
        return pictures.find(name)
    except ValueError as error:
        return error
