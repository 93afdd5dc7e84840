"""Faults are caused for real: processes are killed, disks fill up, files are cut. After each, nothing may be left."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.faults import MARK, TRAINABLES, left_behind
from tests.support.sweeps import spec_writer


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file of the synthetic trainable, with some keys in place of others."""

    return spec_writer(tmp_path)


@pytest.fixture
def write_own(tmp_path: Path, write_spec: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a sweep file over one of `TRAINABLES`, whose module lies in the working directory: a trial a value."""
    (tmp_path / "mine.py").write_text(TRAINABLES)
    for name in ("queue", "random", "ray"):  # a user's files take nobody's place, neither here nor in workers
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user is executed')\n")

    def write(name: str, values: list[str], **changes: Any) -> Path:
        own = {
            "trainable": f"mine:{name}",
            "fixed": {},
            "space": {"what": values},
            "objective": {"metric": "score", "mode": "max"},
            "search": {"sampler": "grid", "trials": len(values)},
            "resources": {"max_concurrent": 2, "max_failures": 1},
        }
        return write_spec(**{**own, **changes})

    return write


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process, temporary folder or shared memory of a test's sweeps outlives it."""
    if request.node.get_closest_marker("ray") is None:
        yield
        return
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(MARK, mark)
    # Short, because sockets lie below it; of its own, because other sweeps of this machine come and go.
    temporary = Path(f"/tmp/f{os.getpid()}")
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    yield
    # The processes of a killed driver notice that it is gone, and take some seconds to. Where it was killed while Ray's
    # agents started, these look for its control store for a minute before.
    deadline = time.monotonic() + 100
    while (processes := left_behind(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    told = [_command(process) for process in processes]
    for process in processes:
        process.kill()
    # What a SIGKILL has left is removed by the next start.
    leftovers = [
        path.name for path in temporary.iterdir() if not _is_of_the_dead(path) and not _is_a_trial_of_tempfile(path)
    ]
    subprocess.run(["rm", "-rf", str(temporary)], check=True)
    assert not processes, told
    assert not leftovers


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error as error:  # gone meanwhile
        return [str(error)]


def _is_of_the_dead(path: Path) -> bool:
    from sweep_runner.execution.ray_runtime.leftovers import owner_is_alive

    # One that processes of a killed sweep made again after it was removed has no owner; it goes when it is older.
    return path.name.startswith("sweep-ray-") and owner_is_alive(path) is not True


def _is_a_trial_of_tempfile(path: Path) -> bool:
    """Whether Python's tempfile left it: at its first use, a process tries the folder with a file of four bytes.

    A SIGKILL between making and removing it, which nobody can guard against, leaves it behind.
    """
    return len(path.name) == 8 and path.is_file() and path.read_bytes() in (b"", b"blat")


class SmallDisk:
    """A file system of a given size, which can be made larger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    def fill(self, leave_bytes: int) -> Path:
        """Takes all room but so much; removing the file that it returns gives the room back."""
        path = self.folder / "filler"
        free = psutil.disk_usage(str(self.folder)).free
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - leave_bytes))
        return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Four mebibytes, mounted where results go."""
    folder = tmp_path / "results"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield SmallDisk(folder)
    deadline = time.monotonic() + 30
    while subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "something still uses the small disk"
        time.sleep(0.2)
