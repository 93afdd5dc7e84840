"""What was prepared for a sweep stays as it was until new preparation is accepted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweep_runner.execution.driver.prepared import put_back_on_error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep" / "data"
    (folder / "below").mkdir(parents=True)
    (folder / "index").write_text("before")
    (folder / "below" / "more").write_text("before")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


BEFORE = {"index": "before", "below/more": "before"}


def prepare(folder: Path) -> None:
    partial = folder / "index.partial"
    partial.write_text("after")
    partial.replace(folder / "index")
    (folder / "below" / "more").unlink()
    (folder / "new").write_text("after")


def refuse(folder: Path, error: type[BaseException]) -> None:
    with put_back_on_error(folder):
        prepare(folder)
        raise error


def test_what_is_accepted_stays(folder: Path) -> None:
    with put_back_on_error(folder):
        prepare(folder)
    assert contents(folder) == {"index": "after", "new": "after"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_is_refused_is_put_back(folder: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        refuse(folder, error)
    assert contents(folder) == BEFORE
    assert list(folder.parent.iterdir()) == [folder]


def test_a_kill_is_mended_the_next_time(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from sweep_runner.execution.driver.prepared import put_back_on_error\n"
        "with put_back_on_error(Path(sys.argv[1])):\n"
        "    Path(sys.argv[1], 'index').unlink()\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    with put_back_on_error(folder):
        assert contents(folder) == BEFORE
    assert list(folder.parent.iterdir()) == [folder]
