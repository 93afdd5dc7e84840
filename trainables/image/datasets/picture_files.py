"""Finding the picture that a table means by a name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from trainables.errors import DataError
from trainables.image.pixels.decode import SUFFIXES

MISSING = "there is no such picture"


class PictureFiles:
    """The pictures below a folder.

    Attributes:
        folder: where they are.
        names: each picture's path relative to the folder, in order.

    Raises:
        DataError: the folder cannot be read, or holds no picture.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        for place, folders, files in os.walk(folder, followlinks=False, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(place, name)
                if not name.startswith(".") and path.suffix.lower() in SUFFIXES and _is_text(name):
                    self.names.append(path.relative_to(folder).as_posix())
        if not self.names:
            raise DataError(f"data.root: no picture in {folder}")
        self._exact = set(self.names)
        # From the strictest reading of a name to the most lenient.
        self._readings = [self._by(key) for key in (_file, _stem, _folded_file, _folded_stem)]

    def find(self, name: str) -> str:
        """The picture that is meant: by its path, its file name, without its suffix, or with other capitals.

        Raises:
            ValueError: there is none, or several could be meant.
        """
        name = name.strip().replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return name
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
        for name in self.names:
            found[key(name).rpartition("/")[2]].append(name)
        return key, found


def _is_end(wanted: str, path: str) -> bool:
    """Whether one is the end of the other: a table may name folders above the pictures', or leave folders out."""
    return f"/{path}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{path}")


def _file(name: str) -> str:
    return name


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


def _folded_file(name: str) -> str:
    return name.casefold()


def _folded_stem(name: str) -> str:
    return _stem(name).casefold()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(error: OSError) -> None:
    raise DataError(f"data.root: {error.filename} cannot be read: {error.strerror}") from error
