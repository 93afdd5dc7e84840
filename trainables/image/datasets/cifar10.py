"""CIFAR-10: the official python batches, or the same pictures as image folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    Dataset,
    Example,
    Listing,
    Member,
    Recognised,
    table_of,
    unused_but,
)
from trainables.image.datasets.image_folder import ImageFolder
from trainables.image.datasets.split_words import SPLIT_FOLDERS
from trainables.image.datasets.tree import Tree
from trainables.image.pixels.cifar_batches import parse_batch, parse_pickle

FOLDER = "cifar-10-batches-py"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
META = "batches.meta"
TEST = "test_batch"
# As in torchvision.datasets.CIFAR10, which checks the same before it reads.
MD5: Mapping[str, str] = {
    META: "5ff9c542aee3614f3951f8cda6e48888",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3ee",
    TEST: "40351d587109b95175f43aff81a1287e",
}
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"


class Cifar10(Dataset):
    """60,000 pictures of 32×32 in 10 classes.

    The test batch stays the test split (but for `split.given: false`), and val is cut from train. The batches are
    pickles; they are read without letting them call anything but what makes an array. Each must have its official
    checksum. A root that holds image folders (`train/<class>`, `test/<class>`) is read as such.
    """

    unused_settings = unused_but("download")

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """The official batches, in root or in the folder that their archive makes."""
        for folder in ("", FOLDER):
            if folder in tree.folders and {META, TEST} <= set(tree.folders[folder].files):
                return Recognised("cifar10", f"CIFAR-10: {META} and {TEST}")
        return None

    def examples(self, progress: Progress = no_progress) -> Listing:
        folder = self._folder()
        if folder is None and _has_split_folders(self.root):
            return ImageFolder(self.data).examples(progress)
        if self.data.download and (folder is None or _differing(folder)):
            self._download()
            folder = self._folder()
        if folder is None:
            raise DataError(self._missing())
        if differing := _differing(folder):
            raise DataError(
                f"data.root: {folder} is damaged or not the official set: {'; '.join(differing)}\n"
                "  To have it fetched again: --set data.download=true\n"
                f"  By hand: {URL} (md5 {ARCHIVE_MD5}), unpacked in {folder.parent}"
            )
        return self._listing(folder, progress)

    def _folder(self) -> Path | None:
        """Where the batches are: root itself, or the folder that the archive makes in it."""
        return next((place for place in (self.root, self.root / FOLDER) if (place / META).is_file()), None)

    def _listing(self, folder: Path, progress: Progress) -> Listing:
        examples = []
        classes = _classes(folder / META)
        for number, name in enumerate(batch for batch in MD5 if batch != META):
            progress("reading batches", number, len(MD5) - 1)
            try:
                batch = parse_batch((folder / name).read_bytes())
            except (OSError, ValueError) as error:
                raise DataError(f"data.root: {folder / name} cannot be used: {error}") from error
            if len(batch.labels) and not 0 <= int(np.min(batch.labels)) <= int(np.max(batch.labels)) < len(classes):
                raise DataError(f"data.root: {folder / name} has labels outside of 0 to {len(classes) - 1}")
            split = None if self.data.split.given is False else "test" if name == TEST else "train"
            examples += [
                Example(f"{name}#{row}", [label], path=folder / name, member=Member("data", row), split=split)
                for row, label in enumerate(batch.labels.tolist())
            ]
        progress("reading batches", len(MD5) - 1, len(MD5) - 1)
        return Listing(table_of(examples), classes)

    def _download(self) -> None:
        import http.client
        import tarfile

        from torchvision.datasets.utils import download_and_extract_archive

        parent = self._parent()
        try:
            # Not torchvision's CIFAR10, which would unpickle what it fetched.
            download_and_extract_archive(URL, parent, filename=URL.rpartition("/")[2], md5=ARCHIVE_MD5)
        except (OSError, RuntimeError, ValueError, http.client.HTTPException, tarfile.TarError) as error:
            raise DataError(
                f"data.download: CIFAR-10 could not be fetched into {parent}: {error or type(error).__name__}\n"
                f"  It comes from {URL} (md5 {ARCHIVE_MD5}).\n"
                "  Run the same again to try again, or unpack the archive there by hand; "
                f"there must then be {parent / FOLDER / META}"
            ) from error

    def _parent(self) -> Path:
        return self.root.parent if self.root.name == FOLDER else self.root

    def _missing(self) -> str:
        state = "has neither" if self.root.is_dir() else "does not exist"
        parent = self._parent()
        return f"""data.root: no CIFAR-10 in {self.root} ({state}). Looked for
    {parent / FOLDER}/{META} and its batches, or
    {self.root}/train/<class>/*.png (or *.jpg) and {self.root}/test/<class>
  To let it be downloaded (170 MB; the checksums are verified):
    --set data.download=true
  To put it there by hand: fetch
    {URL}
    (md5 {ARCHIVE_MD5}) and unpack it in {parent}"""


def _has_split_folders(root: Path) -> bool:
    try:
        return any(path.name.lower() in SPLIT_FOLDERS and path.is_dir() for path in root.iterdir())
    except OSError:
        return False


def _differing(folder: Path) -> list[str]:
    """What of the set is missing or has another checksum."""
    problems = []
    for name, md5 in MD5.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            problems.append(f"{name}: {error.strerror or error}")
            continue
        if found != md5:
            problems.append(f"{name} has md5 {found}, not {md5}")
    return problems


def _classes(path: Path) -> tuple[str, ...]:
    try:
        names = parse_pickle(path.read_bytes()).get("label_names")
    except (OSError, ValueError) as error:
        raise DataError(f"data.root: {path} cannot be used: {error}") from error
    if not isinstance(names, list) or not names:
        raise DataError(f"data.root: {path} has no names of classes (`label_names`)")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in names)
