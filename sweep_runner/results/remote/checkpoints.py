"""Checkpoints on the storage: put by the worker before it reports, brought by whoever goes on with the trial.

A checkpoint's manifest is put last, and everything is checked against it where a checkpoint is brought: one that is
half there is none. An attempt's objects are below `trials/<number>/attempt-<a>-<run>-<config>/`. When a driver is
lost with its machine, the last seconds of its log may be lost, too, and the run that goes on elsewhere may give the
same number and attempt to another configuration: run and config (a digest) keep the two apart, and the workers of a
lost driver away from those of the next.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.remote.address import Address
from sweep_runner.results.remote.store import Store, StoreError
from trainables.checkpoints import MANIFEST, checkpoint_of_epoch, latest_checkpoint, read_checkpoint

UPLOAD_PATIENCE_S = 30.0
"""How long a worker tries to upload a checkpoint before its trial goes on without."""
TEXTS = ("log.txt", "error.txt")
_NOTE = ".remote"
"""In an attempt's folder on this node: what it is called on the storage."""
_BROUGHT = "attempt-0"
"""Where checkpoints that are brought here lie: attempts are counted from 1, so no worker writes there."""
_SCRATCH_DAYS = 3


@dataclass(frozen=True)
class Place:
    """Where a sweep's objects are, as it travels to workers. Credentials do not: each node has its own.

    Attributes:
        address: of the sweep.
        run: names this run of the driver, and stands in `mark` of the working copy that it writes in.
        mark: a file that is there on nodes that see that working copy.
    """

    address: Address
    run: str
    mark: str

    def to_json(self) -> dict[str, Any]:
        return {"address": dict(self.address.__dict__), "run": self.run, "mark": self.mark}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Place:
        return cls(Address(**said["address"]), said["run"], said["mark"])

    @property
    def is_here(self) -> bool:
        """Whether this node sees the driver's working copy."""
        try:
            return Path(self.mark).read_text(encoding="ascii") == self.run
        except OSError:
            return False


class TrialFiles:
    """A worker's side: where an attempt of a trial writes, and what it uploads.

    Attributes:
        trial: the trial's folder on this node.
        data: the prepared data on this node.
    """

    def __init__(self, place: Place, trial: Path, data: Path, attempt: int, config: Mapping[str, Any]) -> None:
        """Finds or makes the folders, and brings what they lack: data, and a longer checkpoint of an earlier attempt.

        Args:
            place: of the sweep.
            trial: the trial's folder in the driver's working copy.
            data: the prepared data there.
            attempt: the attempt's number.
            config: what the trial trains with.

        Raises:
            StoreError: the storage does not answer, and this node lacks the data.
        """
        self._store = Store(place.address)
        self._name = f"trials/{trial.name}/attempt-{attempt}-{place.run}-{digest(config)}"
        self._uploaded: set[str] = set()
        self._patience_s = UPLOAD_PATIENCE_S
        self._scratch = not place.is_here
        self.trial, self.data = trial, data
        if self._scratch:
            root = _scratch(place.run)
            self.trial, self.data = root / "trials" / trial.name, root / "data"
            _bring_data(self._store, self.data)
        self._attempt = self.trial / f"attempt-{attempt}"
        self._attempt.mkdir(parents=True, exist_ok=True)
        (self._attempt / _NOTE).write_text(self._name, encoding="utf-8")
        try:
            bring_latest(self._store, self.trial, digest(config))
        except StoreError as error:
            _say(f"no checkpoint could be downloaded: {error}")

    def push(self) -> None:
        """Makes the attempt's checkpoints on the storage those that are here. Call it before a report.

        Tries for half a minute. When that does not help, the trial goes on: its checkpoint is on this node, what is
        lost with the node is one epoch's work, and the next push uploads what is missing.
        """
        deadline = time.monotonic() + self._patience_s
        wait_s = 0.5
        while True:
            try:
                self._push()
            except (StoreError, OSError) as error:
                # A bucket that is gone, or closed to us, is not back in half a minute.
                lasting = isinstance(error, StoreError) and error.kind in ("bucket", "refused")
                if not lasting and time.monotonic() + wait_s < deadline:
                    time.sleep(wait_s)
                    wait_s *= 2
                    continue
                self._uploaded.clear()  # what comes back may be another storage, or one that was emptied
                self._patience_s = 0.0  # it is known to be gone: not half a minute at every epoch
                _say(f"this checkpoint is on this node only; the trial continues: {error}")
                return
            self._patience_s = UPLOAD_PATIENCE_S
            return

    def _push(self) -> None:
        if not self._attempt.is_dir():
            return  # somebody cleaned up on this node: no reason to do so on the storage
        base = f"{self._name}/checkpoints"
        here = {path.name: path for path in (self._attempt / "checkpoints").glob("epoch-*")}
        for name in sorted(here.keys() - self._uploaded):
            put_checkpoint(self._store, f"{base}/{name}", here[name])
            self._uploaded.add(name)
        for name in sorted(self._uploaded - here.keys()):
            self._store.delete_folder(f"{base}/{name}")
            self._uploaded.discard(name)

    def finish(self) -> None:
        """Uploads what the attempt has said, and leaves this node as it was. Never raises."""
        try:
            for name in TEXTS:
                if (self._attempt / name).is_file():
                    self._store.put_file(f"{self._name}/{name}", self._attempt / name)
            self._push()
        except (StoreError, OSError) as error:
            _say(f"not uploaded: {error}")
            return
        if self._scratch:
            shutil.rmtree(self.trial, ignore_errors=True)


def put_checkpoint(store: Store, name: str, folder: Path) -> None:
    """Puts one checkpoint, its manifest last.

    Raises:
        StoreError: it could not be put.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.name == MANIFEST):
        store.put_file(f"{name}/{path.relative_to(folder).as_posix()}", path)


def digest(config: Mapping[str, Any]) -> str:
    """What tells a configuration from others."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:8]


def local_name(name: str) -> str:
    """Where an object `trials/N/attempt-A-RUN-CONFIG/log.txt` is in a working copy."""
    trials, number, attempt, *rest = name.split("/")
    return "/".join([trials, number, "-".join(attempt.split("-")[:2]), *rest])


def upload_checkpoints(store: Store, paths: SweepPaths) -> None:
    """Puts the checkpoints and texts of all attempts that are in the working copy and not on the storage.

    Raises:
        StoreError: one could not be put.
    """
    there = store.entries("trials")
    for note in sorted(paths.trials.glob(f"*/attempt-*/{_NOTE}")):
        attempt, base = note.parent, note.read_text(encoding="utf-8")
        for name in TEXTS:
            text = attempt / name
            entry = there.get(f"{base}/{name}")
            if text.is_file() and (entry is None or entry.size != text.stat().st_size):
                store.put_file(f"{base}/{name}", text)
        for folder in sorted(attempt.glob("checkpoints/epoch-*")):
            name = f"{base}/checkpoints/{folder.name}"
            if f"{name}/{MANIFEST}" not in there and read_checkpoint(folder) is not None:
                try:
                    put_checkpoint(store, name, folder)
                except FileNotFoundError:
                    # It was dropped at this moment: then it is not wanted there either.
                    store.delete_folder(name)


def bring_latest(store: Store, trial: Path, config: str) -> None:
    """Brings the checkpoint of a trial with the highest epoch, of any attempt, unless one as good is here.

    Args:
        store: the sweep's objects.
        trial: the trial's folder on this node.
        config: the digest of its configuration.

    Raises:
        StoreError: the storage does not answer.
        OSError: it cannot be written here.
    """
    here = latest_checkpoint(trial)
    for epoch, name, files in _whole(store, trial.name, config):
        if (here is not None and epoch <= here.epoch) or _bring(store, trial, name, files):
            return


def bring_checkpoints(store: Store, paths: SweepPaths, wanted: Iterable[tuple[int, int, str]]) -> None:
    """Brings checkpoints that the working copy lacks.

    Args:
        store: the sweep's objects.
        paths: the sweep's working copy.
        wanted: number of the trial, epoch, digest of the trial's configuration.

    Raises:
        StoreError: the storage does not answer.
    """
    for number, wanted_epoch, config in wanted:
        trial = paths.trial(number)
        if checkpoint_of_epoch(trial, wanted_epoch) is None:
            for epoch, name, files in _whole(store, str(number), config):
                if epoch == wanted_epoch and _bring(store, trial, name, files):
                    break


def _whole(store: Store, number: str, config: str) -> list[tuple[int, str, list[str]]]:
    """The checkpoints of a trial's configuration that have a manifest: epoch, name, files; the highest epoch first."""
    names = [name for name in store.entries(f"trials/{number}") if name.split("/")[2].endswith(f"-{config}")]
    folders = [name.removesuffix(f"/{MANIFEST}") for name in names if name.endswith(f"/{MANIFEST}")]
    found = [
        (int(folder.rpartition("-")[2]), folder, [name for name in names if name.startswith(f"{folder}/")])
        for folder in folders
    ]
    return sorted(found, reverse=True)


def _bring(store: Store, trial: Path, name: str, files: list[str]) -> bool:
    """Brings one checkpoint; whether it is whole."""
    target = trial / _BROUGHT / "checkpoints" / name.rpartition("/")[2]
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    for file in files:
        store.get_file(file, partial / file.removeprefix(f"{name}/"))
    if read_checkpoint(partial) is None:
        shutil.rmtree(partial, ignore_errors=True)
        return False
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    return True


def _scratch(run: str) -> Path:
    """This node's folder for a run; those that other runs left days ago are removed."""
    base = platformdirs.user_cache_path("sweep-runner") / "scratch"
    root = base / run
    root.mkdir(parents=True, exist_ok=True)
    for other in base.iterdir():
        if other != root and time.time() - other.stat().st_mtime > _SCRATCH_DAYS * 86_400:
            shutil.rmtree(other, ignore_errors=True)
    return root


def _bring_data(store: Store, folder: Path) -> None:
    """Brings the prepared data once a node and run."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".data-{time.time_ns()}")
    partial.mkdir()
    for name in store.entries("data"):
        store.get_file(name, partial / name.removeprefix("data/"))
    try:
        partial.rename(folder)
    except OSError:  # another worker of this node was quicker
        shutil.rmtree(partial, ignore_errors=True)


def _say(text: str) -> None:
    """Into the trial's log, where a worker's output goes."""
    print(f"warning: {text}", file=sys.stderr)
