"""The process that workers and the assistant are forked from: what they find there, and what they do without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweep_runner.execution.evaluation.assistant import Assistant, AssistantDied
from sweep_runner.execution.fork_server.client import ForkServer
from trainables.contract import Progress

HEAVY = "open(__file__ + '.imported', 'a').write('once ')\n"
WITH_THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server, too, finds modules."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "heavy.py").write_text(HEAVY)
    (tmp_path / "with_thread.py").write_text(WITH_THREAD)
    return tmp_path


@pytest.fixture
def forks(folder: Path) -> Iterator[ForkServer]:
    server = ForkServer(folder, ("no_such_module", "heavy"))
    yield server
    server.close()


def look(what: str, progress: Progress) -> tuple[int, int, str | None]:
    """Its process, the parent of that, and a variable of its environment."""
    import heavy  # type: ignore[import-not-found]  # noqa: F401

    return os.getpid(), os.getppid(), os.environ.get(what)


def leave(code: int, progress: Progress) -> None:
    os._exit(code)


def asked(assistant: Assistant, what: str = "WHAT") -> tuple[int, int, str | None]:
    assistant.begin(look, what)
    assert assistant.wait(60)
    answer: tuple[int, int, str | None] = assistant.answer()
    return answer


def test_forks_share_what_was_imported_once(forks: ForkServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHAT", "set after the server had started")
    with Assistant() as first, Assistant() as second:
        first.forks = second.forks = forks
        one, other = asked(first), asked(second)
        assert one[1] == other[1] == forks.pid
        assert one[0] != other[0]
        assert one[2] == "set after the server had started"
        assert (folder / "heavy.py.imported").read_text() == "once "
        process = psutil.Process(one[0])
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("code", "how"), [(3, "exit code 3"), (-9, "killed by SIGKILL")])
def test_how_a_fork_ended_is_told(forks: ForkServer, code: int, how: str) -> None:
    with Assistant() as assistant:
        assistant.forks = forks
        process, *_ = asked(assistant)
        if code < 0:
            psutil.Process(process).kill()
        else:
            assistant.begin(leave, code)
        assert assistant.wait(60)
        with pytest.raises(AssistantDied, match=how):
            assistant.answer()
        assert asked(assistant)[0] != process, "the next question has another one"


def test_what_a_fork_raises_ends_it_alone_and_is_told(
    forks: ForkServer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An OSError is also what the server's own loop takes for somebody who is gone."""
    (folder / "fails.py").write_text("raise OSError('no such disk')\n")
    with (folder / "given").open("w") as given:
        assert forks.fork("fails", given.fileno(), [str(folder)]).wait() == 1
    assert "OSError: no such disk" in capfd.readouterr().err
    with Assistant() as assistant:
        assistant.forks = forks
        assert asked(assistant)[1] == forks.pid


def test_forks_end_with_their_server_and_what_follows_needs_none(forks: ForkServer) -> None:
    with Assistant() as assistant:
        assistant.forks = forks
        process, *_ = asked(assistant)
        forks.close()
        assert assistant.wait(60)
        with pytest.raises(AssistantDied, match="killed by SIGKILL"):
            assistant.answer()
        assert not psutil.pid_exists(process)
        assert asked(assistant)[1] == os.getpid()


def test_without_a_server_that_can_fork_the_process_is_its_own(folder: Path) -> None:
    """A module that starts threads: what is forked would lack them."""
    server = ForkServer(folder, ("with_thread",))
    with Assistant() as assistant:
        assistant.forks = server
        assert asked(assistant)[1] == os.getpid()
    server.close()


def test_the_server_ends_with_the_driver(folder: Path) -> None:
    """Killed with SIGKILL, and with it what it has forked."""
    script = (
        "import sys, os, time\n"
        "from pathlib import Path\n"
        "from sweep_runner.execution.fork_server.client import ForkServer\n"
        "server = ForkServer(Path(sys.argv[1]), ['heavy'])\n"
        "ours, theirs = os.pipe()\n"
        "forked = server.fork('sleeping', theirs, sys.path)\n"
        "os.read(ours, 1)\n"
        "print(server.pid, forked.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    (folder / "sleeping.py").write_text("import os, sys, time\nos.write(int(sys.argv[1]), b'1')\ntime.sleep(600)\n")
    driver = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    assert driver.stdout is not None
    processes = [psutil.Process(int(number)) for number in driver.stdout.readline().split()]
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs(processes, timeout=30)
    assert not left


WORKERS = """
import os, sys, time
from pathlib import Path
from sweep_runner.execution.ray_runtime.session import ray_session

def look():
    import heavy
    time.sleep(1)  # long enough for each worker to get one
    return os.getppid(), os.environ.get("OF_TASK"), Path("/proc/self/oom_score_adj").read_text(), os.nice(0)

if __name__ == "__main__":
    with ray_session("forks", Path(__file__), False, 2, ("heavy",)) as session:
        import ray
        ray.get(ray.remote(look).remote())
        if sys.argv[1] == "killed":
            session.forks.close()
        found = ray.get([ray.remote(look).remote() for _ in range(2)])
        other = ray.get(ray.remote(look).options(runtime_env={"env_vars": {"OF_TASK": "yes"}}).remote())
        print(session.forks.pid, *found[0], *found[1], *other)
"""


@pytest.mark.ray
@pytest.mark.parametrize("server", ["alive", "killed"])
def test_rays_workers_are_forked_where_they_can_be(folder: Path, server: str) -> None:
    """With the priorities that Ray gives them; one with another environment is started as ever."""
    (folder / "workers.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, "workers.py", server], cwd=folder, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    pid, workers, other = words[0], [words[1:5], words[5:9]], words[9:13]
    assert [parent == pid for parent, *_ in workers] == [server == "alive"] * 2
    assert [rest for _, *rest in workers] == [["None", *other[2:]]] * 2
    assert other[0] != pid
    assert other[1] == "yes"
