"""Finds the image that a VOC annotation belongs to: that of its own name, or the one that `<filename>` names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

_ROLES = frozenset(
    [
        "annotations",
        "annotation",
        "anns",
        "labels",
        "label",
        "xml",
        "xmls",
        "images",
        "image",
        "imgs",
        "img",
        "jpegimages",
        "pictures",
        "photos",
        "data",
    ]
)
"""Folders that say what is in them, not which part of the data it is."""


class PicturesOf:
    """Finds the picture of an annotation.

    Args:
        names: of all pictures, paths below the dataset's folder.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_file: dict[str, list[str]] = defaultdict(list)
        for name in names:
            file = _key(name.rpartition("/")[2])
            self._by_file[file].append(name)
            self._by_stem[file.rpartition(".")[0]].append(name)

    def has_stem(self, annotation: str) -> bool:
        """Whether a picture has the name of an annotation file."""
        return _stem(annotation) in self._by_stem

    def find(self, annotation: str, file: str) -> str:
        """The picture of an annotation.

        A picture of the annotation's own name comes first, as in VOC's own tools. Where several have it, `<filename>`
        says which, else the folder that corresponds.

        Args:
            annotation: its path.
            file: what `<filename>` says; "" where it says nothing.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        file = _key(file.rpartition("/")[2])
        named = self._by_file.get(file, [])
        fits = self._by_stem.get(_stem(annotation)) or named or self._by_stem.get(file.rpartition(".")[0], [])
        for narrower in (
            [name for name in fits if name in named],
            [name for name in fits if name.rpartition("/")[0] == annotation.rpartition("/")[0]],
            [name for name in fits if place_of(name) == place_of(annotation)],
        ):
            if len(fits) > 1:
                fits = narrower or fits
        if not fits:
            raise ValueError("the image is missing")
        if len(fits) > 1:
            raise ValueError(f"several images could be meant: {', '.join(fits[:3])}")
        return fits[0]


def place_of(name: str) -> tuple[str, ...]:
    """Which part of the data a file is in: the folders above it without `Annotations`, `JPEGImages` and the like."""
    return tuple(part for part in name.split("/")[:-1] if part.lower() not in _ROLES)


def _stem(name: str) -> str:
    return _key(name.rpartition("/")[2].rpartition(".")[0])


def _key(name: str) -> str:
    """Capitals do not count, nor how letters with accents are encoded."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()
