"""Finds the image that a table or an annotation means by a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from trainables.image.pixels.decode import SUFFIXES

MISSING = "there is no such image"

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
"""What Label Studio makes of the name of a file that is uploaded to it."""


class PictureNames:
    """Pictures, and the lenient readings of their names.

    Args:
        names: their paths, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = frozenset(names)
        # By reading, as they are needed: the pictures by the end of their names, one alone or several.
        self._found: dict[Callable[[str], str], dict[str, str | list[str]]] = {}

    def find(self, name: str) -> str:
        """The picture that is meant: by its path, its file name, without its suffix, or with other capitals.

        Letters with accents are the same however they are encoded (NFC, NFD). A picture may lack the eight digits that
        Label Studio puts before its name, and the folder of its uploads.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        name = name.strip().replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return name
        for key in _READINGS:
            wanted = key(name)
            same = self._by(key).get(wanted.rpartition("/")[2], [])
            fits = [each for each in ([same] if isinstance(same, str) else same) if _is_end(wanted, key(each))]
            if len(fits) == 1:
                return fits[0]
            if fits:
                raise ValueError(f"several images could be meant: {', '.join(fits[:3])}")
        file = name.rpartition("/")[2]
        if uploaded := _UPLOADED.fullmatch(file):
            return self.find(file if file != name else uploaded.group(1))
        raise ValueError(MISSING)

    def _by(self, key: Callable[[str], str]) -> dict[str, str | list[str]]:
        if key not in self._found:
            found: dict[str, str | list[str]] = {}
            for name in self._names:
                end = key(name).rpartition("/")[2]
                same = found.setdefault(end, name)
                if same is not name:
                    found[end] = [same, name] if isinstance(same, str) else [*same, name]
            self._found[key] = found
        return self._found[key]


def _is_end(wanted: str, path: str) -> bool:
    """Whether one is the end of the other: a table may name folders above the pictures', or leave folders out."""
    return f"/{path}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{path}")


def _file(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
    name = _file(name)
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


def _folded_file(name: str) -> str:
    return _file(name).casefold()


def _folded_stem(name: str) -> str:
    return _stem(name).casefold()


_READINGS = (_file, _stem, _folded_file, _folded_stem)
"""Of a name, from the strictest to the most lenient."""
