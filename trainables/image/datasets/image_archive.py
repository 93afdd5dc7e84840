"""Class folders inside archives: a zip or tar file, or one per split. They are read without unpacking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import Example, Listing, Member, Recognised, unused_but
from trainables.image.datasets.image_folder import ImageFolder
from trainables.image.datasets.tree import PASSED_OVER, Folder, Tree, suffix
from trainables.image.pixels import archives

_SUFFIXES = frozenset({".zip", ".tar"})


class ArchiveTree(Tree):
    """What is in archives, as if they were unpacked: the one archive in the root, or each in a folder of its name.

    Attributes:
        members: path in the tree → the archive, and the place in it.
    """

    def __init__(self, root: Path, files: list[Path]) -> None:
        self._start(root)
        self.members: dict[str, tuple[Path, Member]] = {}
        self._readers: dict[Path, Callable[[int], bytes]] = {}
        for file in files:
            column = archives.TAR if suffix(file.name) == ".tar" else archives.ZIP
            above = f"{file.stem}/" if len(files) > 1 else ""
            for entry in archives.entries(file):
                parts = entry.name.removeprefix("./").split("/")
                if any(part.startswith(".") or part in PASSED_OVER for part in parts):
                    self.passed_over["hidden files"] += 1
                elif "" not in parts:
                    self.members[above + "/".join(parts)] = file, Member(column, entry.row)
        self._fold()

    def head(self, name: str, num_bytes: int = 1 << 16) -> bytes:
        """The beginning of a file in an archive."""
        return self.read(name)[:num_bytes]

    def read(self, name: str) -> bytes:
        """A file in an archive."""
        path, member = self.members[name]
        try:
            if path not in self._readers:
                self._readers[path] = archives.reader(path, member.column)
            return self._readers[path](member.row)
        except (OSError, ValueError):
            return b""  # whoever decodes it will say why

    def _fold(self) -> None:
        files: dict[str, list[str]] = defaultdict(list)
        folders: dict[str, set[str]] = defaultdict(set)
        files[""] = []
        for name in self.members:
            place, _, file = name.rpartition("/")
            files[place].append(file)
            while place:
                above, _, own = place.rpartition("/")
                files[above] = files[above]
                folders[above].add(own)
                place = above
        for place in sorted(files, key=lambda each: each.split("/") if each else []):
            self.folders[place] = Folder(place, tuple(sorted(folders[place])), tuple(sorted(files[place])))


class ImageArchive(ImageFolder):
    """As `image_folder`, from zip or (uncompressed) tar archives."""

    unused_settings = unused_but("class_from")

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Archives that hold class folders, where there are no pictures beside them."""
        files = archive_files(tree)
        if not files or tree.num_pictures(""):
            return None
        inner = ImageFolder.recognise(_unpacked(tree.root, files))
        if inner is None:
            return None
        names = ", ".join(path.name for path in files[:3])
        return Recognised("image_archive", f"{names}: {inner.found}, read without unpacking", classes=inner.classes)

    @property
    def tree(self) -> Tree:
        outer = super().tree
        files = archive_files(outer)
        if not files:
            raise DataError(f"data.root: no zip or tar archive in {self.root}")
        return _unpacked(self.root, files)

    def examples(self, progress: Progress = no_progress) -> Listing:
        return self.listing(self.tree)

    def example(self, path: str, label: int, split: str | None) -> Example:
        assert isinstance(self._tree, ArchiveTree)
        file, member = self._tree.members[path]
        return Example(path, [label], path=file, member=member, split=split)


def _unpacked(root: Path, files: list[Path]) -> ArchiveTree:
    try:
        return ArchiveTree(root, files)
    except (OSError, ValueError) as error:
        raise DataError(f"data.root: {', '.join(map(str, files))}: {error}") from error


def archive_files(tree: Tree) -> list[Path]:
    """The zip and uncompressed tar files right in the root."""
    found = []
    for name in tree.folders[""].files:
        if suffix(name) in _SUFFIXES:
            head = tree.head(name, 512)
            if archives.is_zip(head) or archives.is_tar(head):
                found.append(tree.path(name))
    return found
