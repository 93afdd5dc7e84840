"""What a sweep's Ray could leave behind: its processes, and temporary folders of sweeps that were killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

SHORT_PLACES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
"""For what cannot have a long path, where that of TMPDIR is too long."""

_PREFIX = "sweep-ray-"
_RANDOM = 8  # letters that `mkdtemp` adds
_MOST_SOCKET_BYTES = 107
_OWNER = "owner.json"
_OWNERLESS_S = 60.0
_POLL_S = 0.02


@contextlib.contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """A folder for this process's Ray, gone at the end; those of processes that were killed go first.

    Args:
        place: where to make it; None: where temporary files go (TMPDIR).
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        _write_owner(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place_for_sockets(below: str) -> Path | None:
    """Where a `temporary_folder` has room for sockets: their paths are limited to 107 bytes (unix(7)).

    Args:
        below: the longest path of a socket below the folder.

    Returns:
        Where temporary files go, or one of `SHORT_PLACES`; None when no place will do.
    """
    for place in (Path(tempfile.gettempdir()), *SHORT_PLACES):
        longest = place / f"{_PREFIX}{'x' * _RANDOM}" / below
        if len(os.fsencode(longest)) <= _MOST_SOCKET_BYTES and os.access(place, os.W_OK):
            return place
    return None


def remove_leftovers(own: bool = False) -> None:
    """Removes the temporary folders of sweeps that were killed before they could.

    Args:
        own: those of this process instead, which is about to end.
    """
    places = dict.fromkeys((Path(tempfile.gettempdir()), *SHORT_PLACES))
    for folder in (folder for place in places for folder in place.glob(f"{_PREFIX}*")):
        if owner_is_alive(folder) is own and (not own or _owner(folder)["pid"] == os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)


def owner_is_alive(folder: Path) -> bool | None:
    """Whether the process that made a temporary folder lives; None when the folder does not say (or not to us)."""
    try:
        owner = _owner(folder)
        return bool(psutil.Process(owner["pid"]).create_time() == owner["created"])
    except psutil.NoSuchProcess:
        return False
    except FileNotFoundError:
        # Being made at this moment; or made again by a process of a killed sweep, after its folder was removed.
        with contextlib.suppress(OSError):
            return False if time.time() - folder.stat().st_mtime > _OWNERLESS_S else None
        return None
    except (OSError, ValueError, KeyError):
        # No readable owner: being made at this moment, or another user's.
        return None


def _owner(folder: Path) -> dict[str, Any]:
    owner: dict[str, Any] = json.loads((folder / _OWNER).read_text())
    return owner


def _write_owner(folder: Path) -> None:
    owner = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (folder / _OWNER).write_text(json.dumps(owner))


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def end(processes: list[psutil.Process]) -> None:
    """Ends those of Ray's processes that have not gone by themselves: some take 5 s, and hold nothing to save."""
    _wait_for(processes, 0.2)
    for process in filter(_is_there, processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_for(processes, 5)


def _wait_for(processes: list[psutil.Process], timeout_s: float) -> None:
    """Not psutil's, which took 1.5 s for processes that were gone after 0.3: it waits for one after the other."""
    deadline = time.monotonic() + timeout_s
    while any(map(_is_there, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
