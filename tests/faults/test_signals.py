"""Ctrl-C, `kill`, a closed terminal, and Ctrl-C twice, at each stage of a sweep."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Driver
from tests.support.sweeps import log_of, sweep

pytestmark = pytest.mark.ray

WriteSpec = Callable[..., Path]


def check_stopped(driver: Driver, timeout_s: float) -> str:
    code, _, err = driver.end(timeout_s)
    assert code == 130, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("number", "after_s"), [(signal.SIGINT, 0.2), (signal.SIGTERM, 1.5), (signal.SIGINT, 3.0)], ids=str
)
def test_while_ray_starts(write_spec: WriteSpec, tmp_path: Path, number: signal.Signals, after_s: float) -> None:
    """Whatever Ray is doing: importing, starting its servers, connecting."""
    root = tmp_path / "results" / "small"
    driver = Driver("run", write_spec(fixed={"epochs": 2, "epoch_s": 60.0}), cwd=tmp_path)
    driver.wait_for(lambda: (root / "sweep.yaml").exists())
    time.sleep(after_s)
    driver.process.send_signal(number)
    said = check_stopped(driver, 30)
    assert f"stopped by {number.name}; nothing recorded is lost" in said
    assert "sweep resume small" in said
    assert log_of(root)[-1]["state"] == "INTERRUPTED"
    assert not list(Path(os.environ["TMPDIR"]).glob("sweep-ray-*"))


def test_twice_while_training(write_spec: WriteSpec, tmp_path: Path) -> None:
    root = tmp_path / "results" / "small"
    driver = Driver("run", write_spec(fixed={"epochs": 2, "epoch_s": 60.0}), cwd=tmp_path)
    driver.wait_for(lambda: (root / "log.jsonl").exists() and '"start"' in (root / "log.jsonl").read_text())
    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    driver.process.send_signal(signal.SIGINT)
    check_stopped(driver, 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_while_exporting(write_own: Callable[..., Path], tmp_path: Path, number: signal.Signals) -> None:
    root = tmp_path / "results" / "small"
    driver = Driver("run", write_own("Slow", ["a"]), cwd=tmp_path)
    driver.wait_for(lambda: any(root.glob(".final-*/package")))
    driver.process.send_signal(number)
    assert "sweep resume small" in check_stopped(driver, 30)
    assert not list(root.glob(".final-*"))
    if number == signal.SIGINT:
        assert sweep("resume", "small", cwd=tmp_path).returncode == 0
        assert (root / "best" / "model.onnx").exists()


@pytest.mark.parametrize("after_s", [0.0, 2.5])
def test_while_the_data_is_prepared(tmp_path: Path, write_own: Callable[..., Path], after_s: float) -> None:
    """Before anything has begun: at once, and the folder that was made for it goes, too. Later Ray is starting, too."""
    file = write_own("Preparing", ["a"])
    with (tmp_path / "mine.py").open("a") as module:
        module.write(
            "\n\nclass Preparing(Base):\n"
            "    def prepare(self, candidates, progress=None):\n"
            "        (self.folder / 'begun').touch()\n"
            "        time.sleep(600)\n"
        )
    driver = Driver("run", file, cwd=tmp_path)
    driver.wait_for(lambda: (tmp_path / "results" / "small" / "data" / "begun").exists())
    time.sleep(after_s)
    driver.process.send_signal(signal.SIGINT)
    assert "no trial had started" in check_stopped(driver, 10)
    assert not (tmp_path / "results" / "small").exists()
