"""What the trainable prepared stays as it was until new preparation is accepted."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def put_back_on_error(folder: Path) -> Iterator[None]:
    """Puts a prepared folder back as it was when the block raises: data refused, data gone, Ctrl-C.

    The models of a sweep are exported with what was prepared for it (the names of the classes, say), so other data
    must not take its place. A SIGKILL inside the block is mended by the next call.

    Args:
        folder: exists. Its files are linked, not copied: a file that is rewritten in place is not put back.
    """
    before = folder.with_name(f".{folder.name}-before")
    partial = folder.with_name(f".{folder.name}-before.partial")
    _put_back(before, folder)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, copy_function=_link, symlinks=True)
    partial.rename(before)
    try:
        yield
    except BaseException:
        _put_back(before, folder)
        raise
    shutil.rmtree(before)


def put_back(folder: Path) -> None:
    """Puts the folder back as it was, from another thread and while the block is still open: the process ends."""
    _put_back(folder.with_name(f".{folder.name}-before"), folder)


def _put_back(before: Path, folder: Path) -> None:
    if before.exists():
        shutil.rmtree(folder)
        before.rename(folder)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
