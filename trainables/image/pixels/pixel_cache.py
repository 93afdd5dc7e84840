"""Decoded pixels on disk: files that are built once, shared by every process of a node, and bounded in size.

Locks are flock: the kernel drops them when a process dies, so nothing has to be cleaned up by anyone who was killed.

- `<name>.npy`: a complete file, with a checksum of all of it behind the array. Whoever uses it holds a shared lock on
  it, so that it is not evicted.
- `<random>.partial`: being built, at its full size. The builder holds an exclusive lock; unlocked, its builder is dead
  and the next builder removes it. It becomes `<name>.npy` in one step, complete and on disk.
- `<name>.lock`: held by whoever builds `<name>`; others wait for it and then find the file.
- `budget.lock`: held for the moment in which room is counted, made and taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import math
import mmap
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainables.digests import TRAILER_BYTES, DigestMismatch, content_bytes, trailer
from trainables.errors import DataError

KEEP_FREE_BYTES = 1 << 30  # of the disk, for everybody else
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

Shape = tuple[int, int, int, int]
"""(N, H, W, C)."""


class MappedFile:
    """A complete file, mapped into memory, protected from eviction until it is closed or forgotten.

    Attributes:
        array: (N, H, W, C) uint8, read-only.
    """

    def __init__(self, array: npt.NDArray[np.uint8], descriptor: int) -> None:
        self.array = array
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Lets go of the lock. The array stays readable as long as it is referred to."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


class PartialFile:
    """A file that is being built. Rows may be written from several threads, in any order.

    Attributes:
        shape: (N, H, W, C).
        error: why it cannot be completed (the disk is full); rows written after that are dropped.
    """

    def __init__(self, path: Path, descriptor: int, shape: Shape) -> None:
        self.shape = shape
        self.error: OSError | None = None
        self._path = path
        self._descriptor = descriptor
        self._is_open = True
        self._header = _header(shape)
        os.pwrite(descriptor, self._header, 0)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:])

    def write(self, row: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Writes one row, (H, W, C)."""
        assert pixels.shape == self.shape[1:], (pixels.shape, self.shape)
        if self.error is not None:
            return
        try:
            self._write(row, np.ascontiguousarray(pixels).data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.error = error

    def keep(self, rows: npt.NDArray[np.int64]) -> None:
        """Keeps only these rows, ascending; moves them together."""
        for place, row in enumerate(rows.tolist()):
            if place != row:
                self._write(place, os.pread(self._descriptor, self.row_bytes, len(self._header) + row * self.row_bytes))
        self.shape = (len(rows), *self.shape[1:])
        assert len(_header(self.shape)) == len(self._header), "numpy leaves room for any length in the header"
        os.pwrite(self._descriptor, _header(self.shape), 0)
        os.ftruncate(self._descriptor, len(self._header) + len(rows) * self.row_bytes)

    def publish(self, path: Path) -> None:
        """Makes it the complete file `path`."""
        assert self.error is None
        size = len(self._header) + len(self) * self.row_bytes
        with mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ) as content:
            os.pwrite(self._descriptor, trailer(content), size)
        os.fsync(self._descriptor)
        self._path.replace(path)
        self._close()

    def discard(self) -> None:
        """Removes it, unless it has been published."""
        if self._is_open:
            self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._is_open = False

    def _write(self, row: int, content: bytes | memoryview) -> None:
        view = memoryview(content).cast("B")
        place = len(self._header) + row * self.row_bytes
        while view:
            written = os.pwrite(self._descriptor, view, place)
            view, place = view[written:], place + written


class PixelCache:
    """The folder of decoded pixels of a node.

    Args:
        folder: made when it is not there.
        limit_bytes: the most that complete and partial files together may hold.
        keep_free_bytes: what must stay free on the disk.

    Attributes:
        damaged: what was found that is not as it was written, in words; it was removed, and will be created again.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, limit_bytes: int, keep_free_bytes: int = KEEP_FREE_BYTES) -> None:
        self.folder = folder / "pixels"
        self.limit_bytes = limit_bytes
        self.keep_free_bytes = keep_free_bytes
        self.damaged: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the complete file of this name is."""
        return self.folder / f"{name}.npy"

    def find(self, name: str, shape: Shape) -> MappedFile | None:
        """Maps a complete file that is as it was written, and marks it as used now; None when there is none."""
        path = self.path(name)
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if not _is_still(path, descriptor):
                    os.close(descriptor)  # evicted or replaced while it was being opened
                    continue
                damage = _damage(descriptor, shape)
                with contextlib.suppress(PermissionError):  # another user's file: then it does not count as used
                    os.utime(descriptor)
                if not damage:
                    _remember(descriptor)
                    array = np.load(path, mmap_mode="r")
            except BaseException:
                os.close(descriptor)
                raise
            if damage:
                os.close(descriptor)
                with contextlib.suppress(PermissionError):
                    path.unlink(missing_ok=True)
                self.damaged.append(f"{path}: {damage}; it was removed, and will be created again")
                return None
            return MappedFile(array, descriptor)

    def building(self, name: str, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Waits until nobody else builds this file, and keeps others waiting inside the block."""
        return locked(self.folder / f"{name}.lock", on_wait)

    def reserve(self, shape: Shape) -> PartialFile | None:
        """Takes room for a new file; evicts the files that were not used for longest. None: there is no room."""
        size = _file_bytes(shape)
        with locked(self.folder / "budget.lock"):
            self._remove_leftovers()
            if not self._make_room(size):
                return None
            path = self.folder / f"{uuid.uuid4().hex}.partial"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.posix_fallocate(descriptor, 0, size)  # a full disk shows now, not in the middle
                return PartialFile(path, descriptor, shape)
            except OSError as error:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                if error.errno in _FULL:
                    return None
                raise

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob("*.partial"):
            with unused(path) as is_unused:
                if is_unused:
                    path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        complete = {path: stat for path in self.folder.glob("*.npy") if (stat := stat_of(path)) is not None}
        taken = sum(stat.st_size for path in self.folder.glob("*.partial") if (stat := stat_of(path)) is not None)
        taken += sum(stat.st_size for stat in complete.values())
        excess = max(
            taken + size - self.limit_bytes,
            size + self.keep_free_bytes - shutil.disk_usage(self.folder).free,
        )
        with contextlib.ExitStack() as held:
            evict: list[Path] = []
            for path, stat in sorted(complete.items(), key=lambda item: item[1].st_mtime_ns):
                if excess <= 0:
                    break
                if held.enter_context(unused(path)):
                    evict.append(path)
                    excess -= stat.st_size
            if excess > 0:
                return False  # and nothing is evicted in vain
            for path in evict:
                path.unlink(missing_ok=True)
        return True


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds an exclusive lock on a file, which is made and stays.

    Args:
        path: the file.
        on_wait: called once when somebody else holds the lock, before waiting for it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock_at_once(descriptor):
            if on_wait is not None:
                on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Whether no living process uses a file; if so, nobody can begin to inside the block."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _lock_at_once(descriptor)
    finally:
        os.close(descriptor)


def _lock_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise DataError(
            f"the cache of decoded pixels is on a file system without file locks (flock: {error.strerror}): name "
            "another folder with data.cache_dir or SWEEP_CACHE, such as one on a local disk"
        ) from error
    return True


def _header(shape: Shape) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _is_still(path: Path, descriptor: int) -> bool:
    stat = stat_of(path)
    return stat is not None and os.path.samestat(stat, os.fstat(descriptor))


def _file_bytes(shape: Shape) -> int:
    return len(_header(shape)) + math.prod(shape) + TRAILER_BYTES


_seen: dict[tuple[int, int], tuple[int, int]] = {}
"""Files (device, inode) that this process has looked at, as they were (bytes, time of change) when it did."""


def _damage(descriptor: int, shape: Shape) -> str:
    """What is wrong with a complete file; empty when nothing is.

    Every bit of it is looked at, but only once by a process, unless somebody else has changed or used it since.
    """
    stat = os.fstat(descriptor)
    if stat.st_size != _file_bytes(shape):
        if stat.st_size == _file_bytes(shape) - TRAILER_BYTES:
            return "without a checksum, as earlier versions wrote it"
        return f"it has {stat.st_size:,} bytes where {_file_bytes(shape):,} were written"
    if _seen.get((stat.st_dev, stat.st_ino)) == (stat.st_size, stat.st_mtime_ns):
        return ""
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            content_bytes(view)
            is_of_shape = content[: len(_header(shape))] == _header(shape)
    except DigestMismatch as error:
        return f"changed after it was written ({error})"
    return "" if is_of_shape else f"not of the shape {shape}"


def _remember(descriptor: int) -> None:
    stat = os.fstat(descriptor)
    _seen[stat.st_dev, stat.st_ino] = (stat.st_size, stat.st_mtime_ns)


def stat_of(path: Path) -> os.stat_result | None:
    """What the system knows of a file; None when it is gone."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
