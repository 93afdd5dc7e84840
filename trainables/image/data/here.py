"""Checks a sample of a sweep's images and weights on this machine: quick, also over a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.index import ImageIndex

_SAMPLE = 200
_MOST_SHOWN = 3


def seen_here(index: ImageIndex, weights: Iterable[Path]) -> str:
    """A digest of the sizes of some of the files that training reads, the same wherever the same files are seen.

    Args:
        index: of the sweep's examples.
        weights: files of pretrained weights.

    Raises:
        DataError: a file is not there.
    """
    paths = [path for path in index.table["path"].to_pylist() if path is not None]
    positions = np.unique(np.linspace(0, max(0, len(paths) - 1), min(len(paths), _SAMPLE)).astype(int))
    files = [*(Path(paths[position]) for position in positions), *weights]
    digest = hashlib.sha256(index.fingerprint.encode())
    missing = []
    for file in dict.fromkeys(files):
        try:
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        except OSError:
            missing.append(str(file))
    if missing:
        raise DataError(f"not there: {few_of(missing, _MOST_SHOWN)}")
    return f"{len(paths):,} examples in files, {digest.hexdigest()[:12]}"
