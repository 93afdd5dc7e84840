"""Finding the picture that a table or an annotation means by a name."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from trainables.image.pixels.decode import SUFFIXES

MISSING = "there is no such picture"


class PictureNames:
    """Pictures, and the lenient readings of their names.

    Args:
        names: their paths, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = set(names)
        # From the strictest reading of a name to the most lenient.
        self._readings: list[tuple[Callable[[str], str], dict[str, list[str]]]] = []

    def find(self, name: str) -> str:
        """The picture that is meant: by its path, its file name, without its suffix, or with other capitals.

        Letters with accents are the same however they are encoded (NFC, NFD).

        Raises:
            ValueError: there is none, or several could be meant.
        """
        name = name.strip().replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return name
        if not self._readings:
            self._readings = [self._by(key) for key in (_file, _stem, _folded_file, _folded_stem)]
        for key, found in self._readings:
            wanted = key(name)
            fits = [each for each in found.get(wanted.rpartition("/")[2], ()) if _is_end(wanted, key(each))]
            if len(fits) == 1:
                return fits[0]
            if fits:
                raise ValueError(f"several pictures could be meant: {', '.join(fits[:3])}")
        raise ValueError(MISSING)

    def _by(self, key: Callable[[str], str]) -> tuple[Callable[[str], str], dict[str, list[str]]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            found[key(name).rpartition("/")[2]].append(name)
        return key, found


def _is_end(wanted: str, path: str) -> bool:
    """Whether one is the end of the other: a table may name folders above the pictures', or leave folders out."""
    return f"/{path}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{path}")


def _file(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
    path = PurePosixPath(_file(name))
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else _file(name)


def _folded_file(name: str) -> str:
    return _file(name).casefold()


def _folded_stem(name: str) -> str:
    return _stem(name).casefold()
