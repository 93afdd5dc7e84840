"""One of Ray's own servers dies: it is noticed, and the run ends, whatever the main thread waits for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sweep_runner.execution.ray_runtime.servers import ServerDied, ServerWatch

STUCK = """
import subprocess, sys, time
import psutil
from sweep_runner.execution.ray_runtime.servers import ServerWatch

server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
watch = ServerWatch({"raylet": psutil.Process(server.pid)}, "sweep resume small", print)
with watch.open():
    server.kill()
    time.sleep(600)  # as in a question to a server that is gone
"""


def _look_on(watch: ServerWatch) -> None:
    while True:
        watch.look()
        time.sleep(0.01)


def test_the_main_thread_is_told_which_one_and_how() -> None:
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    watch = ServerWatch({"raylet": psutil.Process(server.pid)}, "sweep resume small", print)
    with watch.open():
        watch.look()
        server.kill()
        with pytest.raises(ServerDied, match=r"raylet has ended .SIGKILL.*Continue with: sweep resume small"):
            _look_on(watch)
    server.wait()


def test_a_main_thread_that_is_stuck_does_not_keep_the_run(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STUCK], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 1, ran.stderr
    assert "raylet has ended" in ran.stdout
