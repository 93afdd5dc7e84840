"""Files of a sweep that were cut, damaged or removed: told, set aside, gone on from what is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.durable import SweepLock
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import drive, open_keeper, outcome, sweep, sweep_here
from trainables.contract import EpochReport
from trainables.local import LocalHandle

WriteSpec = Callable[..., Path]


# Checkpoints


def trained(folder: Path, num_epochs: int) -> LocalHandle:
    """A trial of which so many epochs ran in attempt 1."""
    handle = LocalHandle(folder)
    for epoch in range(1, num_epochs + 1):
        content = f"after epoch {epoch}" * 100
        handle.report(
            EpochReport(epoch, {"val_accuracy": epoch / 10}),
            save=lambda place, content=content: (place / "state").write_text(content),
        )
    return handle


@pytest.mark.parametrize("file", ["state", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "emptied"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, file: str, damage: str) -> None:
    trained(tmp_path, 4)
    path = tmp_path / "attempt-1" / "checkpoints" / "epoch-00004" / file
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "changed":
            path.write_bytes(content.replace(b"epoch", b"epocH", 1))
        case "removed":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
    again = LocalHandle(tmp_path, attempt=2)
    assert again.resumed is not None
    assert again.resumed.epoch == 3
    assert [report.epoch for report in again.resumed.history] == [1, 2, 3]


def test_without_any_whole_checkpoint_it_starts_over(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    for manifest in tmp_path.rglob("manifest.json"):
        manifest.write_text("{")
    assert LocalHandle(tmp_path, attempt=2).resumed is None


def test_a_worker_of_an_earlier_attempt_cannot_disturb_a_later_one(tmp_path: Path) -> None:
    """The driver was killed and resumed; the old worker lives on for some seconds and writes."""
    orphan = trained(tmp_path, 2)
    successor = LocalHandle(tmp_path, attempt=2)
    orphan.report(EpochReport(3, {"val_accuracy": 0.9}), save=lambda folder: (folder / "state").write_text("orphan"))
    successor.report(EpochReport(3, {"val_accuracy": 0.3}), save=lambda folder: (folder / "state").write_text("mine"))
    successor.report(EpochReport(4, {"val_accuracy": 0.4}), save=lambda folder: (folder / "state").write_text("mine"))
    third = LocalHandle(tmp_path, attempt=3)
    assert third.resumed is not None
    assert (third.resumed.folder / "state").read_text() == "mine"
    assert [report.metrics["val_accuracy"] for report in third.resumed.history] == [0.1, 0.2, 0.3, 0.4]


# Log, journal, tables


@pytest.fixture
def spec(write_spec: WriteSpec) -> SweepSpec:
    return check_spec(load_spec(write_spec(pruner={"kind": "successive_halving", "reduction_factor": 2}))).spec


def test_torn_ends_of_log_and_journal_are_cut_off(spec: SweepSpec, tmp_path: Path) -> None:
    with open_keeper(spec, tmp_path / "whole", max_live=1) as keeper:
        drive(keeper)
    torn = tmp_path / "torn"
    for cut in (b"{", b'{"kind":"epoch","trial":0', b'{"op_code": 4, "worker_id": "x"', b"\0" * 512):
        with open_keeper(spec, torn, max_live=1) as keeper:
            assignment = keeper.next()
            assert assignment is not None
        for name in ("log.jsonl", "study.journal"):
            with (torn / name).open("ab") as file:
                file.write(cut)
    with open_keeper(spec, torn, max_live=1) as keeper:
        drive(keeper)
    assert outcome(torn) == outcome(tmp_path / "whole")


def test_damaged_parts_are_named_set_aside_and_written_anew(
    spec: SweepSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "small"
    with open_keeper(spec, root) as keeper:
        drive(keeper)
    tables = {name: pq.read_table(root / "tables" / name).to_pylist() for name in ("epochs", "trials", "sweeps")}
    damaged = {}
    for number, name in enumerate(tables):
        path = root / "tables" / name / "part-00000.parquet"
        content = path.read_bytes()
        damaged[name] = content[:-20] if number % 2 else content[:60] + b"\xff" * 8 + content[68:]
        path.write_bytes(damaged[name])
    top = sweep_here("top", "small", "--results", tmp_path, cwd=tmp_path)
    assert "Traceback" not in top.stderr

    with open_keeper(spec, root) as keeper:
        drive(keeper)
    for name, rows in tables.items():
        folder = root / "tables" / name
        assert (folder / "part-00000.parquet.damaged-1").read_bytes() == damaged[name]
        assert [_timeless(row) for row in pq.read_table(folder / "part-00000.parquet").to_pylist()] == [
            _timeless(row) for row in rows
        ]
        assert f"{folder / 'part-00000.parquet'} is damaged" in caplog.text
    assert "rewritten from the sweep's log" in caplog.text


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("started", "updated", "duration_s")}


def test_damaged_predictions_are_kept_and_said_to_be_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sweep_runner.spec.model import Objective

    paths = SweepPaths(tmp_path / "small")
    part = paths.table("predictions") / "part-00003-test.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"PAR1 this is not a table")
    Recorder(paths, Objective(), [], {}).close()
    assert not part.exists()
    assert part.with_name(f"{part.name}.damaged-1").read_bytes() == b"PAR1 this is not a table"
    assert "not repeated" in caplog.text
    part.write_bytes(b"damaged again")
    Recorder(paths, Objective(), [], {}).close()
    assert part.with_name(f"{part.name}.damaged-2").exists(), "nothing is overwritten"


def test_a_damaged_line_in_the_middle_of_the_log_stops_with_its_number(spec: SweepSpec, tmp_path: Path) -> None:
    root = tmp_path / "results" / "small"
    root.parent.mkdir()
    with open_keeper(spec, root) as keeper:
        drive(keeper)
    (root / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text())
    lines = (root / "log.jsonl").read_bytes().splitlines(keepends=True)
    lines[4] = lines[4][:10] + b"\n"
    (root / "log.jsonl").write_bytes(b"".join(lines))
    before = (root / "log.jsonl").read_bytes()
    done = sweep_here("resume", "small", cwd=tmp_path)
    assert done.returncode == 1
    assert "log.jsonl:5" in "".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert (root / "log.jsonl").read_bytes() == before


# The sweep file, and the lock


def test_a_missing_sweep_file_is_said_to_be_missing_and_results_can_be_read(spec: SweepSpec, tmp_path: Path) -> None:
    root = tmp_path / "results" / "small"
    root.parent.mkdir()
    with open_keeper(spec, root) as keeper:
        drive(keeper)
    assert not (root / "sweep.yaml").exists()
    for command in (["resume", "small"], ["extend", "small", "--trials", "1"], ["retry", "small"]):
        done = sweep_here(*command, cwd=tmp_path)
        assert done.returncode == 2
        words = " ".join(done.stderr.split())
        assert "sweep.yaml is missing" in words
        assert "sweep run FILE" in words
    assert sweep_here("top", "small", cwd=tmp_path).returncode == 0
    counted = sweep_here("query", "select count(*) from trials", "--format", "csv", cwd=tmp_path)
    assert counted.stdout.split()[-1] == "6"


def test_a_second_driver_is_refused_and_told_who_holds_the_sweep(spec: SweepSpec, tmp_path: Path) -> None:
    root = tmp_path / "results" / "small"
    root.mkdir(parents=True)
    file = tmp_path / "sweep.yaml"
    (root / "sweep.yaml").write_text(file.read_text())
    with SweepLock(root / "lock"):
        for command, started in (
            (["run", file], sweep),
            (["run", file, "--fresh"], sweep_here),
            (["resume", "small"], sweep_here),
        ):
            done = started(*command, cwd=tmp_path)
            assert done.returncode == 2
            assert f"process {os.getpid()} on" in " ".join(done.stderr.split())
    assert {path.name for path in root.iterdir()} == {"sweep.yaml", "lock"}, "and nothing was touched"


def test_the_lock_of_a_dead_driver_is_free_while_its_workers_live(tmp_path: Path) -> None:
    """A worker is a grandchild that outlives the driver; it must not keep the lock."""
    code = """
        import subprocess, sys, time
        from pathlib import Path
        from sweep_runner.durable import SweepLock
        lock = SweepLock(Path(sys.argv[1])).acquire()
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
        print(worker.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "lock")]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    try:
        with SweepLock(tmp_path / "lock"):
            holder = json.loads((tmp_path / "lock").read_bytes())
            assert holder["pid"] == os.getpid()
    finally:
        os.kill(worker, 9)
