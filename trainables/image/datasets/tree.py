"""Lists what lies below a dataset's root: one walk, which every adapter and command shares."""

from __future__ import annotations

import copy
import os
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from trainables.errors import DataError
from trainables.image.datasets.picture_names import PictureNames
from trainables.image.example import Defect
from trainables.image.pixels.decode import SUFFIXES

PASSED_OVER = frozenset({"__MACOSX", "__pycache__", "@eaDir", "lost+found"})
"""Folders that systems leave beside data; hidden ones (`.git`, `.ipynb_checkpoints`) are passed over, too."""

HEAD_BYTES = 1 << 16
_MOST_KEPT = 4
_SETTLED_NS = 2_000_000_000
"""A folder that changed less than this before it was read may change again within the same tick of its clock."""


@dataclass(frozen=True)
class Folder:
    """One folder.

    Attributes:
        path: relative to the root, with `/`; the root itself is "".
        folders: the names of the folders in it, sorted.
        files: the names of the files in it, sorted.
    """

    path: str
    folders: tuple[str, ...]
    files: tuple[str, ...]

    def at(self, name: str) -> str:
        """The path of something in it, relative to the root."""
        return f"{self.path}/{name}" if self.path else name

    @cached_property
    def kinds(self) -> Counter[str]:
        """How many of its files have each suffix: every adapter asks, of every folder."""
        return Counter(map(suffix, self.files))

    def of_kind(self, suffixes: Collection[str]) -> tuple[str, ...]:
        """The names of its files that have one of some suffixes."""
        present = self.kinds.keys() & suffixes
        if len(present) in (0, len(self.kinds)):
            return self.files if present else ()
        return tuple(name for name in self.files if suffix(name) in present)


class Tree:
    """The folders and files below a root. Paths are relative to it and written with `/`.

    Links are followed. A folder that can be reached in several ways is read once: where it really lies, if that is
    below the root, else by the first link to it.

    Attributes:
        root: the dataset's folder; or a file, which is then the only one in the tree.
        folders: by path, parents before what is in them.
        passed_over: what was not read → how many.
        defects: files whose names are not text.
    """

    _kept: ClassVar[OrderedDict[Path, Tree]] = OrderedDict()

    def __init__(self, root: Path) -> None:
        self._start(root)
        if self._is_file:
            self.folders[""] = Folder("", (), (root.name,))
        else:
            self._walk()

    def _start(self, root: Path) -> None:
        self.root = root
        self._prefix = str(root).rstrip(os.sep) + os.sep
        self._is_file = root.is_file()
        self.folders: dict[str, Folder] = {}
        self.passed_over: Counter[str] = Counter()
        self.defects: list[Defect] = []
        self._walked_ns = time.time_ns()
        self._changed_ns: dict[str, int] = {}
        self._names: dict[str, PictureNames] = {}
        self._heads: dict[str, bytes] = {}

    @classmethod
    def of(cls, root: Path) -> Tree:
        """The tree of a root: the one that this process made before, if no folder has changed since."""
        kept = cls._kept.get(root)
        if kept is None or not kept._is_fresh():
            kept = cls(root)
            cls._kept[root] = kept
            while len(cls._kept) > _MOST_KEPT:
                cls._kept.popitem(last=False)
        return kept

    def path(self, name: str) -> Path:
        """The absolute path of a file or folder."""
        return self.root if self._is_file else self.root / name

    def absolute(self, name: str) -> str:
        """The same as text, without the cost of a `Path`."""
        return str(self.root) if self._is_file else self._prefix + name

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of this path."""
        place, _, file = name.rpartition("/")
        return place in self.folders and file in self.folders[place].files

    def files(self, under: str = "", suffixes: frozenset[str] | None = None) -> Iterator[str]:
        """Every file below a folder, in order.

        Args:
            under: the folder; by default the root.
            suffixes: of the files that are asked for, in small letters (`.jpg`); by default all.
        """
        for folder in self.below(under):
            for name in folder.files if suffixes is None else folder.of_kind(suffixes):
                yield folder.at(name)

    def pictures(self, under: str = "") -> Iterator[str]:
        """Every picture below a folder, in order."""
        for folder in self.below(under):
            for name in self._own_pictures(folder):
                yield folder.at(name)

    def below(self, under: str = "") -> Iterator[Folder]:
        """A folder and all that are in it, in order."""
        if under in self.folders:
            folder = self.folders[under]
            yield folder
            for name in folder.folders:
                yield from self.below(folder.at(name))

    def num_own_pictures(self, path: str) -> int:
        """How many pictures lie right in a folder."""
        return self._num_pictures[path][0]

    def num_pictures(self, path: str) -> int:
        """How many pictures lie below a folder, at any depth."""
        return self._num_pictures[path][1]

    def num_files(self, path: str) -> int:
        """How many files lie below a folder, at any depth."""
        return sum(len(folder.files) for folder in self.below(path))

    @cached_property
    def _num_pictures(self) -> dict[str, tuple[int, int]]:
        counts: dict[str, tuple[int, int]] = {}
        for folder in reversed(self.folders.values()):  # what is in a folder before the folder
            own = len(self._own_pictures(folder))
            counts[folder.path] = own, own + sum(counts[folder.at(name)][1] for name in folder.folders)
        return counts

    def _own_pictures(self, folder: Folder) -> tuple[str, ...]:
        """The names of the pictures right in a folder.

        Files without suffix are pictures if none has one, and the first begins as pictures do.
        """
        if folder.kinds.keys() == {""} and is_image(self.head(folder.at(folder.files[0]), 16)):
            return folder.files
        return folder.of_kind(SUFFIXES)

    @cached_property
    def suffixes(self) -> Counter[str]:
        """How many files there are of each suffix."""
        counts = Counter[str]()
        for folder in self.folders.values():
            counts.update(folder.kinds)
        return counts

    def find(self, name: str, under: str = "") -> str:
        """The picture that a table or an annotation means: see `PictureNames.find`.

        Args:
            name: as written there.
            under: the folder below which the pictures are; by default the root.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        if under not in self._names:
            self._names[under] = PictureNames(list(self.pictures(under)))
        return self._names[under].find(name)

    def head(self, name: str, num_bytes: int = HEAD_BYTES) -> bytes:
        """The beginning of a file, to recognise it by; empty when it cannot be read."""
        if len(self._heads.get(name, b"")) < num_bytes:
            try:
                with self.path(name).open("rb") as file:
                    self._heads[name] = file.read(num_bytes)
            except OSError:
                return b""  # an adapter that reads it will say why
        return self._heads[name][:num_bytes]

    def without(self, parts: Iterable[str]) -> Tree:
        """The tree without some files and folders."""
        left_out = frozenset(parts)
        if not left_out:
            return self
        tree = copy.copy(self)
        for counted in ("suffixes", "_num_pictures"):
            tree.__dict__.pop(counted, None)
        tree._names = {}
        tree.folders = {}
        for path, folder in self.folders.items():
            if path in left_out or (path and path.rpartition("/")[0] not in tree.folders):
                continue
            folders = tuple(name for name in folder.folders if folder.at(name) not in left_out)
            files = tuple(name for name in folder.files if folder.at(name) not in left_out)
            tree.folders[path] = Folder(path, folders, files)
        return tree

    def read(self, name: str) -> bytes:
        """A whole file.

        Raises:
            OSError: it cannot be read.
        """
        return self.path(name).read_bytes()

    def _walk(self) -> None:
        real: set[tuple[int, int]] = set()
        found: dict[str, Folder] = {}
        todo, links = [""], deque[str]()
        while todo or links:
            # Links last: a folder is read where it really lies, if that is below the root.
            path = todo.pop() if todo else links.popleft()
            read = self._read(path, real)
            if read is None:
                self.passed_over["links to folders that are read already"] += 1
                continue
            found[path], linked = read
            todo += [found[path].at(name) for name in reversed(found[path].folders) if name not in linked]
            links += [found[path].at(name) for name in sorted(linked)]
        self._keep("", found)

    def _keep(self, path: str, found: dict[str, Folder]) -> None:
        """Keeps what was found in the order of names, without the links that led nowhere new."""
        folder = found[path]
        folders = tuple(name for name in folder.folders if folder.at(name) in found)
        self.folders[path] = Folder(path, folders, folder.files)
        for name in folders:
            self._keep(folder.at(name), found)

    def _read(self, path: str, real: set[tuple[int, int]]) -> tuple[Folder, set[str]] | None:
        """What is in a folder, and which of its folders are links; None when it was read before."""
        place = self.root / path
        folders: list[str] = []
        files: list[str] = []
        linked: set[str] = set()
        try:
            stat = place.stat()
            if (stat.st_dev, stat.st_ino) in real:
                return None
            real.add((stat.st_dev, stat.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir():
                        if entry.name.startswith(".") or entry.name in PASSED_OVER:
                            self.passed_over["hidden folders"] += 1
                            continue
                        folders.append(entry.name)
                        if entry.is_symlink():
                            linked.add(entry.name)
                    elif entry.name.startswith("."):
                        self.passed_over["hidden files"] += 1
                    elif (
                        entry.is_file() or entry.is_symlink()
                    ):  # a link that leads nowhere is a picture that is missing
                        files.append(entry.name)
                    else:
                        self.passed_over["pipes, sockets and devices"] += 1
        except FileNotFoundError as error:
            raise DataError(f"data.root: {place} does not exist") from error
        except NotADirectoryError as error:
            raise DataError(f"data.root: {place} is not a folder") from error
        except OSError as error:
            raise DataError(f"data.root: {place} cannot be read: {error.strerror}") from error
        self._changed_ns[path] = stat.st_mtime_ns
        folder = Folder(path, tuple(sorted(self._texts(place, folders))), tuple(sorted(self._texts(place, files))))
        return folder, linked.intersection(folder.folders)

    def _texts(self, place: Path, names: list[str]) -> list[str]:
        """The names that are text; the others are defects."""
        strange = [name for name in names if not _is_text(name)]
        self.defects += [Defect(ascii(str(place / name)), "the name is not UTF-8: rename it") for name in strange]
        return [name for name in names if name not in strange] if strange else names

    def _is_fresh(self) -> bool:
        try:
            return bool(self._changed_ns) and all(
                (self.root / path).stat().st_mtime_ns == changed and changed < self._walked_ns - _SETTLED_NS
                for path, changed in self._changed_ns.items()
            )
        except OSError:
            return False


def suffix(name: str) -> str:
    """A file name's suffix in small letters, as `.jpg`; without the cost of a `Path`."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def stem(path: str) -> str:
    """A path without the suffix of its file."""
    kind = suffix(path)
    return path[: -len(kind)] if kind else path


def is_image(head: bytes) -> bool:
    """Whether a file begins as a picture does: JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIF."""
    starts = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    return head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp"


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
