"""Going on with a sweep that has ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_runner.spec.check import load_plan
from tests.support.sweeps import drive, open_keeper, sweep, sweep_here


def test_resuming_a_finished_sweep_starts_nothing(
    write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trial has ended, and nothing is to be evaluated or published."""
    file = write_spec()
    results = tmp_path / "results"
    results.mkdir()
    with open_keeper(load_plan(file).spec, results / "small") as keeper:
        drive(keeper)
    (results / "small" / "sweep.yaml").write_text(file.read_text())
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = results / "small" / f".final-{killed.stdout.strip()}"
    left.mkdir()
    # Ray could not start there.
    done = sweep("resume", "small", cwd=tmp_path, TMPDIR=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert "nothing is left to run: all 6 trials have ended" in done.stderr
    assert "val_accuracy" in done.stdout
    assert not left.exists(), "of a driver that was killed after it had published the model"
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    refused = sweep_here("resume", "small", "--set", "search.seed=9", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("search.seed") == 1
    taken = sweep_here("resume", "small", "--set", "resources.max_concurrent=1", cwd=tmp_path)
    assert taken.returncode == 0
    assert "changed: resources.max_concurrent: 2 → 1" in taken.stderr
