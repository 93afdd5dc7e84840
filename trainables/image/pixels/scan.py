"""Remembers which image files could be read, so that an unchanged file need not be decoded to know.

Known by path, size and time of change. Only good pictures are remembered: a file that could not be read is tried
again, because what hindered it (a permission, a share that was away) may be gone.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.feather

from trainables.image.pixels.pictures import PIXELS_VERSION, Facts, Picture, boxes_outside, digest_of
from trainables.image.pixels.pixel_cache import locked

_VERSION = 2  # another number whenever other facts are remembered
_LIMITS = pa.struct([("low", pa.float64()), ("high", pa.float64()), ("whole", pa.bool_())])
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("digest", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("limits", _LIMITS),
        ("remark", pa.string()),
    ]
)


class Scan:
    """The remembered facts of one dataset's pictures.

    Args:
        folder: the cache folder.
        dataset: what names the dataset (its kind, root, limits): another name, another memory.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, dataset: str) -> None:
        name = hashlib.blake2b(f"{PIXELS_VERSION} {_VERSION} {dataset}".encode(), digest_size=16).hexdigest()
        self._path = folder / "scans" / f"{name}.feather"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Facts] = {}

    @contextlib.contextmanager
    def opened(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Inside the block no other process works on the same dataset, and what is known has been read."""
        with locked(self._path.with_suffix(".lock"), on_wait):
            self._known = self._load()
            yield

    def facts(self, picture: Picture) -> Facts | None:
        """What is known of a picture as it is now; None when it is new or changed."""
        known = self._known.get(picture_key(picture))
        if known is None:
            return None
        return replace(known, defects=boxes_outside(picture, known.width, known.height))

    def remember(self, pictures: Sequence[Picture], facts: Sequence[Facts]) -> None:
        """Adds what was found, and writes it down."""
        found = {
            picture_key(picture): replace(each, defects={}, hashes=None)
            for picture, each in zip(pictures, facts, strict=True)
            if each.digest
        }
        known = {**self._known, **found}
        if known == self._known:
            return
        self._known = known
        columns = [
            list(known),
            [each.digest for each in known.values()],
            [each.width for each in known.values()],
            [each.height for each in known.values()],
            [
                None if each.limits is None else dict(zip(_LIMITS.names, each.limits, strict=True))
                for each in known.values()
            ],
            [each.remark for each in known.values()],
        ]
        partial = self._path.with_suffix(".partial")
        pyarrow.feather.write_feather(pa.table(columns, schema=_SCHEMA), partial)
        partial.replace(self._path)

    def _load(self) -> dict[str, Facts]:
        try:
            table = pyarrow.feather.read_table(self._path, memory_map=False)
        except FileNotFoundError:
            return {}
        except (pa.ArrowInvalid, OSError):
            return {}  # damaged from outside: everything is looked at again
        columns = (table[name].to_pylist() for name in _SCHEMA.names)
        return {
            key: Facts(digest, width, height, None if limits is None else tuple(limits.values()), remark)
            for key, digest, width, height, limits, remark in zip(*columns, strict=True)
        }


def picture_key(picture: Picture) -> str:
    """Names a picture as it is now: by path, size and time of change, or by content. Empty: it is not there."""
    if picture.path is None:
        assert picture.image is not None
        return digest_of(picture.image)
    try:
        stat = picture.path.stat()
    except OSError:
        return ""
    place = "" if picture.member is None else f"|{picture.member.column}|{picture.member.row}"
    return f"{picture.path}|{stat.st_size}|{stat.st_mtime_ns}{place}"
