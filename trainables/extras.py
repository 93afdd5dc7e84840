"""How to install an optional package, for messages that ask for one."""

from __future__ import annotations

import shlex
from pathlib import Path

_CLONE = Path(__file__).resolve().parent.parent


def install_command(extra: str) -> str:
    """The command that installs an extra of `pyproject.toml`, as a user here can copy and run it.

    Args:
        extra: its name, such as `serve`.
    """
    if (_CLONE / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{_CLONE}[{extra}]')}"
    return f"pip install -e '.[{extra}]' in the folder of the project"
