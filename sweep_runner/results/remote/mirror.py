"""Uploads what a sweep writes, in a thread of its own, so that what is on the storage is consistent at any moment.

A pass puts, in this order: what trials need (prepared data); log and study of one moment, as one object; the tables,
which therefore never know more than the log; what is published, with its manifest last. When the storage does not
answer, the sweep goes on and every pass tries again; the first one that comes through puts whatever is missing.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO

from sweep_runner.durable import this_process, write_atomically
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.remote.checkpoints import upload_checkpoints
from sweep_runner.results.remote.fetch import UNSYNCED, note_synced
from sweep_runner.results.remote.lease import RENEW_S, Lease, describe
from sweep_runner.results.remote.snapshot import STATE, Moment, moment, pack
from sweep_runner.results.remote.store import Store, StoreError

INTERVAL_S = 5.0
_PASS_FRACTION = 0.2
"""Passes take at most this share of the time: of a large sweep each takes longer, so there are fewer."""
_LONGEST_WAIT_S = 60.0
_LAST_PATIENCE_S = 20.0
_FEW = 8
"""For more trials than these one listing of all costs less than one of each."""
_CHECKPOINT = re.compile(r".*/checkpoints/epoch-\d+(?=/)")

Stamp = tuple[int, int, int]
Warn = Callable[[str], None]


class Mirror:
    """The uploads of one sweep, by the one process that has its lock and its lease.

    Attributes:
        problem: why what is here is not on the storage; empty while all is well.
    """

    def __init__(
        self, store: Store, paths: SweepPaths, lease: Lease, warn: Warn, interval_s: float = INTERVAL_S
    ) -> None:
        """Prepares; `start` begins to upload.

        Args:
            store: the sweep's objects.
            paths: its working copy.
            lease: held.
            warn: told once when the storage is gone, and once when it is back. Called in another thread.
            interval_s: how old what is on the storage may be, while something happens.
        """
        self._store = store
        self._paths = paths
        self._lease = lease
        self._warn = warn
        self._interval_s = interval_s
        self._uploaded: dict[str, Stamp] = {}
        self._state: tuple[Moment, Stamp | None, Stamp | None] | None = None
        self._queue: SimpleQueue[tuple[int, int | None]] = SimpleQueue()
        self._drops: list[tuple[int, int | None]] = []
        self._all = True  # the next pass compares with what is there instead of what is remembered
        self._renewed = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self.problem = ""

    @property
    def lost(self) -> str:
        """Who has taken the sweep over, in words; empty while it is ours."""
        return describe(self._lease.lost) if self._lease.lost else ""

    def start(self) -> None:
        """Uploads what is there, then goes on in the background."""
        write_atomically(self._paths.root / UNSYNCED, this_process()["since"].encode())
        self._try()
        self._thread.start()

    def drop(self, trial: int, keep_epoch: int | None) -> None:
        """Removes a trial's checkpoints from the storage, all or all but one, with the next pass."""
        self._queue.put((trial, keep_epoch))

    def close(self) -> None:
        """Uploads a last time. When that does not succeed within seconds, `problem` says what to do later."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        deadline = time.monotonic() + _LAST_PATIENCE_S
        self._all = True
        wait_s = 1.0
        while not self._try() and not self.lost and time.monotonic() + wait_s < deadline:
            time.sleep(wait_s)
            wait_s *= 2
        if self.problem:
            return
        try:
            note_synced(self._store, self._paths)
            self._lease.release()
        except StoreError as error:
            self._note(error)

    def _run(self) -> None:
        wait_s = self._interval_s
        while not self._closing.wait(wait_s):
            began = time.monotonic()
            went = self._try()
            took_s = time.monotonic() - began
            wait_s = max(self._interval_s, took_s / _PASS_FRACTION) if went else min(wait_s * 2, _LONGEST_WAIT_S)

    def _try(self) -> bool:
        """One pass; whether it came through."""
        if self.lost:
            return False
        try:
            if not self._renew():
                self.problem = f"the sweep was taken over by {self.lost}; nothing more is uploaded from here"
                self._warn(self.problem)
                return False
            if self._all:
                self._store.check()
                self._uploaded.clear()
                self._state = None
            self._pass()
            if self._all:
                upload_checkpoints(self._store, self._paths)
        except Exception as error:  # noqa: BLE001 - training goes on whatever the storage does; it is told at the end
            self._note(error)
            return False
        self._all = False
        if self.problem:
            self.problem = ""
            self._warn(f"{self._store.address.url} is reachable again: everything is uploaded")
        return True

    def _note(self, error: Exception) -> None:
        """Keeps what went wrong, and tells it the first time."""
        told = bool(self.problem)
        # What is there may be another storage the next time, or one that was emptied.
        self._all = True
        hint = f"; {error.hint}" if isinstance(error, StoreError) and error.hint else ""
        self.problem = f"{error}{hint}"
        if not told:
            self._warn(f"not uploaded: {self.problem}. The sweep continues in {self._paths.root} and retries")

    def _renew(self) -> bool:
        if self._all or time.monotonic() - self._renewed > RENEW_S:
            mine = self._lease.renew()
            self._renewed = time.monotonic()
            return mine
        return True

    def _pass(self) -> None:
        self._put_changed(self._files("data"))
        drops = self._take_drops()
        with contextlib.ExitStack() as stack:
            # Open before the log is read: a part that is replaced meanwhile stays, behind its descriptor, as it was,
            # and knows no more than the log that is put first.
            tables = [
                (name, stamp, stack.enter_context(path.open("rb"))) for name, stamp, path in self._changed("tables")
            ]
            self._put_state()
            for name, stamp, file in tables:
                self._put(name, stamp, file)
        self._put_changed([self._paths.environment, self._paths.requirements, self._paths.findings, self._paths.spec])
        self._put_published()
        self._put_changed([*self._files("exports"), *self._files("plots"), self._paths.report])
        self._delete_gone()
        # Only now that the ends of these trials are known there: whoever goes on elsewhere needs them no more.
        self._drop_checkpoints(drops)
        drops.clear()

    def _put_state(self) -> None:
        at = moment(self._paths)
        state = at, _stamp(self._paths.spec), _stamp(self._paths.environment)
        if state != self._state and at.log_bytes:
            self._store.put(STATE, pack(self._paths, at))
            self._state = state

    def _put_published(self) -> None:
        """The model package. Without its manifest it is none, so that goes first and comes last."""
        manifest = "best/model.json"
        changed = [name for name, _, _ in self._changed("best")]
        if manifest in changed and len(changed) > 1:
            self._store.delete([manifest])
        self._put_changed([path for path in self._files("best") if path.name != "model.json"])
        self._put_changed([self._paths.root / manifest])

    def _files(self, folder: str) -> list[Path]:
        found = sorted((self._paths.root / folder).rglob("*"))
        return [path for path in found if not path.name.startswith(".") and path.is_file()]

    def _changed(self, folder: str) -> list[tuple[str, Stamp, Path]]:
        found = []
        for path in self._files(folder):
            name, stamp = self._name(path), _stamp(path)
            if stamp is not None and self._uploaded.get(name) != stamp:
                found.append((name, stamp, path))
        return found

    def _name(self, path: Path) -> str:
        return path.relative_to(self._paths.root).as_posix()

    def _put_changed(self, files: list[Path]) -> None:
        for path in files:
            name, stamp = self._name(path), _stamp(path)
            if stamp is None or self._uploaded.get(name) == stamp:
                continue
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                self._put(name, stamp, file)

    def _put(self, name: str, stamp: Stamp, file: BinaryIO) -> None:
        self._store.put(name, file)
        self._uploaded[name] = stamp

    def _delete_gone(self) -> None:
        gone = [name for name in self._uploaded if not (self._paths.root / name).exists()]
        self._store.delete(gone)
        for name in gone:
            del self._uploaded[name]

    def _take_drops(self) -> list[tuple[int, int | None]]:
        with contextlib.suppress(Empty):
            while True:
                self._drops.append(self._queue.get_nowait())
        return self._drops

    def _drop_checkpoints(self, drops: list[tuple[int, int | None]]) -> None:
        kept = dict(drops)  # of two for a trial the later counts
        folders = [f"trials/{trial}" for trial in kept] if len(kept) <= _FEW else ["trials"]
        names = [name for folder in folders for name in self._store.entries(folder)]
        # Also what has no manifest: a worker was lost while it put it.
        for folder in sorted({found[0] for name in names if (found := _CHECKPOINT.match(name))}):
            trial, epoch = int(folder.split("/")[1]), int(folder.rpartition("-")[2])
            if trial in kept and kept[trial] != epoch:
                self._store.delete_folder(folder)


def _stamp(path: Path) -> Stamp | None:
    """What changes with a file's content: it was replaced, or written to."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
