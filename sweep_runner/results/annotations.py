"""What people have noted of trials: a star, a text. A file per trial in the sweep's folder, whoever runs the sweep.

They are no results: nothing is computed from them, and they may be written while the sweep runs. Each is written whole
or not at all; of two people who annotate one trial at the same moment, both are heard (star and note of one file are
changed under a lock on the folder).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.tables import Warn

STAR = "★"
TABLE = "annotations"
SCHEMA = pa.schema(
    {
        "sweep": pa.string(),
        "trial": pa.int64(),
        "starred": pa.bool_(),
        "note": pa.string(),
        "changed": pa.timestamp("us", tz="UTC"),
    }
)
MAX_LETTERS = 2000


@dataclass(frozen=True)
class Annotation:
    """Of one trial.

    Attributes:
        starred: whether it has a star.
        note: the text, empty without one.
        changed: when it was last written (UTC).
    """

    starred: bool = False
    note: str = ""
    changed: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.starred and not self.note


def annotate(
    results: ResultsPaths, name: str, trial: int, *, starred: bool | None = None, note: str | None = None
) -> Annotation:
    """Changes what is noted of a trial.

    Args:
        results: where its sweep is; remote ones get the file, too.
        name: of the sweep.
        trial: its number; whoever calls has looked that there is one.
        starred: whether it has a star; None: as before.
        note: the text, empty to remove it; None: as before.

    Returns:
        What is noted now.

    Raises:
        RequestError: the note is too long, or cannot be shown as text.
        OSError: it could not be written.
        StoreError: it is written here, and the storage does not take it.
    """
    from sweep_runner.results.remote.files import upload_file

    paths = results.sweep(name)
    if note is not None:
        note = _checked(note)
    paths.annotations.mkdir(exist_ok=True)
    with _locked(paths.annotations):
        file = annotation_file(paths, trial)
        old = _read(file) if file.exists() else Annotation()
        old, now = old or Annotation(), datetime.now(UTC)
        new = Annotation(old.starred if starred is None else starred, old.note if note is None else note, now)
        content = {"starred": new.starred, "note": new.note, "changed": now.isoformat(timespec="microseconds")}
        write_atomically(file, json.dumps(content, ensure_ascii=False).encode())
    upload_file(results, name, file)
    return new


def annotation_file(paths: SweepPaths, trial: int) -> Path:
    """Where what is noted of a trial is."""
    return paths.annotations / f"{trial}.json"


def read_annotations(paths: SweepPaths, warn: Warn) -> Mapping[int, Annotation]:
    """What is noted of a sweep's trials, by their number; trials of which nothing is noted are not in it.

    Args:
        paths: of the sweep.
        warn: told of what cannot be read.
    """
    found = {}
    for file in sorted(paths.annotations.glob("*.json")):
        if not file.stem.isdecimal():
            continue
        read = _read(file)
        if read is None:
            warn(f"{file} cannot be read: the note and the star of trial {file.stem} are left out")
        elif not read.is_empty:
            found[int(file.stem)] = read
    return found


def annotations_table(results: ResultsPaths, warn: Warn) -> pa.Table:
    """What is noted of all trials of all sweeps, a row per trial."""
    rows: list[dict[str, Any]] = [
        {"sweep": paths.name, "trial": trial, "starred": one.starred, "note": one.note, "changed": one.changed}
        for paths in results.sweeps()
        for trial, one in read_annotations(paths, warn).items()
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def _read(file: Path) -> Annotation | None:
    """None: it is damaged."""
    try:
        content = json.loads(file.read_bytes())
        changed = datetime.fromisoformat(content["changed"])
        starred, note = content["starred"], content["note"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Annotation(starred, note, changed) if isinstance(starred, bool) and isinstance(note, str) else None


def _checked(note: str) -> str:
    note = " ".join(note.split())
    if len(note) > MAX_LETTERS:
        raise RequestError(
            f"the note has {len(note)} letters, and the most are {MAX_LETTERS}",
            hint="Keep the text elsewhere and note where it is.",
        )
    if not note.isprintable():
        raise RequestError("the note has control characters", hint="Write plain text.")
    return note


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits for others who write there; they need milliseconds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
