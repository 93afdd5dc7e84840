"""Finds the image that a cell of a table names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from trainables.image.datasets.picture_names import MISSING
from trainables.image.datasets.split_words import SPLIT_FOLDERS
from trainables.image.datasets.tables.words import words_of

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree


_IN_RECORD = re.compile(r"""["']path["']:\s*["']([^"']+)["']""")
_ELSEWHERE = re.compile(r"/|[A-Za-z]:/|[a-z][a-z0-9+.-]*://")


class Finder:
    """Finds pictures below a folder of a tree.

    Attributes:
        tree: what lies below the root.
        under: the folder of the pictures, relative to root; "" is the root.
        pattern: `data.table.names`.
        by_split: how many names were told apart by the folder of the table's split.
        by_file_name: how many were found by their file name alone, because they are paths of another machine.
    """

    def __init__(self, tree: Tree, under: str = "", pattern: str = "{}") -> None:
        self.tree, self.under, self.pattern = tree, under, pattern
        self.by_split = 0
        self.by_file_name = 0

    @cached_property
    def names(self) -> list[str]:
        """Every picture's path relative to the root, in order."""
        return list(self.tree.pictures(self.under))

    def find(self, written: str, base: str = "", split: str | None = None) -> str:
        """The path of the picture, relative to the root.

        Args:
            written: the cell.
            base: the table's folder, from which names count first.
            split: that the table is for; pictures in a folder named after it are meant first where several fit.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        name = self.pattern.format(written.strip()).replace("\\", "/").removeprefix("./")
        if base and (beside := f"{base}/{name}") in self._exact:
            return beside
        try:
            return self.tree.find(name, self.under)
        except ValueError:
            if split is not None and len(fits := self._of_split(name, split)) == 1:
                self.by_split += 1
                return fits[0]
            if (found := self._at_address(name)) is not None:
                return found
            raise

    def _at_address(self, name: str) -> str | None:
        """The picture at the end of an address, whose folders are those of another machine."""
        ends = [plain] if (plain := _from_address(name)) != name else []
        if _ELSEWHERE.match(name) or name.startswith("{"):
            ends.append(plain.rpartition("/")[2])
        for end in ends:
            try:
                found = self.tree.find(end, self.under)
            except ValueError:
                continue
            self.by_file_name += end is not plain
            return found
        return None

    def is_picture(self, cell: str, base: str = "") -> bool:
        """Whether a cell names a picture, be it one of several."""
        try:
            self.find(cell, base)
        except ValueError as error:
            return str(error) != MISSING
        return True

    def find_or_none(self, cell: str, base: str = "") -> str | None:
        """The path of the picture; None when there is none, or several could be meant."""
        try:
            return self.find(cell, base)
        except ValueError:
            return None

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            found[PurePosixPath(name).stem.casefold()].append(name)
            found[PurePosixPath(name).name.casefold()].append(name)
        return found

    def _of_split(self, name: str, split: str) -> Sequence[str]:
        """Pictures of that name in a folder of the split, such as `train_images/`."""
        fits = self._by_stem.get(PurePosixPath(name).name.casefold(), ())
        return [
            each
            for each in fits
            if any(SPLIT_FOLDERS.get(word) == split for word in words_of(str(PurePosixPath(each).parent)))
        ]


def _from_address(name: str) -> str:
    """The file of an address: `/data/local-files/?d=images/a%20b.jpg` → images/a b.jpg."""
    if name.startswith("{") and (path := _IN_RECORD.search(name)):  # as Hugging Face writes an image into CSV or JSON
        return path[1]
    return unquote(name.partition("?d=")[2] or name)
