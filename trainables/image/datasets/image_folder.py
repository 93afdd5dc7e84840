"""Class folders with pictures, with or without train/ val/ test/ above them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.extras import install_command
from trainables.image.datasets.base import (
    Dataset,
    Example,
    Listing,
    Recognised,
    table_of,
    unused_but,
)
from trainables.image.datasets.class_folders import (
    UNLABELLED,
    ClassFolders,
    Place,
    filled,
    find_class_folders,
    outer_folders,
    shown,
)
from trainables.image.datasets.class_names import canonical, unite
from trainables.image.datasets.flat_labels import read_flat_labels
from trainables.image.datasets.masks_beside import without_masks
from trainables.image.datasets.named_classes import named_classes
from trainables.image.datasets.split_words import SPLIT_FOLDERS, split_and_rest
from trainables.image.datasets.tree import Tree, suffix
from trainables.image.index import SPLITS
from trainables.image.pixels.decode import HEIF_SUFFIXES, SUFFIXES

_LAYOUT = """an image folder has one folder per class, with the images in it:
    {root}/<class>/*.jpg
  or the same under train/, and val/ and test/ if there are such:
    {root}/train/<class>/*.jpg"""


class ImageFolder(Dataset):
    """One folder per class; pictures at any depth inside it.

    With a `train` folder, the folders `train`, `val` and `test` are the splits, also as `seg_train` or `training_set`.
    Those that are missing are cut from train, in the proportion that `data.split` asks for; `test: 0` for none. A val
    or test folder without class folders takes its labels from a list beside it, or is left out. Without a `train`
    folder the folders are the classes. `data.class_from` says otherwise where that is not what is meant.

    With `split.given: false` the pictures of all splits are pooled and divided anew. Folders that have the names of
    splits but pictures right inside them, or other folders beside them, are classes then.
    """

    unused_settings = unused_but("class_from")

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Folders with pictures whose names are no words of other layouts."""
        found = find_class_folders(tree)
        if found is None:
            return None
        names = _names(tree, found)
        where = ", ".join(f"{place.split} in {place.folder}/" for place in found.places if place.split)
        where = where or ", ".join(f"in {place.folder}/" for place in found.places if place.folder)
        lists = [read_flat_labels(tree, folder, names) for folder in found.flat.values()]
        return Recognised(
            "image_folder",
            f"one folder per class ({len(names)}: {shown(names)}){', ' if where else ''}{where}",
            parts=tuple(labels.source for labels in lists if labels),
            classes=tuple(names),
        )

    def examples(self, progress: Progress = no_progress) -> Listing:
        from trainables.image.datasets.recognition import refuse_other_kind

        layout = _LAYOUT.format(root=self.root)
        try:
            tree = self.tree
        except DataError as error:
            raise DataError(f"{error}\n  {layout}") from error
        if self.root.is_file():
            refuse_other_kind(tree)
            raise DataError(f"data.root: {self.root} is not a folder\n  {layout}")
        return self.listing(tree)

    def listing(self, tree: Tree) -> Listing:
        """The examples in the class folders of a tree.

        Raises:
            DataError: there are none, or it is not clear which they are.
        """
        self._tree = tree
        self._notes: list[str] = []
        self._ignored = Counter(tree.passed_over)
        self._lost: list[str] = []
        self._lost_kinds: set[str] = set()
        rows = self._rows(self._found(tree)) if self.data.class_from in (None, "folder") else list(self._by_path())
        return self._listing(rows)

    def _found(self, tree: Tree) -> ClassFolders:
        from trainables.image.datasets.recognition import refuse_other_kind

        anew = self.data.split.given is False
        if self.data.class_from == "folder":
            return ClassFolders((Place(None, ""),)) if anew else outer_folders(tree)
        exact = any(name.lower() in SPLIT_FOLDERS for name in tree.folders[""].folders)
        try:
            found = find_class_folders(tree)
        except DataError:
            if not (anew and exact):
                raise
            found = None
        if anew and exact and (found is None or found.beside):
            return ClassFolders((Place(None, ""),))
        if found is None or len(_names(tree, found)) < 2:
            refuse_other_kind(tree)
        if found is None:
            if not tree.num_pictures(""):
                raise DataError(f"data.root: no image in {self.root}\n  {_LAYOUT.format(root=self.root)}")
            folders = shown(filled(tree, tree.folders[""])) or "none"
            raise DataError(
                f"data.root: {self.root} has no class folders: its folders with images are {folders}, "
                "which are parts of another layout, or splits with no class folder in them\n"
                f"  {_LAYOUT.format(root=self.root)}\n"
                f"  (if these are classes: --set data.class_from=folder){named_classes(tree)}"
            )
        return found

    def _rows(self, found: ClassFolders) -> list[tuple[str | None, str, str]]:
        """Split, class folder and path of every picture."""
        rows: list[tuple[str | None, str, str]] = []
        anew = self.data.split.given is False
        if anew and any(place.split for place in found.places):
            pooled = ", ".join(f"{place.folder}/" for place in found.places)
            self._notes.append(f"{pooled}: pooled, and divided again")
        for place in found.places:
            folder = self._tree.folders[place.folder]
            split = None if anew else place.split
            for name in folder.folders:
                pictures = self._pictures(folder.at(name))
                if name.lower() in UNLABELLED:
                    self._notes.append(f"{len(pictures)} images in {folder.at(name)}/ left out: they have no label")
                    continue
                rows += [(split, name, path) for path in pictures]
                if not pictures:
                    self._lost_or_empty(folder.at(name), name)
            self._ignored["images outside of class folders"] += self._tree.num_own_pictures(place.folder)
        for name in found.beside:
            self._ignored[f"folder {name}/ beside train/"] += 1
        for split, flat in found.flat.items():
            rows += self._flat(None if anew else split, flat, {name for _, name, _ in rows})
        present = {place.split for place in found.places} | {split for split, _, _ in rows}
        if not anew and present != {None}:
            missing = [split for split in SPLITS if split not in present and self.data.split.fractions[split] > 0]
            self._notes += [f"no {split}/ folder with class folders: {split} is cut from train" for split in missing]
        return rows

    def _flat(self, split: str | None, folder: str, classes: set[str]) -> Iterator[tuple[str | None, str, str]]:
        """The pictures of a split's folder that has no class folders, if a list says their classes."""
        labels = read_flat_labels(self._tree, folder, classes)
        if labels is None:
            count = self._tree.num_pictures(folder)
            self._notes.append(f"{folder}/ has no class folders: its {count} images are left out, they have no label")
            return
        self._notes.append(f"{folder}/: {len(labels.class_of)} labels from {labels.source}")
        if labels.unlabelled:
            self._ignored[f"images that {labels.source} does not name"] += len(labels.unlabelled)
        for path, name in labels.class_of.items():
            yield split, name, path

    def _by_path(self) -> Iterator[tuple[str | None, str, str]]:
        """Split, class and path, where the class is the folder that a picture lies in, or what a pattern finds."""
        of_folder = {name: found[0] for name in self._tree.folders[""].folders if (found := split_and_rest(name))}
        splits = of_folder if "train" in of_folder.values() and self.data.split.given is not False else {}
        pattern = None if self.data.class_from == "parent" else re.compile(self.data.class_from or "")
        for path in self._tree.pictures():
            parts = path.split("/")
            if pattern is None:
                name = parts[-2] if len(parts) > 1 else ""
            else:
                match = pattern.search(path)
                name = (match[1] or "") if match else ""
            if name:
                yield splits.get(parts[0]), name, path
            elif pattern is None:
                self._ignored["images outside of class folders"] += 1
            else:
                self._ignored[f"images whose path data.class_from does not fit, such as {path!r}"] += 1

    def _listing(self, rows: list[tuple[str | None, str, str]]) -> Listing:
        own = {*(self.data.classes or ()), *self.data.rename_classes}  # renamed when the whole listing is known
        called, same = unite(Counter(name for _, name, _ in rows), own)
        rows.sort(key=lambda row: row[2])
        classes = self._classes(rows, called)
        number = {name: position for position, name in enumerate(classes)}
        examples = (self.example(path, number[called[name]], split) for split, name, path in rows)
        self._ignored += Counter()  # drops zeros
        ignored = [f"ignored: {count} × {what}" for what, count in sorted(self._ignored.items())]
        hint = f" (HEIC needs: {install_command('heif')})" if (HEIF_SUFFIXES & self._lost_kinds) - SUFFIXES else ""
        lost = [
            f"the class {name!r} is lost: none of its files is an image that can be read{hint}" for name in self._lost
        ]
        return Listing(
            table_of(examples),
            self._full_names(classes),
            notes=(*self._notes, *same, *ignored),
            defects=tuple(self._tree.defects),
            warnings=tuple(lost),
            lost_classes=tuple(self._lost),
        )

    def example(self, path: str, label: int, split: str | None) -> Example:
        """The example that a picture is."""
        return Example(path, [label], path=self._tree.absolute(path), split=split)

    def _classes(self, rows: Sequence[tuple[str | None, str, str]], called: Mapping[str, str]) -> tuple[str, ...]:
        if not rows:
            raise DataError(f"data.root: no image in {self.root}\n  {_LAYOUT.format(root=self.root)}")
        final = {name: self.data.rename_classes.get(one, one) for name, one in called.items()}
        trained = {final[name] for split, name, _ in rows if split in (None, "train")}
        if strange := sorted({final[name] for _, name, _ in rows} - trained):
            place = next(path for _, name, path in rows if final[name] == strange[0])
            raise DataError(
                f"data.root: {', '.join(map(repr, strange))} not among the classes of train "
                f"({', '.join(map(repr, sorted(trained))) or 'none'}), but there is {self._tree.path(place)}"
            )
        names = {called[name] for _, name, _ in rows}
        if all(name.isdecimal() and name.isascii() for name in names):
            return tuple(sorted(names, key=lambda name: (int(name), name)))
        return tuple(sorted(names))

    def _full_names(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """The names of numbered classes, where a JSON file in the root has them, such as cat_to_name.json."""
        if self.data.classes is not None or not all(name.isdecimal() for name in classes):
            return classes
        for file in self._tree.folders[""].files:
            if suffix(file) != ".json":
                continue
            try:
                names = json.loads(self._tree.head(file))
            except ValueError:
                continue
            if not isinstance(names, Mapping) or not set(classes) <= set(names):
                continue
            full = tuple(names[name] for name in classes)
            if all(isinstance(name, str) and name for name in full) and len(set(full)) == len(full):
                self._notes.append(f"names of classes from {file}")
                return full
        return classes

    def _pictures(self, folder: str) -> list[str]:
        """Every picture below a class folder, in order; masks of others and the rest are counted."""
        pictures, masks = without_masks(list(self._tree.pictures(folder)), folder)
        self._ignored += masks
        if len(pictures) + masks.total() < self._tree.num_files(folder):
            known = {*pictures}
            for path in self._tree.files(folder):
                if suffix(path) not in SUFFIXES and path not in known:
                    self._ignored[f"files of type {suffix(path) or '(no suffix)'}"] += 1
        return pictures

    def _lost_or_empty(self, folder: str, name: str) -> None:
        kinds = sorted({suffix(path) or "(no suffix)" for path in self._tree.files(folder)})
        if kinds:
            self._lost.append(name)
            self._lost_kinds.update(kinds)
        self._notes.append(
            f"no image in {folder}/{f', only files of type {shown(kinds)}' if kinds else ''}: not a class"
        )


def _names(tree: Tree, found: ClassFolders) -> list[str]:
    """The names of the class folders, each once."""
    names = {name for place in found.places for name in filled(tree, tree.folders[place.folder])}
    return sorted({canonical(name) for name in names if name.lower() not in UNLABELLED})
