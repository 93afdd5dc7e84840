"""Class folders with pictures, with or without train/ val/ test/ above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import COLUMN_SETTINGS, VOC_SETTINGS, Dataset, Defect, Example, Listing, table_of
from trainables.image.index import SPLITS
from trainables.image.pixels.decode import SUFFIXES

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_NOT_CLASSES = frozenset({"__MACOSX", "__pycache__"})

_LAYOUT = """an image folder has one folder a class, with the pictures in it:
    {root}/<class>/*.jpg
  or the same under train/, and val/ and test/ if there are such:
    {root}/train/<class>/*.jpg"""


class ImageFolder(Dataset):
    """One folder a class; pictures at any depth inside it.

    With a `train` folder in the root, the folders `train`, `val` and `test` are the splits. Those that are missing are
    cut from train, in the proportion that `data.split` asks for; `test: 0` for none. Without a `train` folder the
    root's folders are the classes.

    With `split.given: false` the pictures of all splits are pooled and divided anew. Folders that have the names of
    splits but pictures right inside them, or other folders beside them, are classes then.
    """

    unused_settings = ("download", "table", "options", *VOC_SETTINGS, *COLUMN_SETTINGS)

    def examples(self, progress: Progress = no_progress) -> Listing:
        folders = _subfolders(self.root)
        given: dict[str, Path] = {
            SPLIT_FOLDERS[name.lower()]: folder for name, folder in folders.items() if name.lower() in SPLIT_FOLDERS
        }
        self._ignored: Counter[str] = Counter()
        self._defects: list[Defect] = []
        if self.data.split.given is False and "train" in given and _are_splits(folders):
            note = f"{', '.join(f'{name}/' for name in folders)}: pooled, to be divided anew"
            return self._listing([(None, folder) for folder in folders.values()], note)
        if self.data.split.given is False or not given:
            return self._listing([(None, self.root)])
        if "train" not in given:
            raise DataError(
                f"data.root: {self.root} has {', '.join(map(str, given))} but no train\n"
                f"  {_LAYOUT.format(root=self.root)}\n  (if these are classes: --set data.split.given=false)"
            )
        if len(given) < sum(name.lower() in SPLIT_FOLDERS for name in folders):
            raise DataError(f"data.root: {self.root} has two folders for one split: {', '.join(sorted(folders))}")
        for name in folders:
            if name.lower() not in SPLIT_FOLDERS:
                self._ignored[f"folder {name}/ beside train/"] += 1
        return self._listing([(split, given[split]) for split in SPLITS if split in given])

    def _listing(self, places: Sequence[tuple[str | None, Path]], note: str = "") -> Listing:
        found: list[tuple[str | None, str, Path]] = []
        empty: list[str] = []
        for split, place in places:
            for name, folder in _subfolders(place).items():
                pictures = list(self._pictures(folder))
                found += [(split, name, path) for path in pictures]
                if not pictures:
                    empty.append(folder.relative_to(self.root).as_posix())
            for path in place.iterdir():
                if _is_picture(path):
                    self._ignored["pictures outside of class folders"] += 1
        classes = self._classes(found)
        number = {name: position for position, name in enumerate(classes)}
        examples = [
            Example(path.relative_to(self.root).as_posix(), [number[name]], path=path, split=split)
            for split, name, path in found
        ]
        examples.sort(key=lambda example: example.name)
        notes = [note] if note else []
        notes += [f"ignored: {count} × {what}" for what, count in sorted(self._ignored.items())]
        notes += [f"no picture in {name}/: not a class" for name in empty]
        given = {split for split, _ in places}
        if missing := [split for split in SPLITS if None not in given and split not in given]:
            cut = [split for split in missing if self.data.split.fractions[split] > 0]
            notes += [f"no {split}/ folder: {split} is cut from train" for split in cut]
        return Listing(table_of(examples), classes, notes=tuple(notes), defects=tuple(self._defects))

    def _classes(self, found: list[tuple[str | None, str, Path]]) -> tuple[str, ...]:
        if not found:
            raise DataError(f"data.root: no picture in {self.root}\n  {_LAYOUT.format(root=self.root)}")
        trained = {name for split, name, _ in found if split in (None, "train")}
        if strange := sorted({name for _, name, _ in found} - trained):
            place = next(path for _, name, path in found if name == strange[0])
            raise DataError(
                f"data.root: {', '.join(strange)} not among the classes of {self.root / 'train'} "
                f"({', '.join(sorted(trained)) or 'none'}), but there is {place}"
            )
        return tuple(sorted(trained))

    def _pictures(self, folder: Path) -> Iterator[Path]:
        """Every picture below a folder, in a fixed order; the rest is counted."""
        seen = set()
        for place, folders, files in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:  # a symbolic link that leads in a circle
                folders.clear()
                continue
            seen.add(real)
            self._ignored["hidden folders"] += sum(name.startswith(".") for name in folders)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_CLASSES)
            for name in sorted(files):
                path = Path(place, name)
                if name.startswith("."):
                    self._ignored["hidden files"] += 1
                elif path.suffix.lower() not in SUFFIXES:
                    self._ignored[f"files of type {path.suffix.lower() or '(no suffix)'}"] += 1
                elif not _is_text(str(path)):
                    self._defects.append(Defect(ascii(str(path)), "the name is not UTF-8: rename the file"))
                else:
                    yield path
        self._ignored += Counter()  # drops zeros


def _are_splits(folders: Mapping[str, Path]) -> bool:
    """Whether folders, of which some have the names of splits, are nothing else: class folders are in each."""
    return all(
        name.lower() in SPLIT_FOLDERS and _subfolders(folder) and not any(map(_is_picture, folder.iterdir()))
        for name, folder in folders.items()
    )


def _is_picture(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in SUFFIXES


def _subfolders(folder: Path) -> dict[str, Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except FileNotFoundError as error:
        raise DataError(f"data.root: {folder} does not exist\n  {_LAYOUT.format(root=folder)}") from error
    except NotADirectoryError as error:
        raise DataError(f"data.root: {folder} is no folder\n  {_LAYOUT.format(root=folder)}") from error
    except OSError as error:
        raise DataError(f"data.root: {folder} cannot be read: {error.strerror}") from error
    names = {path.name: path for path in found if not path.name.startswith(".") and path.name not in _NOT_CLASSES}
    if strange := [name for name in names if not _is_text(name)]:
        raise DataError(f"data.root: the folder name {strange[0]!a} in {folder} is not UTF-8: rename it")
    return names


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
