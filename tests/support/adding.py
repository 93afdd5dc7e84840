"""The packages with something added: files, and lines of tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]


class Copy:
    """A copy of both packages.

    Args:
        folder: where it is made; commands run there.
        files: texts by their path.
        lines: an entry by the file and the name of the table that it is put into.
    """

    def __init__(self, folder: Path, files: Mapping[str, str], lines: Mapping[tuple[str, str], str]) -> None:
        self.folder = folder
        for package in ("sweep_runner", "trainables"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in files.items():
            (folder / name).write_text(dedent(text).lstrip("\n"))
        for (name, table), line in lines.items():
            before, start, after = (folder / name).read_text().partition(f"\n{table}")
            head, brace, entries = after.partition("{\n")
            assert brace, f"{table} in {name} has an entry per line"
            (folder / name).write_text(f"{before}{start}{head}{brace}    {line},\n{entries}")

    def run(self, *arguments: str) -> str:
        """What Python prints with these arguments; it must end well."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
