"""Every command that writes is killed at its fsyncs and renames, and goes on: nothing lost, nothing twice.

The places are found by looking on, so that a new one is killed at, too. They are chosen by number, not by the clock.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("kills", "steps"), [(8, ["change"]), pytest.param(200, [], marks=pytest.mark.long, id="all of them")]
)
def test_killed_at_each_place(kills: int, steps: list[str]) -> None:
    command = [sys.executable, "-m", "tests.support.fault_points", "--kills", str(kills)]
    command += ["--steps", *steps] if steps else []
    ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{kills} kills: nothing lost, nothing twice" in ran.stdout
