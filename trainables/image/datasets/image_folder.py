"""Class folders with pictures, with or without train/ val/ test/ above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    COLUMN_SETTINGS,
    VOC_SETTINGS,
    Dataset,
    Example,
    Listing,
    Recognised,
    table_of,
)
from trainables.image.datasets.tree import Folder, Tree, suffix
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
NO_CLASSES = frozenset(
    {"images", "imgs", "img", "jpegimages", "annotations", "labels", "masks", "segmentationclass", "segmentationobject"}
    | {"imagesets", "train_images", "val_images", "test_images", "train2017", "val2017", "test2017", "trainval"}
)
"""Names, in small letters, of folders that hold parts of other layouts."""

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

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Folders with pictures whose names are no words of other layouts."""
        folders = _subfolders(tree)
        train = next((folder for name, folder in folders.items() if SPLIT_FOLDERS.get(name.lower()) == "train"), None)
        classes = list(tree.folders[train.path].folders if train else folders)
        filled = [name for name in classes if next(tree.pictures(train.at(name) if train else name), None) is not None]
        if not filled or any(name.lower() in NO_CLASSES for name in filled):
            return None
        shown = ", ".join(filled[:5]) + (", …" if len(filled) > 5 else "")
        return Recognised("image_folder", f"one folder per class ({len(filled)}: {shown})")

    def examples(self, progress: Progress = no_progress) -> Listing:
        from trainables.image.datasets.recognition import refuse_other_kind

        try:
            tree = self.tree
            if self.root.is_file():
                raise DataError(f"data.root: {self.root} is no folder")
        except DataError as error:
            raise DataError(f"{error}\n  {_LAYOUT.format(root=self.root)}") from error
        refuse_other_kind(tree)
        folders = _subfolders(tree)
        given: dict[str, Folder] = {
            SPLIT_FOLDERS[name.lower()]: folder for name, folder in folders.items() if name.lower() in SPLIT_FOLDERS
        }
        self._ignored = Counter(tree.passed_over)
        if self.data.split.given is False and "train" in given and _are_splits(folders):
            note = f"{', '.join(f'{name}/' for name in folders)}: pooled, to be divided anew"
            return self._listing([(None, folder) for folder in folders.values()], note)
        if self.data.split.given is False or not given:
            return self._listing([(None, tree.folders[""])])
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

    def _listing(self, places: Sequence[tuple[str | None, Folder]], note: str = "") -> Listing:
        found: list[tuple[str | None, str, str]] = []
        empty: list[str] = []
        for split, place in places:
            for name in place.folders:
                pictures = list(self._pictures(place.at(name)))
                found += [(split, name, path) for path in pictures]
                if not pictures:
                    empty.append(place.at(name))
            self._ignored["pictures outside of class folders"] += sum(map(_is_picture, place.files))
        self._ignored += Counter()  # drops zeros
        classes = self._classes(found)
        number = {name: position for position, name in enumerate(classes)}
        examples = [
            Example(path, [number[name]], path=self.tree.path(path), split=split) for split, name, path in found
        ]
        examples.sort(key=lambda example: example.name)
        notes = [note] if note else []
        notes += [f"ignored: {count} × {what}" for what, count in sorted(self._ignored.items())]
        notes += [f"no picture in {name}/: not a class" for name in empty]
        given = {split for split, _ in places}
        if missing := [split for split in SPLITS if None not in given and split not in given]:
            cut = [split for split in missing if self.data.split.fractions[split] > 0]
            notes += [f"no {split}/ folder: {split} is cut from train" for split in cut]
        return Listing(table_of(examples), classes, notes=tuple(notes), defects=tuple(self.tree.defects))

    def _classes(self, found: list[tuple[str | None, str, str]]) -> tuple[str, ...]:
        if not found:
            raise DataError(f"data.root: no picture in {self.root}\n  {_LAYOUT.format(root=self.root)}")
        trained = {name for split, name, _ in found if split in (None, "train")}
        if strange := sorted({name for _, name, _ in found} - trained):
            place = next(path for _, name, path in found if name == strange[0])
            raise DataError(
                f"data.root: {', '.join(strange)} not among the classes of {self.root / 'train'} "
                f"({', '.join(sorted(trained)) or 'none'}), but there is {self.tree.path(place)}"
            )
        return tuple(sorted(trained))

    def _pictures(self, folder: str) -> Iterator[str]:
        """Every picture below a folder, in a fixed order; the rest is counted."""
        for path in self.tree.files(folder):
            if _is_picture(path):
                yield path
            else:
                self._ignored[f"files of type {suffix(path) or '(no suffix)'}"] += 1


def _are_splits(folders: Mapping[str, Folder]) -> bool:
    """Whether folders, of which some have the names of splits, are nothing else: class folders are in each."""
    return all(
        name.lower() in SPLIT_FOLDERS and folder.folders and not any(map(_is_picture, folder.files))
        for name, folder in folders.items()
    )


def _is_picture(name: str) -> bool:
    return suffix(name) in SUFFIXES


def _subfolders(tree: Tree) -> dict[str, Folder]:
    """The folders in the root, by name."""
    return {name: tree.folders[name] for name in tree.folders[""].folders}
