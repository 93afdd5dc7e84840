"""Finds out which folders below a root are classes, and which are splits, wrappers or parts of another layout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets.base import Ambiguous, Recognised
from trainables.image.datasets.split_words import split_and_rest
from trainables.image.datasets.tree import Folder, Tree
from trainables.image.index import SPLITS

MASKS = frozenset(
    {"masks", "mask", "annotations", "annotation", "labels", "label", "segmentationclass", "segmentationobject"}
    | {"segmentation", "segmentations", "segmented", "seg", "ground_truth", "groundtruth", "gt", "trimaps", "depth"}
)
"""Names, in small letters, of folders that hold what belongs to pictures: masks of them, boxes in them."""

_WRAPPERS = frozenset(
    {"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "jpegs", "jpg", "png"}
    | {"data", "dataset", "datasets", "files", "raw", "trainval", "archive"}
)
"""Names, in small letters, of folders that hold pictures of every class."""

_PIECES = frozenset({"part", "parts", "batch", "chunk", "shard", "split", "fold", "folder", "subset", "dir", "disk"})
"""What folders are called, with a number, that hold pieces of one whole."""

UNLABELLED = frozenset({"_unlabeled", "_unlabelled", "unlabeled", "unlabelled"})


@dataclass(frozen=True)
class Place:
    """A folder whose folders are classes.

    Attributes:
        split: that all in it belongs to; None: to be chosen.
        folder: its path.
    """

    split: str | None
    folder: str


@dataclass(frozen=True)
class ClassFolders:
    """Where a tree has its class folders.

    Attributes:
        places: one, or one per split; several without a split hold pieces of one whole.
        flat: split → its folder, where the pictures are in no class folder.
        beside: folders with pictures beside the splits.
    """

    places: tuple[Place, ...]
    flat: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


def find_class_folders(tree: Tree) -> ClassFolders | None:
    """The class folders; None where folders are parts of another layout, or hold no pictures.

    Raises:
        Ambiguous: the outer folders or those in them could be the classes.
        DataError: there are folders for val or test and none for train, or two for one split.
    """
    base = _unwrapped(tree)
    here = tree.folders[base]
    names = filled(tree, here)
    if splits := _splits(tree, here, names):
        inner = {split: _classes_in(tree, folder) for split, folder in splits.items()}
        if inner.get("train") is None:
            return None
        places = tuple(Place(split, folder) for split in SPLITS if (folder := inner.get(split)) is not None)
        flat = {split: folder for split, folder in splits.items() if inner[split] is None}
        beside = tuple(here.at(name) for name in names if here.at(name) not in splits.values())
        return ClassFolders(places, flat, beside)
    if not names:
        return None
    levels = _two_levels(tree, here, names)
    if are_pieces(names) and levels:
        return ClassFolders(tuple(Place(None, here.at(name)) for name in names))
    if not are_classes(names):
        return None
    if levels:
        raise Ambiguous(tree.root, levels, f"(or one of the outer folders alone: root: {tree.path(here.at(names[0]))})")
    return ClassFolders((Place(None, base),))


def outer_folders(tree: Tree) -> ClassFolders:
    """The folders in the root, or in those that are called as splits, taken for classes whatever they are called."""
    here = tree.folders[""]
    exact = {name: found[0] for name in here.folders if (found := split_and_rest(name)) and not found[1]}
    trained = any(split == "train" and filled(tree, tree.folders[name]) for name, split in exact.items())
    if not trained:
        return ClassFolders((Place(None, ""),))
    return ClassFolders(tuple(Place(split, name) for name, split in exact.items()))


def filled(tree: Tree, folder: Folder) -> list[str]:
    """The folders in a folder that have pictures in them, at any depth; no masks beside the pictures they belong to."""
    names = [name for name in folder.folders if tree.num_pictures(folder.at(name))]
    if any(name.lower() in _WRAPPERS for name in names):
        return [name for name in names if name.lower() not in MASKS]
    return names


def are_classes(names: Sequence[str]) -> bool:
    """Whether folders may be classes by their names: no word of another layout, no pieces of one whole."""
    return not any(name.lower() in _WRAPPERS | MASKS for name in names) and not are_pieces(names)


def are_pieces(names: Sequence[str]) -> bool:
    """Whether folders are called as pieces of one whole: part_1, part_2."""
    words = {tuple(re.findall(r"[^\W\d_]+", name.lower())) for name in names}
    numbered = all(name[-1:].isdigit() for name in names)
    return len(names) > 1 and numbered and len(words) == 1 and bool(set(words.pop()) & (_PIECES | _WRAPPERS))


def _unwrapped(tree: Tree) -> str:
    """The folder that matters, below a root that holds only one: an archive's own, `dataset/`."""
    chain: list[str] = []
    folder = tree.folders[""]
    while not tree.num_own_pictures(folder.path) and len(names := filled(tree, folder)) == 1:
        chain.append(folder.at(names[0]))
        folder = tree.folders[chain[-1]]
    for path in chain:
        above, _, name = path.rpartition("/")
        if split_and_rest(name) is not None:
            return above
    if len(filled(tree, folder)) > 1:
        return folder.path
    # One class only: the first folder whose name may be a class's.
    return next((above for above, _, name in (path.rpartition("/") for path in chain) if are_classes([name])), "")


def _splits(tree: Tree, here: Folder, names: Sequence[str]) -> dict[str, str]:
    """Split → folder, where folders are splits; none where they are classes, of which some have such names.

    Raises:
        DataError: no train, or two folders for one split.
    """
    named = {name: found for name in names if (found := split_and_rest(name)) is not None}
    rests = Counter(rest for _, rest in named.values())
    named = {name: found for name, found in named.items() if not found[1] or rests[found[1]] > 1}
    holding = [name for name in named if _classes_in(tree, here.at(name)) is not None]
    if not named or (not holding and len(named) < len(names)):  # car, train, bus
        return {}
    if holding and not any(split == "train" for split, _ in named.values()):
        raise DataError(
            f"data.root: {tree.path(here.path)} has {', '.join(named)} but no train\n"
            "  (if these are classes: --set data.class_from=folder)"
        )
    folders: dict[str, str] = {}
    for name, (split, _) in named.items():
        if split in folders:
            raise DataError(
                f"data.root: {tree.path(here.path)} has two folders for one split: {folders[split]} and {here.at(name)}"
            )
        folders[split] = here.at(name)
    return folders


def _classes_in(tree: Tree, path: str) -> str | None:
    """The folder of a split that holds class folders, or one below it; None where its pictures are in no class."""
    while True:
        names = filled(tree, tree.folders[path])
        if not names or 2 * tree.num_own_pictures(path) > tree.num_pictures(path):
            return None
        is_wrapper = names[0].lower() in _WRAPPERS or names[0] == path.rpartition("/")[2]
        if len(names) > 1 or not is_wrapper:
            return path if are_classes(names) else None
        path = tree.folders[path].at(names[0])


def _two_levels(tree: Tree, here: Folder, names: Sequence[str]) -> tuple[Recognised, ...]:
    """Both readings, where the folders in folders have the same names: the outer ones could be places or days."""
    inner = Counter(
        name for outer in names for name in filled(tree, tree.folders[here.at(outer)]) if are_classes([name])
    )
    shared = sum(count > 1 for count in inner.values())
    if len(inner) < 2 or 2 * shared <= len(inner) or any(tree.num_own_pictures(here.at(name)) for name in names):
        return ()
    return (
        Recognised("image_folder", f"the outer folders are the classes: {shown(names)}", {"class_from": "folder"}),
        Recognised(
            "image_folder", f"the inner folders are the classes: {shown(sorted(inner))}", {"class_from": "parent"}
        ),
    )


def shown(names: Sequence[str], most: int = 5) -> str:
    """Names in quotes, the first of many."""
    return few_of([repr(name) for name in names], most)
