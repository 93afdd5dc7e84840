"""A small disk fills up while a sweep checkpoints, records, exports: told clearly, all readable, resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.paths import SweepPaths
from sweep_runner.search.study import Study
from sweep_runner.spec.loader import load_resolved
from tests.faults.conftest import SmallDisk
from tests.support.faults import Driver
from tests.support.sweeps import log_of, sweep
from trainables.image.pixels.pixel_cache import PixelCache

pytestmark = pytest.mark.ray

ALWAYS = {"max_concurrent": 2, "max_failures": 1, "min_free_disk": 0}


def check_readable(root: Path) -> None:
    """Every command that only reads works on the full disk."""
    for command in (["ls"], ["top", root.name], ["query", "select count(*) as rows from epochs"]):
        assert main([*command, "--results", str(root.parent)]) == 0
    spec = load_resolved(root / "sweep.yaml").spec
    Study.check(SweepPaths(root).study, spec)


def test_while_checkpointing(small_disk: SmallDisk, write_own: Callable[..., Path], tmp_path: Path) -> None:
    """Two trials that keep up to three checkpoints of 400 kB each, on 2 MB; then on more, of which little is free."""
    small_disk.resize("1500k")
    file = write_own("Large", ["a", "b"], fixed={"epochs": 6}, resources=ALWAYS)
    root = small_disk.folder / "small"
    done = sweep("run", file, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    words = " ".join(done.stderr.split())
    assert "the disk is full: trial" in words
    assert "No space left on device" in words
    assert "sweep resume small" in words
    assert "Traceback" not in words
    check_readable(root)
    events = log_of(root)
    before = [event for event in events if event["kind"] == "epoch"]
    assert "failure" not in [event["kind"] for event in events], "it is no fault of the trials"
    assert {event["state"] for event in events if event["kind"] == "end"} <= {"COMPLETED"}

    small_disk.resize("16m")
    filler = small_disk.fill(leave_bytes=2_000_000)
    driver = Driver("resume", "small", "--set", "resources.min_free_disk=3MB", cwd=tmp_path)
    driver.wait_for(lambda: "paused: " in driver.said)
    assert "no trial starts until more is free" in driver.said
    assert "resources.min_free_disk=SIZE" in driver.said, "and what can be done"
    assert "start" not in [event["kind"] for event in log_of(root)[len(events) :]]
    filler.unlink()
    code, _, err = driver.end(timeout_s=240)
    assert code == 0, err
    rows = [event for event in log_of(root) if event["kind"] == "epoch"]
    assert rows[: len(before)] == before
    assert sorted((row["trial"], row["epoch"]) for row in rows) == [
        (trial, epoch) for trial in (0, 1) for epoch in range(1, 7)
    ]


def test_while_recording(small_disk: SmallDisk, write_spec: Callable[..., Path], tmp_path: Path) -> None:
    """Log, journal and tables share the disk with somebody who takes what is left of it."""
    file = write_spec(
        fixed={"epochs": 20, "epoch_s": 0.05}, search={"sampler": "random", "trials": 4, "seed": 3}, resources=ALWAYS
    )
    root = small_disk.folder / "small"
    driver = Driver("run", file, cwd=tmp_path)
    driver.wait_for(lambda: (root / "log.jsonl").exists() and b'"epoch"' in (root / "log.jsonl").read_bytes())
    filler = small_disk.fill(leave_bytes=8_192)
    code, _, err = driver.end()
    words = " ".join(err.split())
    assert code == 1, err
    assert "No space left on device" in words
    assert "resume" in words
    assert "Traceback" not in err
    check_readable(root)

    filler.unlink()
    done = sweep("resume", "small", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [(event["trial"], event["epoch"]) for event in log_of(root) if event["kind"] == "epoch"]
    assert sorted(rows) == [(trial, epoch) for trial in range(4) for epoch in range(1, 21)]
    assert len(pq.read_table(root / "tables" / "epochs")) == len(rows)


def test_while_exporting(small_disk: SmallDisk, write_own: Callable[..., Path], tmp_path: Path) -> None:
    file = write_own("Slow", ["a"], resources=ALWAYS)
    root = small_disk.folder / "small"
    driver = Driver("run", file, cwd=tmp_path)
    driver.wait_for(lambda: any(root.glob(".final-*/package")))
    filler = small_disk.fill(leave_bytes=0)
    code, _, err = driver.end()
    assert code == 1, err
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert not (root / "best").exists(), "nothing half-written is published"
    check_readable(root)

    filler.unlink()
    done = sweep("resume", "small", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (root / "best").iterdir()} == {"model.onnx", "model.json"}
    assert sorted(event["split"] for event in log_of(root) if event["kind"] == "final") == ["test", "val"]


def test_while_caching_pixels(small_disk: SmallDisk) -> None:
    """There is no room: nothing is left half-built, and pixels are decoded each time instead."""
    cache = PixelCache(small_disk.folder, limit_bytes=1 << 40, keep_free_bytes=0)
    assert cache.reserve((100, 224, 224, 3)) is None
    assert not list(cache.folder.glob("*.partial"))
    small_disk.resize("64m")
    partial = cache.reserve((100, 224, 224, 3))
    assert partial is not None
    partial.discard()
