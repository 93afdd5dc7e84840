"""How a user's own modules are found: in the current directory, after everything that is installed.

A sweep file can name one ("package.module:attribute"). Only then is the directory on `sys.path`, and last: a file there
that happens to be called `ray.py`, `queue.py` or `random.py` takes nobody's place.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def folders_of_own_modules(trainable: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the modules are that a sweep file names as trainable or in its data section; empty when it names none."""
    return (str(Path.cwd()),) if own_modules(trainable, data) else ()


def own_modules(trainable: str, data: Mapping[str, Any]) -> list[str]:
    """The modules that a sweep file names as trainable or in its data section, but for this project's."""
    named = [value for value in (trainable, *data.values()) if isinstance(value, str) and _NAME.fullmatch(value)]
    modules = dict.fromkeys(name.partition(":")[0] for name in named)
    return [module for module in modules if module.partition(".")[0] != "trainables"]


def not_imported(trainable: str, data: Mapping[str, Any]) -> list[str]:
    """Those of `own_modules` that this process has not run: who only looks at results is not to run what they name."""
    return [module for module in own_modules(trainable, data) if module not in sys.modules]


def find_own_modules(folders: Iterable[str] | None = None) -> None:
    """Has modules looked for in these folders, too, after all others.

    Args:
        folders: None: the current directory.
    """
    for folder in (str(Path.cwd()),) if folders is None else folders:
        if folder not in sys.path:
            sys.path.append(folder)
            importlib.invalidate_caches()
