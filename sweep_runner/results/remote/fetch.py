"""Brings what changed on the storage into the working copy, for commands that read and for a resume.

While a process of this machine writes the sweep, its working copy is newer than what is on the storage, and nothing is
brought. After a crash it may be: then logs decide, which of two is the beginning of the other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from sweep_runner.durable import SweepLock, lock_holder, write_atomically
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import LEASE_FILE, ResultsPaths, SweepPaths
from sweep_runner.results.remote.address import address_of
from sweep_runner.results.remote.checkpoints import TEXTS, local_name
from sweep_runner.results.remote.snapshot import STATE, log_of, unpack
from sweep_runner.results.remote.store import Entry, Store

Part = Literal["tables", "history", "model", "data"]
TABLES: frozenset[Part] = frozenset({"tables"})
MODEL: frozenset[Part] = frozenset({"model"})
EVERYTHING: frozenset[Part] = frozenset({"tables", "history", "model", "data"})
"""But for checkpoints: who needs one brings it."""

Warn = Callable[[str], None]

_INDEX = ".remote.json"
_FETCHING = ".fetching"
UNSYNCED = ".unsynced"
"""In a sweep's working copy while it may hold what is not on the storage."""
_THREADS = 8
_FOLDERS: dict[Part, tuple[str, ...]] = {
    "tables": ("tables", "looks-at-test", "annotations"),
    "history": ("trials",),
    "model": ("best", "exports"),
    "data": ("data",),
}
_TOP = ("sweep.yaml", "environment.json", "requirements.txt", "data.json", LEASE_FILE)


def refresh(results: ResultsPaths, parts: frozenset[Part], names: Iterable[str] | None, warn: Warn) -> None:
    """Brings parts of sweeps up to what is on the storage; does nothing for a folder of its own.

    Args:
        results: the working copy.
        parts: what is needed.
        names: of these sweeps; None: of all.
        warn: told what a reader should know, such as that results here are ahead of those on the storage.

    Raises:
        StoreError: the storage does not answer.
    """
    address = address_of(results.root)
    if address is None:
        return
    store = Store(address)
    store.check()
    there = [name for name in store.folders() if not name.startswith(".")]
    for name in set(there) if names is None else set(there) & set(names):
        paths = results.sweep(name)
        paths.root.mkdir(exist_ok=True)
        with _fetching(paths):
            if lock_holder(paths.lock) is None:
                ahead = bring(store.below(name), paths, parts)
                if ahead:
                    warn(ahead)
    for paths in list(results.sweeps()):
        if paths.name not in there and lock_holder(paths.lock) is None:
            _only_here(paths, results, warn)


@contextlib.contextmanager
def _fetching(paths: SweepPaths) -> Iterator[None]:
    """One process of this machine at a time."""
    lock = SweepLock(paths.root / _FETCHING)
    deadline = time.monotonic() + 60
    while True:
        try:
            lock.acquire()
            break
        except RequestError:
            if time.monotonic() > deadline:
                raise
    try:
        yield
    finally:
        lock.release()


def _only_here(paths: SweepPaths, results: ResultsPaths, warn: Warn) -> None:
    if paths.log.is_file():
        warn(_not_there(paths))
    else:
        shutil.rmtree(paths.root, ignore_errors=True)  # what a reader had brought, of a sweep that is gone


def _not_there(paths: SweepPaths) -> str:
    upload = paths.command("sync")
    return f"{paths.name} is not on the storage, only in {paths.root}: upload it ({upload}), or remove the folder"


def bring_for_writer(store: Store, paths: SweepPaths) -> None:
    """Brings what a run goes on from. Call it under the sweep's lock and with its lease.

    Raises:
        RequestError: here and on the storage the sweep has gone on differently.
        StoreError: the storage does not answer.
    """
    with _fetching(paths):  # from now on readers see the lock and bring nothing
        bring(store, paths, EVERYTHING, writer=True)


def bring(store: Store, paths: SweepPaths, parts: frozenset[Part], *, writer: bool = False) -> str:
    """Brings parts of one sweep that changed. Call it where nobody writes the sweep's working copy.

    Returns:
        Why nothing was brought, in words; empty when the working copy is now as the storage.

    Raises:
        RequestError: for a writer: the two have gone on differently.
        StoreError: the storage does not answer.
    """
    index = _read_index(paths)
    folders = sorted({folder for part in parts for folder in _FOLDERS[part]})
    listed = {name: entry for name, entry in store.entries(deep=False).items() if name in (*_TOP, STATE)}
    for folder in folders:
        listed.update({name: entry for name, entry in store.entries(folder).items() if _wanted(name)})
    if STATE not in listed and paths.log.is_file():
        # The storage was emptied, or lost the sweep: what is here is all that is left of it, and stays.
        _write_index(paths, {})
        return "" if writer else _not_there(paths)
    with_state = "history" in parts or (paths.root / UNSYNCED).exists()
    if with_state and STATE in listed:
        ahead = _bring_state(store, paths, listed[STATE], index, writer)
        if ahead:
            return ahead
    lease = listed.pop(LEASE_FILE, None)
    listed.pop(STATE, None)
    # The model's manifest comes last, and goes first: what is there without it is no model.
    changed = [name for name in listed if index.get(name) != listed[name] or not _local(paths, name).is_file()]
    manifest = "best/model.json"
    if manifest in changed:
        _local(paths, manifest).unlink(missing_ok=True)
        changed.remove(manifest)
    with ThreadPoolExecutor(_THREADS) as threads:
        got = dict(zip(changed, threads.map(lambda n: store.get_file(n, _local(paths, n)), changed), strict=True))
    if manifest in listed and not _local(paths, manifest).is_file():
        got[manifest] = store.get_file(manifest, _local(paths, manifest))
    gone = {name for name in index if name.split("/")[0] in folders and name not in listed}
    gone |= {name for name, there in got.items() if not there}
    for name in gone:
        _local(paths, name).unlink(missing_ok=True)
        index.pop(name, None)
    index.update({name: entry for name, entry in listed.items() if got.get(name, True)})
    _keep_lease(store, paths, None if writer else lease)
    _write_index(paths, index)
    return ""


def _wanted(name: str) -> bool:
    return not name.startswith("trials/") or name.rpartition("/")[2] in TEXTS


def _local(paths: SweepPaths, name: str) -> Path:
    return paths.root / (local_name(name) if name.startswith("trials/") else name)


def _bring_state(store: Store, paths: SweepPaths, entry: Entry, index: dict[str, Entry], writer: bool) -> str:
    """Log and study; why they were not brought."""
    if index.get(STATE) == entry and paths.log.is_file() and not (paths.root / UNSYNCED).exists():
        return ""
    archive = store.get(STATE)
    if archive is None:
        return ""
    try:
        there = log_of(archive)
    except ValueError as error:
        raise SweepError(f"{store.address.below(STATE)}: {error}; put it back from a copy or a version") from error
    here = paths.log.read_bytes() if paths.log.is_file() else b""
    here = here[: here.rfind(b"\n") + 1]
    if len(here) > len(there) and here.startswith(there):
        return (
            f"{paths.name}: {paths.root} is ahead of {store.address.url} and shown instead; "
            f"upload it: {paths.command('sync')}"
        )
    if not there.startswith(here):
        apart = (
            f"{paths.name}: {paths.root} and {store.address.url} have gone on differently since event "
            f"{_common_lines(here, there) + 1}"
        )
        if writer:
            raise RequestError(
                apart,
                hint=f"another machine went on with the sweep. To go on from the storage, put the folder aside: "
                f"mv {paths.root} {paths.root}.aside. To go on from the folder, remove the sweep from the storage",
            )
        return f"{apart}; what is shown is the folder's"
    unpack(archive, paths)
    index[STATE] = entry
    (paths.root / UNSYNCED).unlink(missing_ok=True)
    return ""


def _common_lines(one: bytes, other: bytes) -> int:
    pairs = zip(one.splitlines(), other.splitlines(), strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(one.count(b"\n"), other.count(b"\n")))


def _keep_lease(store: Store, paths: SweepPaths, entry: Entry | None) -> None:
    """Keeps who writes the sweep, with until when that holds by this machine's clock."""
    from sweep_runner.results.remote.lease import STALE_S, Holder

    holder = Holder.of(store.get(LEASE_FILE)) if entry is not None else None
    if entry is None or holder is None:
        (paths.root / LEASE_FILE).unlink(missing_ok=True)
        return
    # Sizes of clocks' differences are seconds, and of this limit minutes.
    until = entry.mtime_ns / 1e9 + STALE_S
    write_atomically(paths.root / LEASE_FILE, json.dumps({**holder.__dict__, "until": until}).encode())


def note_synced(store: Store, paths: SweepPaths) -> None:
    """Notes that the working copy, which was just uploaded, is what is on the storage: nothing need be brought back.

    Raises:
        StoreError: the storage does not answer.
    """
    listed = {name: entry for name, entry in store.entries().items() if _wanted(name) and name != LEASE_FILE}
    same = {name: entry for name, entry in listed.items() if name == STATE or _size(_local(paths, name)) == entry.size}
    _write_index(paths, same)
    (paths.root / UNSYNCED).unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _read_index(paths: SweepPaths) -> dict[str, Entry]:
    try:
        said = json.loads((paths.root / _INDEX).read_bytes())
        return {name: Entry(*values) for name, values in said.items()}
    except (FileNotFoundError, ValueError, TypeError):
        return {}  # everything is brought again


def _write_index(paths: SweepPaths, index: dict[str, Entry]) -> None:
    content = {name: (entry.size, entry.mtime_ns) for name, entry in index.items()}
    write_atomically(paths.root / _INDEX, json.dumps(content).encode())
