"""Optuna's journal storage, opened so that a crash or a full disk cannot destroy the study.

The file is Optuna's own format: optuna-dashboard and `optuna.load_study` read it as it is.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from sweep_runner.durable import AppendFile, cut_torn_tail
from sweep_runner.errors import SweepError


class FlockLock(BaseJournalFileLock):
    """A lock that dies with its holder. Optuna's own leave a lock file behind when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def acquire(self) -> bool:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


class Journal(JournalFileBackend):
    """Optuna's journal file, but an append that fails leaves the file as it was.

    Optuna's own leaves a half-written line, after which the study can never be read again.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the journal; call `cut_torn_tail` first.

        Args:
            path: absolute.
        """
        self._file = AppendFile(path)
        self._flock = FlockLock(path)
        self._path = path
        self._deferred = False
        super().__init__(str(path), lock_obj=self._flock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends records, all or none.

        Raises:
            SweepError: the disk does not take them; the journal is as before.
        """
        lines = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        self._flock.acquire()
        try:
            with self._told_to_user():
                self._file.append_many(lines, sync=not self._deferred)
        finally:
            self._flock.release()

    @contextmanager
    def one_sync(self) -> Iterator[None]:
        """Waits for the disk once, at the end, instead of after every record."""
        assert not self._deferred, "one_sync does not nest"
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
            with self._told_to_user():
                self._file.sync()

    @contextmanager
    def _told_to_user(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SweepError(
                f"cannot write {self._path}: {error.strerror}\n"
                "    nothing recorded so far is lost; once the disk takes data again, resume the sweep"
            ) from error

    def close(self) -> None:
        """Closes the file. Nothing can be appended afterwards."""
        self._file.close()
        self._flock.close()


def open_journal(path: Path) -> tuple[JournalStorage, Journal]:
    """Opens or creates the journal of a study. The caller holds the sweep's lock.

    Args:
        path: of the journal file, in an existing folder.

    Raises:
        SweepError: the file cannot be opened, or holds a line that is no record.
    """
    # Absolute: with a relative path and a changed folder Optuna's file backend would look elsewhere.
    path = path.absolute()
    try:
        cut_torn_tail(path)
        journal = Journal(path)
    except OSError as error:
        raise SweepError(f"cannot open {path}: {error.strerror}") from error
    try:
        return JournalStorage(journal), journal
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        journal.close()
        raise SweepError(
            f"{path} is damaged: {_first_bad_line(path)}\n"
            "    restore the file from a copy, or start the sweep anew under another name"
        ) from error


def _first_bad_line(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                json.loads(line)
            except ValueError:
                return f"line {number} is not JSON"
    return "it is not an Optuna journal"
