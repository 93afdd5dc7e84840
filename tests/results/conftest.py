"""A results folder as real sweeps leave it, made through the recorder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.results.events import EpochReported, Event, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    """These tests record thousands of times."""
    return in_memory


@pytest.fixture
def results(tmp_path: Path) -> ResultsPaths:
    return ResultsPaths(tmp_path / "results")


@pytest.fixture
def new_sweep(results: ResultsPaths) -> Callable[[str], SweepPaths]:
    """Makes the folder of a sweep in which nothing is recorded yet."""
    return partial(_new_sweep, results)


@pytest.fixture
def make_sweep(results: ResultsPaths) -> Callable[..., SweepPaths]:
    """Records a sweep: `make_sweep("name", [{"lr": 0.1}, ...], epochs=2)`; accuracy rises with number and epoch."""
    return partial(_make_sweep, results)


@pytest.fixture
def trial_events() -> Callable[[int, dict[str, Any], int, str], list[Event]]:
    """`trial_events(number, params, epochs, end)`: a trial's events; with `end="RUNNING"` it does not end."""
    return _trial_events


@pytest.fixture
def mixed(mixed_once: ResultsPaths, results: ResultsPaths) -> ResultsPaths:
    """Sweeps a, b and c, whose params differ in names and in types."""
    shutil.copytree(mixed_once.root, results.root)
    return results


@pytest.fixture(scope="session")
def mixed_once(tmp_path_factory: pytest.TempPathFactory) -> ResultsPaths:
    results = ResultsPaths(tmp_path_factory.mktemp("mixed"))
    few = [{"pooling": "avg", "lr": 1, "batch_size": 16}, {"pooling": "max", "lr": 2, "batch_size": 32}]
    _make_sweep(results, "a", few)
    _make_sweep(results, "b", [{"pooling": "avg", "lr": 0.5, "batch_size": "auto", "momentum": 0.9}])
    _make_sweep(results, "c", [{"pooling": True, "momentum": None}, {"pooling": False, "momentum": None}])
    return results


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _new_sweep(results: ResultsPaths, name: str) -> SweepPaths:
    paths = results.sweep(name)
    paths.root.mkdir(parents=True)
    paths.spec.write_text(f"name: {name}\n")
    return paths


def _make_sweep(
    results: ResultsPaths,
    name: str,
    params: Sequence[dict[str, Any]],
    *,
    epochs: int = 2,
    state: Any = "COMPLETED",
    end: Sequence[str] = (),
    names: Sequence[str] = (),
    events: Sequence[Event] = (),
) -> SweepPaths:
    paths = _new_sweep(results, name)
    searched = list(dict.fromkeys(key for values in params for key in values))
    with Recorder(paths, Objective(), searched, {"git_commit": "abc", "versions": {"torch": "2.15.0"}}) as recorder:
        recorder.record(SweepChanged(time=1000.0, state="RUNNING", data_fingerprint="f00d"))
        for number, values in enumerate(params):
            name = names[number] if number < len(names) else None
            recorder.record_many(_trial_events(number, values, epochs, end[number] if end else "COMPLETED", name))
        recorder.record_many(events)
        if state != "RUNNING":
            recorder.record(SweepChanged(time=2000.0, state=state))
    return paths


def _trial_events(number: int, params: dict[str, Any], epochs: int, end: Any, name: str | None = None) -> list[Event]:
    start = 1000.0 + 100 * number
    events: list[Event] = [TrialStarted(time=start, trial=number, attempt=1, seed=number + 7, params=params, name=name)]
    for epoch in range(1, epochs + 1):
        metrics = {
            "train_loss": 1 / epoch,
            "val_loss": 2 / epoch,
            "val_accuracy": round(number / 10 + epoch / 100, 2),
            "epoch_s": 1,
        }
        events.append(
            EpochReported(
                time=start + epoch, trial=number, attempt=1, epoch=epoch, metrics=metrics, host="node1", device="cpu"
            )
        )
    if end != "RUNNING":
        events.append(TrialEnded(time=start + epochs, trial=number, attempt=1, state=end, duration_s=float(epochs)))
    return events
