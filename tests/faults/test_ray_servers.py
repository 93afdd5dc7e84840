"""Ray's raylet or its control store is killed in the middle of a sweep, as the system does when memory is short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.faults import Driver
from tests.support.sweeps import recorded, sweep

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("server", ["raylet", pytest.param("gcs_server", marks=pytest.mark.long)])
def test_a_sweep_ends_and_can_be_resumed(write_spec: Callable[..., Path], tmp_path: Path, server: str) -> None:
    file = write_spec(fixed={"epochs": 15, "epoch_s": 0.2}, search={"sampler": "random", "trials": 2, "seed": 3})
    root = tmp_path / "results" / "small"
    driver = Driver("run", file, cwd=tmp_path)
    driver.wait_for(lambda: (root / "log.jsonl").exists() and '"epoch"' in (root / "log.jsonl").read_text())
    for process in psutil.Process(driver.process.pid).children(recursive=True):
        if Path(process.cmdline()[0]).name == server:
            process.kill()
    code, _, said = driver.end()
    assert code == 1, said
    assert f"Ray's {server} has ended (SIGKILL" in said
    assert "Traceback" not in said
    again = sweep("resume", "small", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    rows, ends = recorded(root)
    assert set(rows) == {(trial, epoch) for trial in range(2) for epoch in range(1, 16)}
    assert {end["state"] for end in ends.values()} == {"COMPLETED"}


def test_a_dashboard_that_does_not_start_in_time_costs_only_itself(
    write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "0")
    file = write_spec(search={"sampler": "random", "trials": 2, "seed": 3}, dashboard=True)
    driver = Driver("run", file, cwd=tmp_path)
    root = tmp_path / "results" / "small"
    driver.wait_for(lambda: (root / "log.jsonl").exists() and '"epoch"' in (root / "log.jsonl").read_text())
    begun = psutil.Process(driver.process.pid).children(recursive=True)
    code, _, said = driver.end()
    assert code == 0, said
    assert "Ray's dashboard did not start in time: the sweep runs without it" in said
    assert "Traceback" not in said
    assert "dashboard.log" not in said  # Ray's own account of it
    psutil.wait_procs(begun, timeout=20)
    assert not [process for process in begun if process.is_running()]
