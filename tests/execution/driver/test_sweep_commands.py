"""Real sweeps with Ray through the `sweep` command: what a user sees, and what stays when something breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.support.sweeps import log_of, sweep, sweep_command

pytestmark = pytest.mark.ray

WriteSpec = Callable[..., Path]

TRAINABLES = '''
import os
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from trainables.contract import EpochReport, NoData, Trainable


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 3
    x: int = 0


class Base(Trainable[Config, NoData]):
    config_class = Config

    def train(self, config, handle):
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            self.epoch(config, handle, epoch)
            print("epoch", epoch)
            handle.report(
                EpochReport(epoch, {"score": config.x + epoch / 10}),
                save=lambda folder: (folder / "pid").write_text(str(os.getpid())),
            )

    def epoch(self, config, handle, epoch):
        pass


class Raises(Base):
    def epoch(self, config, handle, epoch):
        if config.x == 1 and not Path(os.environ["MENDED"]).exists():
            raise RuntimeError("the flux is off")


class Meets(Base):
    """No trial goes on before two processes have begun one, so that none is too late to get any."""

    def epoch(self, config, handle, epoch):
        begun = Path(os.environ["BEGUN"])
        (begun / str(os.getpid())).touch()
        deadline = time.monotonic() + 120
        while len(list(begun.iterdir())) < 2:
            if time.monotonic() > deadline:
                raise RuntimeError("waited for a second process")
            time.sleep(0.05)
'''


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Keys of a sweep file of a user's own trainable, whose module lies in the working directory."""
    (tmp_path / "mine.py").write_text(TRAINABLES)

    def keys(name: str, values: list[int]) -> dict[str, Any]:
        return {
            "trainable": f"mine:{name}",
            "fixed": {},
            "space": {"x": values},
            "objective": {"metric": "score", "mode": "max"},
            "search": {"sampler": "grid", "trials": len(values)},
            "resources": {"max_concurrent": 2, "max_failures": 1},
        }

    return keys


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process and no temporary folder of a sweep outlives its command."""
    # A folder for temporary files of each test's own: other sweeps may run on this machine. Its name is short,
    # because Ray's sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    deadline = time.monotonic() + 20
    while (left := _ray_processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    assert not list(folder.iterdir())
    folder.rmdir()


def _ray_processes() -> list[str]:
    """The Ray processes that a sweep of this test process started: they inherit a mark in their environment."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or [])
        mark = (process.info["environ"] or {}).get("SWEEP_TEST")
        if mark == str(os.getpid()) and ("ray" in words or "sweep" in words):
            found.append(words)
    return found


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_TEST", str(os.getpid()))


def trials_table(root: Path) -> dict[int, dict[str, Any]]:
    return {row["trial"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}


def test_a_sweep_from_file_to_tables(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(pruner={"kind": "median", "startup_trials": 2}, baselines={"known": {"lr": 0.01}})
    done = sweep("run", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "known" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 15, f"that is noise:\n{done.stderr}"
    trials = trials_table(tmp_path / "results" / "small")
    assert set(trials) == set(range(6))
    assert trials[0]["name"] == "known"
    assert {row["state"] for row in trials.values()} <= {"COMPLETED", "PRUNED"}
    epochs = pq.read_table(tmp_path / "results" / "small" / "tables" / "epochs").to_pylist()
    assert len({(row["trial"], row["epoch"]) for row in epochs}) == len(epochs)
    left = {path.name for path in (tmp_path / "results" / "small").iterdir()}
    expected = {"sweep.yaml", "environment.json", "study.journal", "log.jsonl", "lock", "data", "tables", "trials"}
    expected |= {"report.html", "requirements.txt"}
    assert left == expected

    again = sweep("run", file, cwd=tmp_path)
    assert again.returncode == 2
    for choice in ("sweep resume small", "--fresh", "--set name="):
        assert choice in again.stderr

    fresh = sweep("run", write_spec(search={"trials": 1}), "--fresh", cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    assert len(trials_table(tmp_path / "results" / "small")) == 1
    (aside,) = (tmp_path / "results" / ".replaced").iterdir()
    assert len(trials_table(aside)) == 6


# SIGINT while trials run: `tests/faults/test_hostile_input.py` ends its sweep so.
@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGTERM, os.kill), (signal.SIGHUP, os.killpg)],
    ids=["SIGTERM", "a terminal that is closed"],
)
def test_a_signal_stops_and_says_how_to_go_on(
    write_spec: WriteSpec, tmp_path: Path, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    """A terminal that is closed hangs up on every process that it started, Ray's servers among them."""
    file = write_spec(fixed={"epochs": 2, "epoch_s": 60.0})
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
    send(process.pid, number)
    # Far less than the epoch's minute, for which a driver whose servers are gone would wait, too.
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "sweep resume small" in stderr
    assert "Traceback" not in stderr
    assert log_of(tmp_path / "results" / "small")[-1]["state"] == "INTERRUPTED"


def test_a_raising_trial_fails_alone_and_can_be_retried(
    write_spec: WriteSpec, tmp_path: Path, own: Callable[..., Any]
) -> None:
    mended = tmp_path / "mended"
    done = sweep("run", write_spec(**own("Raises", [0, 1, 2])), cwd=tmp_path, MENDED=str(mended))
    assert done.returncode == 1
    assert "the flux is off" in done.stderr
    assert "Traceback" not in done.stderr
    root = tmp_path / "results" / "small"
    states = {row["x"]: row["state"] for row in trials_table(root).values()}
    assert states == {0: "COMPLETED", 1: "FAILED", 2: "COMPLETED"}
    (error,) = root.glob("trials/*/attempt-2/error.txt")
    assert "RuntimeError: the flux is off" in error.read_text()

    mended.touch()
    retried = sweep("retry", "small", cwd=tmp_path, MENDED=str(mended))
    assert retried.returncode == 0, retried.stderr
    assert {row["state"] for row in trials_table(root).values()} == {"COMPLETED"}
    assert len(trials_table(root)) == 3


def test_workers_stay_as_many_as_asked_for(write_spec: WriteSpec, tmp_path: Path, own: Callable[..., Any]) -> None:
    """Trials shorter than a worker's start must not all end up in one process; workers are reused."""
    keys = own("Meets", list(range(30)))
    begun = tmp_path / "begun"
    begun.mkdir()
    done = sweep("run", write_spec(**{**keys, "keep": {"best": 30}}), cwd=tmp_path, BEGUN=str(begun))
    assert done.returncode == 0, done.stderr
    pids = [path.read_text() for path in (tmp_path / "results" / "small").glob("trials/*/*/checkpoints/*/pid")]
    assert len(pids) == 30
    shares = sorted(pids.count(pid) for pid in set(pids))
    assert len(shares) == 2, f"30 trials over {len(shares)} processes: {shares}"
    assert shares[0] >= 3
