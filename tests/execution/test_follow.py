"""Following a job's log ends at Ctrl-C, whatever the connection does at that moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from sweep_runner.execution.jobs.server import connect
from tests.support.ray_head import ray_head
from tests.support.sweeps import sweep_command

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


@pytest.mark.ray
@pytest.mark.long
def test_fifty_times_of_a_real_job_on_a_loaded_machine() -> None:
    times, at_once = 50, 5
    moments = random.Random(1)
    with (
        tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as folder,
        ray_head(Path(folder)) as head,
        mock.patch.dict(os.environ, head.environment),
    ):
        client = connect(head.url)
        chatty = "sh -c 'echo begun; while :; do echo line; sleep 0.03; done'"
        job = when_ready(lambda: client.submit_job(entrypoint=chatty, metadata={"sweep": "chatty"}))
        command = sweep_command("jobs", "logs", job, "--follow", "--address", head.url)
        took = []
        # For a while at most: they end by themselves, whatever becomes of this test.
        busy = [subprocess.Popen(["timeout", "300", sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        for _ in range(times // at_once):
            following = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
            try:
                for each in following:
                    assert each.stdout is not None
                    while "begun" not in (line := each.stdout.readline()):
                        assert line, "it ended"
                for each in following:
                    time.sleep(moments.random() / 2)
                    sent = time.monotonic()
                    each.send_signal(signal.SIGINT)
                    each.communicate(timeout=60)
                    took.append(time.monotonic() - sent)
                    assert each.returncode == 130
            finally:
                for each in following:
                    each.kill()
        for each in busy:
            each.terminate()  # which `timeout` hands on
    print(f"{len(took)} taken, after {sorted(took)[len(took) // 2]:.1f} s (median), {max(took):.1f} s (longest)")


def when_ready(submit: Callable[[], str]) -> str:
    """A head that has just started has no agent yet that would take a job."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return submit()
        except (RuntimeError, OSError) as error:
            is_starting = isinstance(error, OSError) or "No available agent" in str(error)
            if not is_starting or time.monotonic() > deadline:
                raise
            time.sleep(1)
