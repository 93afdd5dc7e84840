"""Pictures in a folder, and a table that says what each shows: one label, or any number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import Dataset, Listing, Recognised, unused_but
from trainables.image.datasets.objects.views import listing_of
from trainables.image.datasets.tables.assembly import assemble, nothing_found, resolve
from trainables.image.datasets.tables.boxes import annotations_of
from trainables.image.datasets.tables.finding import Finder
from trainables.image.datasets.tables.read import Rows, read_lists_of, read_tables
from trainables.image.datasets.tables.sources import Reading, folder_readings, place_of, readings
from trainables.image.datasets.tree import Tree
from trainables.image.settings.table import Kind, SplitName, Table


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
    views = ("images", "crops")
    unused_settings = unused_but("table", "margin", "min_size", "box_origin")

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Tables whose cells name pictures that are there and whose other columns may be labels."""
        found = cls.readings(tree)
        return found[0] if found else None

    @classmethod
    def readings(cls, tree: Tree) -> list[Recognised]:
        found = readings(tree)
        whole = [reading for reading in found if not reading.boxes]
        return [
            # Where other tables have the labels of whole pictures, those with boxes are for the crops.
            Recognised(cls.name, reading.found, {"table": reading.table}, views=_views(reading.boxes, bool(whole)))
            for reading in found
        ]

    def examples(self, progress: Progress = no_progress) -> Listing:
        if not self.root.is_dir():
            raise DataError(f"data.root: {self.root} {'is not a folder' if self.root.exists() else 'does not exist'}")
        settings = self.data.table
        if settings is None:
            found = readings(self.tree)
            if not found:
                raise DataError(f"data.table: no table in {self.root} names its images: data.table names the file")
            settings = Table.model_validate(_the_one(self.tree, found, self.data.view).table)
        if settings.kind == "auto":
            settings = settings.model_copy(update={"kind": self.kind})
        elif self.kind not in ("auto", settings.kind):
            raise DataError(f"data.table.kind: {self.data.dataset} means {self.kind}; dataset image_table has a choice")
        pictures = self._pictures(settings)
        rows = self._rows(settings, pictures)
        found_pictures = resolve(rows, pictures, progress)
        if not found_pictures.names:
            raise nothing_found(rows, found_pictures, self.root / settings.images)
        if self.data.view == "crops":
            given = self.data.split.given is not False
            annotations = annotations_of(
                rows if given else replace(rows, splits=None), found_pictures, self.data.box_origin
            )
            return listing_of(annotations, self.data, pictures.tree.root, progress)
        return assemble(rows, found_pictures, pictures, self.data, settings)

    def _pictures(self, settings: Table) -> Finder:
        tree, under = place_of(self.tree, settings.images)
        if under not in tree.folders:
            state = "is not a folder" if tree.path(under).exists() else "does not exist"
            raise DataError(f"data.table.images: {tree.path(under)} {state}")
        finder = Finder(tree, under, settings.names)
        if not finder.names:
            raise DataError(f"data.root: no image in {tree.path(under)}")
        return finder

    @property
    def _columns(self) -> tuple[str, ...] | None:
        """Names that are columns, where a table has a column per label; classes of new names are none."""
        return None if self.data.rename_classes else self.data.classes

    def _rows(self, settings: Table, pictures: Finder) -> Rows:
        if not isinstance(settings.path, str):
            return read_tables(self.tree, _by_split(settings.path), settings, self._columns, pictures)
        tree, name = place_of(self.tree, settings.path)
        if name in tree.folders:
            found = folder_readings(tree, name, pictures, settings)
            reading = _the_one(tree, found, self.data.view)
            if isinstance(reading.path, str) and reading.path in tree.folders:
                return read_lists_of(tree, reading.path)
            settings = settings.model_copy(update={"path": reading.path, **reading.settings})
            return read_tables(tree, _by_split(reading.path), settings, self._columns, pictures)
        if settings.format == "lists":
            raise DataError(f"data.table: {tree.path(name)} is not a folder of list files (data.table.format: lists)")
        return read_tables(self.tree, _by_split(settings.path), settings, self._columns, pictures)


class MultilabelTable(ImageTable):
    """As `image_table`, but each picture has any number of labels, whatever the rows are."""

    name = "multilabel_table"
    kind = "multi"
    needs_table = True

    @classmethod
    def readings(cls, tree: Tree) -> list[Recognised]:
        """None: `image_table` recognises all tables."""
        return []


def _by_split(path: str | Mapping[SplitName, str]) -> list[tuple[str | None, str]]:
    return [(None, path)] if isinstance(path, str) else list(path.items())


def _views(boxes: bool, others: bool) -> tuple[str, ...]:
    return ("images",) if not boxes else ("crops",) if others else ("images", "crops")


def _the_one(tree: Tree, found: Sequence[Reading], view: str) -> Reading:
    """The only reading; of tables with labels of pictures and with boxes, the one for the view.

    Raises:
        DataError: there are several: what to write for each.
    """
    found = [reading for reading in found if reading.boxes == (view == "crops")] or found
    if len(found) > 1:
        choices = "\n".join(
            f"  {reading.found}\n    data.table: {json.dumps(reading.table, ensure_ascii=False)}" for reading in found
        )
        raise DataError(f"data.table: {tree.root} has several tables of labels: say which\n{choices}")
    return found[0]
