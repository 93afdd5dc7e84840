"""Lists and empties the node's cache of decoded pixels and features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.image.pixels.pixel_cache import locked, stat_of, unused

_PIXELS = re.compile(r"(?P<fingerprint>[0-9a-f]+)-\d+x\d+x\d+(?:-(?P<fit>pad|crop\d+))?")
_FEATURES = re.compile(r"features-(?P<fingerprint>\w+)-(?P<pooling>\w+)")
_COLOURS = {1: "grey", 3: "RGB"}


@dataclass(frozen=True)
class Entry:
    """One complete file of the cache.

    Attributes:
        path: of the file.
        fingerprint: of the pictures' content and of which parts of them; of features also of the backbone.
        content: in words.
        num_images: that it holds.
        size_bytes: of the file.
        last_used: seconds since the epoch.
        in_use: whether a living process has it open.
    """

    path: Path
    fingerprint: str
    content: str
    num_images: int
    size_bytes: int
    last_used: float
    in_use: bool


def list_cache(folder: Path) -> list[Entry]:
    """The complete files of a cache, the one used last first; none when the folder is not there.

    Args:
        folder: as in `DataSettings.cache_folder`.
    """
    entries = []
    for path in (folder / "pixels").glob("*.npy"):
        stat = stat_of(path)
        named = _PIXELS.fullmatch(path.stem) or _FEATURES.fullmatch(path.stem)
        if stat is None or named is None:
            continue
        try:
            shape = np.load(path, mmap_mode="r").shape  # reads the header only
        except (OSError, ValueError):
            continue  # evicted just now, or damaged from outside: whoever needs it replaces it
        with unused(path) as is_unused:
            in_use = not is_unused
        if "pooling" in named.groupdict():
            content = f"{shape[0]:,} images, features ({named['pooling']} pooling)"
        else:
            content = f"{shape[0]:,} images, {shape[1]}×{shape[2]} {_COLOURS.get(shape[3], '')}"
            content += f" ({named['fit']})" if named["fit"] else ""
        entries.append(Entry(path, named["fingerprint"], content, shape[0], stat.st_size, stat.st_mtime, in_use))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def clear_cache(folder: Path, unused_since: float | None = None) -> tuple[list[Entry], list[Entry]]:
    """Removes the files that nobody uses; what is needed again is decoded again.

    Args:
        folder: as in `DataSettings.cache_folder`.
        unused_since: only those that were used last before this time, in seconds since the epoch.

    Returns:
        What was removed, and what was kept because a process has it open.
    """
    removed: list[Entry] = []
    kept: list[Entry] = []
    if not (folder / "pixels").is_dir():
        return removed, kept
    with locked(folder / "pixels" / "budget.lock"):
        for entry in list_cache(folder):
            if unused_since is not None and entry.last_used >= unused_since:
                continue
            with unused(entry.path) as is_unused:
                if is_unused:
                    entry.path.unlink(missing_ok=True)
                (removed if is_unused else kept).append(entry)
    return removed, kept
