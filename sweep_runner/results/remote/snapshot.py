"""What a sweep goes on from, as one object: log, study, sweep file and environment of one moment.

Log and study must fit each other (a trial is in the study before it is in the log, and has ended in the log before it
has in the study), and two objects cannot be put in one step. One can: so both travel in one archive.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sweep_runner.durable import write_atomically
from sweep_runner.results.paths import SweepPaths

STATE = "state.zip"
_LEVEL = 1  # JSON lines shrink to a tenth as it is, and the driver has other things to do


@dataclass(frozen=True)
class Moment:
    """How far the two files that only grow had come.

    Attributes:
        log_bytes: of the log.
        study_bytes: of the study.
    """

    log_bytes: int
    study_bytes: int


def moment(paths: SweepPaths) -> Moment:
    """A moment in which log and study fit each other; the sweep may be writing meanwhile.

    Between two looks at a log that has not grown nothing was recorded, so whatever the study held in between fits.
    """
    while True:
        log = _size(paths.log)
        study = _size(paths.study)
        if _size(paths.log) == log:
            return Moment(log, study)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def pack(paths: SweepPaths, at: Moment) -> bytes:
    """The archive of a moment; unfinished last lines are left out.

    Raises:
        OSError: a file cannot be read.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for path, size in ((paths.log, at.log_bytes), (paths.study, at.study_bytes)):
            if size:
                content = _first(path, size)
                archive.writestr(path.name, content[: content.rfind(b"\n") + 1])
        for path in (paths.spec, paths.environment):
            if path.is_file():
                archive.writestr(path.name, path.read_bytes())
    return buffer.getvalue()


def _first(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def log_of(archive: bytes) -> bytes:
    """The log in an archive.

    Raises:
        ValueError: it is damaged.
    """
    return _members(archive).get("log.jsonl", b"")


def unpack(archive: bytes, paths: SweepPaths) -> None:
    """Writes what an archive holds into a working copy. Call it where nobody writes the sweep.

    Raises:
        ValueError: it is damaged; nothing was written.
        OSError: a file cannot be written.
    """
    members = _members(archive)  # whole before the first is written
    for path in (paths.study, paths.log, paths.environment, paths.spec):
        if path.name in members:
            write_atomically(path, members[path.name])


def _members(archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{STATE} is damaged ({error})") from error
