"""Files that survive a crash: appended line by line, replaced in one step, or locked by one process.

Everything durable that a sweep writes goes through here, so that a SIGKILL, a power cut or a full disk
leaves at most one line or one temporary file behind, and the next start clears that away.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sweep_runner.errors import RequestError
from trainables.digests import DigestMismatch, is_sealed

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What `flock` answers on a file system that has no locks."""

_BLOCK_BYTES = 64 * 1024
_PARTIAL_SUFFIX = ".partial"
# A reader that asks whether the lock is held holds it for microseconds itself; wait that out.
_LOCK_PATIENCE_S = 0.5


def cut_torn_tail(path: Path) -> int:
    """Cuts a file of lines back to its last newline: what comes after is a line that a crash left unfinished.

    A line that is whole by its checksum stays, and gets the newline that it lacks or that was changed.

    Call it under the sweep's lock, before the file is opened for writing.

    Returns:
        How many bytes were cut; 0 for a file that is whole, empty or missing.
    """
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return 0
    with file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_last_line(file, size)
        if end == size:
            return 0
        file.seek(end)
        tail = file.read()
        whole = next((line for line in (tail, tail[:-1]) if _is_whole(line)), b"")
        if whole:
            end += len(whole)
        file.truncate(end)
        if whole:
            file.seek(end)
            file.write(b"\n")
            file.flush()
        os.fsync(file.fileno())
    return max(0, size - end - bool(whole))


def _is_whole(line: bytes) -> bool:
    try:
        return is_sealed(line)
    except DigestMismatch:
        return False


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    position = size
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        file.seek(start)
        newline = file.read(position - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


class AppendFile:
    """A file to which whole lines are appended, each on disk when `append` returns.

    For one writer at a time, under the sweep's lock, after `cut_torn_tail`.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, or creates it empty in its existing folder."""
        self.path = path.absolute()
        created = not self.path.exists()
        self._descriptor: int | None = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._torn_at: int | None = None
        if created:
            _sync_folder(self.path.parent)

    def append(self, line: bytes) -> None:
        """Appends one line and waits until it is on disk. As `append_many`."""
        self.append_many((line,))

    def append_many(self, lines: Iterable[bytes], *, sync: bool = True) -> None:
        """Appends lines, all or none, and waits once until they are on disk.

        Args:
            lines: each with or without its newline at the end, and with no other.
            sync: False to go on without waiting for the disk; a later `sync` or append waits for these lines too.

        Raises:
            OSError: the write failed (no space, ...); the file is as long as before.
            ValueError: the file is closed.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        data = b"".join(_one_line(line) for line in lines)
        if not data:
            return
        if self._torn_at is not None:
            self._cut(self._torn_at)
        before = os.fstat(self._descriptor).st_size
        try:
            view = memoryview(data)
            while view:
                # A nearly full disk takes a part and says so only at the next write.
                view = view[os.write(self._descriptor, view) :]
            if sync:
                _sync_content(self._descriptor)
        except BaseException:
            self._cut(before)
            raise

    def sync(self) -> None:
        """Waits until every line is on disk."""
        if self._descriptor is not None:
            _sync_content(self._descriptor)

    def _cut(self, size: int) -> None:
        assert self._descriptor is not None
        self._torn_at = size  # stays, should truncating fail too: the next append tries again
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        self._torn_at = None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_sync_content: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Waits for what a file holds and how long it is, but not for its times: quicker, where the system has it."""


def _one_line(line: bytes) -> bytes:
    line = line.removesuffix(b"\n")
    assert b"\n" not in line, "a newline inside a line would make two of it"
    return line + b"\n"


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a file so that others see the old content or the new one, never a part.

    What is there but is not a file (a device, a pipe) is written to, never replaced; of a link, what it leads to is.

    Args:
        path: the file; its folder exists.
        content: the bytes, or a function that writes them into the open file that it is given.

    Raises:
        OSError: the write failed; `path` is as it was and nothing is left over.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            _write_content(file, content)
        return
    path = path.resolve() if path.is_symlink() else path
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL_SUFFIX}")
    try:
        with partial.open("xb") as file:
            _write_content(file, content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_content(file: BinaryIO, content: bytes | Callable[[BinaryIO], object]) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)


def remove_leftovers(folder: Path) -> int:
    """Removes what a killed `write_atomically` left in a folder. Call it under the sweep's lock.

    Returns:
        How many files were removed.
    """
    leftovers = list(folder.glob(f".*{_PARTIAL_SUFFIX}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _sync_folder(folder: Path) -> None:
    """Makes names created in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SweepLock:
    """Lets one process write into a sweep's folder. A dead holder's lock is free: the kernel releases it.

    Use it as a context manager, or call `acquire` and `release`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._file: BinaryIO | None = None

    def acquire(self) -> Self:
        """Takes the lock, and writes into the file who has it.

        Raises:
            RequestError: another process has it; names that process.
        """
        assert self._file is None, "the lock is held already"
        # Opened for appending: the file is created when missing and never emptied before the lock is ours.
        file = self.path.open("a+b", buffering=0)
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                file.close()
                raise self._refusal() from None
            except OSError as error:
                file.close()
                if error.errno not in NO_LOCKS:
                    raise
                raise RequestError(
                    f"{self.path.parent}: this file system has no file locks (flock: {error.strerror}), so two "
                    f"processes could write to one sweep at the same time",
                    hint="Choose a folder on another file system, such as a local disk, with --results, or have this "
                    "one mounted with locks (Lustre: -o flock; NFS: with its lock service).",
                ) from error
            except BaseException:
                file.close()
                raise
        self._file = file
        file.truncate(0)
        file.write(json.dumps(this_process()).encode() + b"\n")
        return self

    def _refusal(self) -> RequestError:
        sweep = self.path.parent.name
        holder = _read_holder(self.path)
        who = "another process"
        where = "that process"
        if holder:
            where = f"process {holder.get('pid')} on {holder.get('host')}"
            who = f"{where} since {holder.get('since')} ({holder.get('command')})"
        return RequestError(
            f"sweep {sweep!r} is being written by {who}; only one process at a time may",
            hint=f"wait for it, stop {where}, or give this sweep another name",
        )

    def release(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
            # Closing alone would leave the lock with a child process that has the file still open.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_holder(path: Path) -> dict[str, Any] | None:
    """Who holds a sweep's lock.

    Returns:
        pid, host, command and since (ISO 8601, UTC) of the holder, as far as it has written them; None when
        nobody holds the lock.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(path)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    return None


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_bytes() or b"{}")
    except ValueError:
        return {}  # read while the holder was writing it
    return holder if isinstance(holder, dict) else {}


def this_process() -> dict[str, Any]:
    """pid, host, command and since (ISO 8601, UTC: now) of this process, for others to read."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        # Without its arguments: they may hold secrets.
        "command": " ".join([Path(sys.argv[0] or "python").name, *sys.argv[1:2]]),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
