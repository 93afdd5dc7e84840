"""Where a sweep finds room: long temporary folders, file systems without locks, a shell of uv's."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep_runner.durable import SweepLock, lock_holder
from sweep_runner.errors import RequestError
from sweep_runner.execution.ray_runtime.leftovers import (
    SHORT_PLACES,
    place_for_sockets,
    remove_leftovers,
    temporary_folder,
)
from trainables.errors import DataError
from trainables.image.pixels.pixel_cache import locked


def test_sockets_go_where_their_paths_are_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path is limited to 107 bytes: longer ones go to /tmp, and what is left there is removed, too."""
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    place = place_for_sockets("ray/session/sockets/plasma_store")
    assert place in SHORT_PLACES
    with temporary_folder(place) as folder:
        assert len(str(folder / "ray/session/sockets/plasma_store")) <= 107
        remove_leftovers(own=True)
        assert not folder.exists()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert place_for_sockets("ray/sockets") == Path("/tmp")
    assert place_for_sockets("x" * 107) is None


def _no_locks(file: object, operation: int) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_a_file_system_without_locks_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    with pytest.raises(RequestError, match=r"(?s)no file locks.*--results") as refused:
        SweepLock(tmp_path / "lock").acquire()
    assert str(tmp_path) in str(refused.value)
    assert lock_holder(tmp_path / "lock") is None, "results there can still be read"
    with pytest.raises(DataError, match="SWEEP_CACHE"), locked(tmp_path / "budget.lock"):
        pass


def test_ray_starts_no_worker_through_uv(tmp_path: Path) -> None:
    """Below `uv run` Ray would start each worker by uv, in a copy of the current folder."""
    (tmp_path / "run").write_text(f'"{sys.executable}" "$@"\n')
    check = (
        "import os; from sweep_runner.execution.ray_runtime.quiet import tune_environment as tune;"
        "os.environ.update(tune(1));"
        "from ray._private.worker import _maybe_modify_runtime_env as modify; print(modify(None, False))"
    )
    shell = ["bash", "-c", f"exec -a uv bash run -c '{check}'"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    ran = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() in ("None", "{}"), ran.stderr
