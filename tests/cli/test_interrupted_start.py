"""Ctrl-C before the command has begun."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED_AT = """
import builtins, sys
real = builtins.__import__
def interrupted(name, *arguments, **keywords):
    if name == {module!r}:
        raise KeyboardInterrupt
    return real(name, *arguments, **keywords)
builtins.__import__ = interrupted
from sweep_runner.__main__ import run
sys.argv = ["sweep", "check", "nothing.yaml"]
sys.exit(run())
"""


@pytest.mark.parametrize("module", ["click", "difflib", "sweep_runner.cli.common", "pydantic", "yaml"])
def test_while_modules_are_imported(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT.format(module=module)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr.strip() in ("", "interrupted")
