"""Pictures in a folder, and a table that says what each shows: one label, or any number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import COLUMN_SETTINGS, VOC_SETTINGS, Dataset, Listing, Recognised
from trainables.image.datasets.tables.assembly import assemble, nothing_found, resolve
from trainables.image.datasets.tables.finding import Finder
from trainables.image.datasets.tables.read import Rows, read_lists_of, read_tables
from trainables.image.datasets.tables.sources import Reading, folder_readings, place_of, readings
from trainables.image.datasets.tree import Tree
from trainables.image.table_form import Kind, SplitName, Table


class ImageTable(Dataset):
    """Each picture has one label or any number, as `data.table` says; without it, as the tables in root say.

    A name in the table may leave out folders or the suffix, and be written with other capitals, as long as one picture
    fits. A picture that the table names and that is missing is a defect; pictures that no row of a table names are left
    out and counted. With a folder of lists, a picture that no list names is an example without a label.

    Class attributes:
        name: as `data.dataset` has it.
        kind: what `data.table.kind: auto` means.
    """

    name: ClassVar[str] = "image_table"
    kind: ClassVar[Kind] = "auto"
    unused_settings = ("download", "options", *VOC_SETTINGS, *COLUMN_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Tables whose cells name pictures that are there and whose other columns may be labels."""
        found = readings(tree)
        if not found:
            return None
        reading = _the_one(tree, found)
        return Recognised(cls.name, reading.found, {"table": reading.table})

    def examples(self, progress: Progress = no_progress) -> Listing:
        if not self.root.is_dir():
            raise DataError(f"data.root: {self.root} {'is no folder' if self.root.exists() else 'does not exist'}")
        settings = self.data.table
        if settings is None:
            found = readings(self.tree)
            if not found:
                raise DataError(f"data.table: no table in {self.root} names its pictures: data.table names the file")
            settings = Table.model_validate(_the_one(self.tree, found).table)
        if settings.kind == "auto":
            settings = settings.model_copy(update={"kind": self.kind})
        elif self.kind not in ("auto", settings.kind):
            raise DataError(f"data.table.kind: {self.data.dataset} means {self.kind}; dataset image_table has a choice")
        pictures = self._pictures(settings)
        rows = self._rows(settings, pictures)
        found_pictures = resolve(rows, pictures, progress)
        if not found_pictures.names:
            raise nothing_found(rows, found_pictures, self.root / settings.images)
        return assemble(rows, found_pictures, pictures, self.data, settings)

    def _pictures(self, settings: Table) -> Finder:
        tree, under = place_of(self.tree, settings.images)
        if under not in tree.folders:
            state = "is no folder" if tree.path(under).exists() else "does not exist"
            raise DataError(f"data.table.images: {tree.path(under)} {state}")
        finder = Finder(tree, under, settings.names)
        if not finder.names:
            raise DataError(f"data.root: no picture in {tree.path(under)}")
        return finder

    def _rows(self, settings: Table, pictures: Finder) -> Rows:
        if not isinstance(settings.path, str):
            return read_tables(self.tree, _by_split(settings.path), settings, self.data.classes, pictures)
        tree, name = place_of(self.tree, settings.path)
        if name in tree.folders:
            found = folder_readings(tree, name, pictures, settings)
            reading = _the_one(tree, found)
            if isinstance(reading.path, str) and reading.path in tree.folders:
                return read_lists_of(tree, reading.path)
            settings = settings.model_copy(update={"path": reading.path, **reading.settings})
            return read_tables(tree, _by_split(reading.path), settings, self.data.classes, pictures)
        if settings.format == "lists":
            raise DataError(f"data.table: {tree.path(name)} is no folder of list files (data.table.format: lists)")
        return read_tables(self.tree, _by_split(settings.path), settings, self.data.classes, pictures)


class MultilabelTable(ImageTable):
    """As `image_table`, but each picture has any number of labels, whatever the rows are."""

    name = "multilabel_table"
    kind = "multi"
    needs_table = True

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Nothing: `image_table` recognises all tables."""
        return None


def _by_split(path: str | Mapping[SplitName, str]) -> list[tuple[str | None, str]]:
    return [(None, path)] if isinstance(path, str) else list(path.items())


def _the_one(tree: Tree, found: Sequence[Reading]) -> Reading:
    """The only reading; of tables with labels of pictures and of boxes, the former.

    Raises:
        DataError: there are several: what to write for each.
    """
    found = [reading for reading in found if not reading.boxes] or found
    if len(found) > 1:
        choices = "\n".join(
            f"  {reading.found}\n    data.table: {json.dumps(reading.table, ensure_ascii=False)}" for reading in found
        )
        raise DataError(f"data.table: {tree.root} has several tables of labels: say which\n{choices}")
    return found[0]
