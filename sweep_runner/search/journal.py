"""Optuna's journal storage, opened so that a crash or a full disk cannot destroy the study.

The file is Optuna's own format: optuna-dashboard and `optuna.load_study` read it as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from sweep_runner.durable import AppendFile, cut_torn_tail
from sweep_runner.errors import SweepError
from trainables.digests import DigestMismatch, is_sealed, sealed


class Journal(BaseJournalBackend):
    """Optuna's journal file for the one process that has the sweep's lock.

    Otherwise than Optuna's own backend, an append that fails leaves the file as it was (theirs leaves half a line,
    after which the study can never be read again), no lock file is left behind by a killed process, and what it
    remembers of the file does not grow with it.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the journal; call `cut_torn_tail` first.

        Args:
            path: absolute.
        """
        self._file = AppendFile(path)
        self._reading: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._read = (0, 0)  # how many records, and how many bytes, were read
        self._path = path
        self._deferred = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends records, all or none.

        Raises:
            SweepError: the disk does not take them; the journal is as before.
        """
        with self._told_to_user():
            self._file.append_many(map(encoded, logs), sync=not self._deferred)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from this one on, whoever wrote them: optuna-dashboard may add notes while the sweep runs."""
        if self._read[0] > log_number_from:
            self._read = (0, 0)
        number, position = self._read
        assert self._reading is not None, "the journal is closed"
        # A new buffer each time: it must not hold what an append that failed has taken back.
        with open(self._reading, "rb", closefd=False) as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # somebody is writing it
                number, position = number + 1, position + len(line)
                self._read = (number, position)
                if number > log_number_from:
                    is_sealed(line)  # what others wrote has no checksum
                    yield json.loads(line)

    @contextmanager
    def one_sync(self) -> Iterator[None]:
        """Waits for the disk once, at the end, instead of after every record."""
        try:
            with self.no_sync():
                yield
        finally:
            with self._told_to_user():
                self._file.sync()

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Does not wait for the disk: a later append does, or `close`, for these records, too."""
        assert not self._deferred, "one_sync and no_sync do not nest"
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @contextmanager
    def _told_to_user(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SweepError(
                f"cannot write {self._path}: {error.strerror}\n"
                "    nothing recorded is lost; when the disk is writable again, resume the sweep"
            ) from error

    def close(self) -> None:
        """Closes the file, all of it on disk. Nothing can be appended afterwards. Again: does nothing."""
        try:
            with self._told_to_user():
                self._file.sync()
        finally:
            self._file.close()
            if self._reading is not None:
                os.close(self._reading)
                self._reading = None


def encoded(log: dict[str, Any]) -> bytes:
    """A record as a line of the journal, without its newline."""
    # Optuna, and optuna-dashboard, take no notice of the checksum.
    return sealed(json.dumps(log, separators=(",", ":")).encode())


class SweepStorage(JournalStorage):
    """Optuna's storage, told whether any trial waits: its `ask` looks for one through all trials, every time.

    Attributes:
        trials_wait: False, when nothing waits to be asked for.
    """

    trials_wait = True

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,) and not self.trials_wait:
            return []
        return super().get_all_trials(study_id, deepcopy, states)


def open_journal(path: Path) -> tuple[SweepStorage, Journal]:
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
        return SweepStorage(journal), journal
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        journal.close()
        raise SweepError(
            f"{path} is damaged: {_first_bad_line(path)}\n"
            "    restore the file from a backup, or start a new sweep under another name"
        ) from error


def _first_bad_line(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                is_sealed(line)
                json.loads(line)
            except DigestMismatch:
                return f"line {number} was changed: its checksum does not match"
            except ValueError:
                return f"line {number} is not JSON"
    return "it is not an Optuna journal"
