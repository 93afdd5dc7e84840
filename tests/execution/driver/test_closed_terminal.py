"""A terminal that is closed hangs up on every process that it started, Ray's servers among them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps import log_of, sweep_command


@pytest.mark.ray
def test_the_sweep_stops_in_order(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    file = write_spec(fixed={"epochs": 2, "epoch_s": 120.0})
    process = subprocess.Popen(
        sweep_command("run", file),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "results" / "small" / "log.jsonl"
    while not (log.exists() and '"start"' in log.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGHUP)
    # A driver whose servers are gone waits a minute for them, and then ends without a word.
    _, stderr = process.communicate(timeout=45)
    assert process.returncode == 130, stderr
    assert "sweep resume small" in stderr
    assert log_of(tmp_path / "results" / "small")[-1]["state"] == "INTERRUPTED"
