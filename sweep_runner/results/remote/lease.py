"""One writer per sweep, on whatever machine: an object that says who, renewed every few seconds.

The lock in the folder keeps out other processes of this machine; this keeps out other machines. Storage without an
atomic "make it, if it is not there" is enough: whoever takes the lease waits a moment and looks whether it is still his
own, and looks again before every renewal; of two that wrote at the same time the later has it, and the other notices.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sweep_runner.durable import this_process
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import LEASE_FILE, SweepPaths
from sweep_runner.results.remote.address import copy_id
from sweep_runner.results.remote.store import Store

RENEW_S = 15.0
STALE_S = 120.0
"""A writer that has not renewed its lease for so long is taken for gone, by those who read."""
_SETTLE_S = 0.5


@dataclass(frozen=True)
class Holder:
    """Who has, or had, the lease.

    Attributes:
        key: tells this hold from every other.
        host, pid, command, since: the process.
        created: when the process was made, by its machine's clock: tells it from a later one with its number.
        machine: tells the running system (and, in a container, its processes) from others of the same name.
        copy: which working copy it writes in.
    """

    key: str
    host: str
    pid: int
    command: str
    since: str
    created: float
    machine: str
    copy: str

    @classmethod
    def of(cls, content: bytes | None) -> Holder | None:
        """What an object says; None where there is none, or none that can be read."""
        try:
            said: Mapping[str, Any] = json.loads(content or b"")
            return cls(**said)
        except (ValueError, TypeError):
            return None

    def to_json(self) -> bytes:
        return json.dumps(self.__dict__).encode()

    def is_gone(self, copy: str) -> bool:
        """Whether its process is known not to live any more.

        Args:
            copy: the working copy where the asking process holds the sweep's lock: nobody else writes in that one.
        """
        if self.copy == copy:
            return True
        if self.machine != _this_machine():
            return False
        try:
            return psutil.Process(self.pid).create_time() != self.created
        except psutil.NoSuchProcess:
            return True


class Lease:
    """Of one sweep, held by this process.

    Attributes:
        lost: who has taken it over; None while it is ours.
    """

    def __init__(self, store: Store, paths: SweepPaths) -> None:
        """Use `acquire`."""
        self._store = store
        who = this_process()
        self._holder = Holder(
            secrets.token_hex(8),
            who["host"],
            who["pid"],
            who["command"],
            who["since"],
            psutil.Process().create_time(),
            _this_machine(),
            copy_id(paths.root.parent),
        )
        self.lost: Holder | None = None

    @classmethod
    def acquire(cls, store: Store, paths: SweepPaths, take_over: bool = False) -> Lease:
        """Takes the lease. Call it under the sweep's lock.

        Args:
            store: the sweep's objects.
            paths: its working copy.
            take_over: takes it from whoever has it.

        Raises:
            RequestError: another process has it; names that process and says how to take over.
            StoreError: the storage does not answer.
        """
        lease = cls(store, paths)
        before = Holder.of(store.get(LEASE_FILE))
        if before is not None and not take_over and not before.is_gone(copy_id(paths.root.parent)):
            raise _refusal(before, store, paths)
        lease._write()
        time.sleep(_SETTLE_S)  # another machine may be at this very point
        now = Holder.of(store.get(LEASE_FILE))
        if now is not None and now.key != lease._holder.key:
            raise _refusal(now, store, paths)
        return lease

    def _write(self) -> None:
        self._store.put(LEASE_FILE, self._holder.to_json())

    def renew(self) -> bool:
        """Says that this process lives; whether the lease is still its own.

        Raises:
            StoreError: the storage does not answer.
        """
        if self.lost is None:
            now = Holder.of(self._store.get(LEASE_FILE))
            if now is None or now.key == self._holder.key:
                self._write()
            else:
                self.lost = now
        return self.lost is None

    def release(self) -> None:
        """Gives it back, if it is ours.

        Raises:
            StoreError: the storage does not answer.
        """
        now = Holder.of(self._store.get(LEASE_FILE))
        if now is not None and now.key == self._holder.key:
            self._store.delete([LEASE_FILE])


def _this_machine() -> str:
    """The boot of this system and the space of its process numbers: only there a number means a process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()}/{psutil.boot_time()}"


def describe(holder: Holder) -> str:
    """Who it is, in words."""
    return f"process {holder.pid} on {holder.host} since {holder.since} ({holder.command})"


def _refusal(holder: Holder, store: Store, paths: SweepPaths) -> RequestError:
    now, entry = store.check(writable=True), store.entry(LEASE_FILE)
    age_s = now.timestamp() - entry.mtime_ns / 1e9 if now and entry else 0.0
    stale = age_s > STALE_S
    return RequestError(
        f"sweep {paths.name!r} in {store.address.url} is being written by {describe(holder)}, whose last sign came "
        f"{age_s:.0f} s ago; only one process at a time may",
        hint=("it seems to have ended" if stale else f"it gives one every {RENEW_S:.0f} s: wait for it, or stop it")
        + f"; if you know that it has ended, take over: {paths.command('resume', '--take-over')}",
    )
