"""The user's home folder, and what stands in for it where there is none.

`docker run --user 12345` starts a process that has no entry among the users, and whose HOME is missing, `/`, or a
folder that is not there. Libraries keep caches and settings below it, and end in tracebacks or write into the working
directory. So such a process gets a home of its own, once, at its start; what it starts inherits it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import MutableMapping
from pathlib import Path

_PLACES = (Path("/var/tmp"), Path("/tmp"))
_BELOW = {"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}


def provide_home(environment: MutableMapping[str, str], places: tuple[Path, ...] = _PLACES) -> str:
    """Makes sure that there is a home folder, and folders for caches and settings that can be written.

    Args:
        environment: `os.environ`, before anything asks for the home folder.
        places: where a home may be made.

    Returns:
        What stands in for what, in words for the user; empty when all is there.

    Raises:
        OSError: no folder can be made anywhere.
    """
    home = _home()
    if home is None:
        own = _own_folder(places)
        why = f"HOME is {environment['HOME']}, which is not there" if environment.get("HOME") else "HOME is not set"
        environment["HOME"] = str(own)
        return f"this user has no home folder ({why}): {own} stands in for it"
    missing = [name for name, below in _BELOW.items() if name not in environment and not _can_be_written(home, below)]
    if not missing:
        return ""
    own = _own_folder(places)
    environment.update({name: str(own / _BELOW[name]) for name in missing})
    return f"nothing can be written into the home folder {home}: {own} stands in for it"


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_dir() else None


def _can_be_written(home: Path, below: str) -> bool:
    folder = home / below
    return os.access(folder if folder.exists() else home, os.W_OK)


def _own_folder(places: tuple[Path, ...]) -> Path:
    """A folder that is this user's alone: it will hold settings, and others can write beside it."""
    refused: OSError | None = None
    for place in places:
        folder = place / f"sweep-runner-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            there = folder.lstat()
        except OSError as error:
            refused = error
            continue
        if stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o077:
            return folder
        rule = "is open to others, or somebody else's; set HOME to a folder of yours"
        refused = PermissionError(errno.EPERM, rule, str(folder))
    assert refused is not None
    raise refused
