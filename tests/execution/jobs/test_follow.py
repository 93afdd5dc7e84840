"""Following a job's log ends at Ctrl-C, whatever the connection does at that moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

FOLLOWER = """
import asyncio, sys
from types import SimpleNamespace
from sweep_runner.execution.jobs import follow

kind = sys.argv[1]

class Client:
    async def tail_job_logs(self, job_id):
        yield "begun\\n"
        try:
            while True:
                await asyncio.sleep(0.05)
                if kind == "talkative":
                    yield "x" * 1000 + "\\n"
        except asyncio.CancelledError:
            raise RuntimeError("WebSocket connection closed unexpectedly") from None

    def get_job_info(self, job_id):
        metadata = {"sweep": "s"}
        details = {"submission_id": job_id, "job_id": None, "status": "RUNNING", "message": "", "metadata": metadata}
        return SimpleNamespace(**details, driver_exit_code=None, start_time=1, end_time=None)

try:
    follow.follow(Client(), "job", lambda text: print(text, end="", flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


def ignoring_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("kind", ["silent", "talkative"])
@pytest.mark.parametrize(
    "before", [pytest.param(None, id="foreground"), pytest.param(ignoring_sigint, id="started in the background")]
)
def test_ctrl_c_is_taken(kind: str, before: Callable[[], None] | None) -> None:
    start = partial(subprocess.Popen, stdout=subprocess.PIPE, text=True, preexec_fn=before)
    with start([sys.executable, "-c", FOLLOWER, kind]) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline() == "begun\n"
            following.send_signal(signal.SIGINT)
            following.communicate(timeout=30)
            assert following.returncode == 130
        finally:
            following.kill()


def test_ctrl_c_is_taken_while_nobody_reads_what_is_written() -> None:
    with subprocess.Popen([sys.executable, "-c", FOLLOWER, "talkative"], stdout=subprocess.PIPE) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline() == b"begun\n"
            with pytest.raises(subprocess.TimeoutExpired):
                following.wait(5)  # the pipe is full by then: 64 KiB
            following.send_signal(signal.SIGINT)
            assert following.wait(30) == 130
        finally:
            following.kill()
