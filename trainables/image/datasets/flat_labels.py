"""Labels of a split whose pictures lie in one folder: ImageNet's and Tiny ImageNet's val."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from trainables.image.datasets.tree import Tree, stem, suffix

_LISTS = frozenset({".txt", ".csv", ".tsv"})
_SHARE = 0.9
"""A list is the split's if it names so much of its pictures."""


@dataclass(frozen=True)
class FlatLabels:
    """What a list says of the pictures of a split.

    Attributes:
        source: the list.
        class_of: picture → class.
        unlabelled: pictures that it does not name.
    """

    source: str
    class_of: dict[str, str]
    unlabelled: tuple[str, ...]


def read_flat_labels(tree: Tree, folder: str, classes: Collection[str]) -> FlatLabels | None:
    """The classes of pictures in no class folder, by a list that lies beside them or in the root.

    Each line of a list has a picture's name and then one of the classes; whatever follows does not count, such as
    Tiny ImageNet's boxes.

    Args:
        tree: of the dataset.
        folder: of the split.
        classes: the names of train's class folders.
    """
    pictures = list(tree.pictures(folder))
    by_stem = {stem(name.rpartition("/")[2]): name for name in pictures}
    places = [tree.folders[path] for path in dict.fromkeys((folder, folder.rpartition("/")[0], ""))]
    for place in places:
        for name in place.files:
            if suffix(name) in _LISTS:
                found = _read(tree, place.at(name), by_stem, frozenset(classes))
                if len(found) >= _SHARE * len(pictures):
                    return FlatLabels(place.at(name), found, tuple(each for each in pictures if each not in found))
    return None


def _read(tree: Tree, path: str, by_stem: dict[str, str], classes: frozenset[str]) -> dict[str, str]:
    """Picture → class; empty when the list's first lines name none."""
    found: dict[str, str] = {}
    for number, line in enumerate(tree.read(path).decode("utf-8", errors="replace").splitlines()):
        fields = re.split(r"[\s,;]+", line.strip())
        named = fields[0].rpartition("/")[2]
        picture = by_stem.get(named) or by_stem.get(stem(named))
        if picture is not None and len(fields) > 1 and fields[1] in classes:
            found[picture] = fields[1]
        if number == 20 and not found:
            return {}
    return found
