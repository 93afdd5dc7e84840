"""A real Slurm, for as long as a test needs it: munge, a controller, and two nodes that are both this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.ray_head import free_ports

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scancel", "scontrol", "squeue")
_SETTINGS = """\
ClusterName=sweeps
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=60
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={first},{second} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no Slurm here; empty when there can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "needs root, as which Slurm's nodes run"


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs.

    Attributes:
        environment: for its commands.
        folder: whatever it writes.
        scratch: for the temporary files of jobs.
    """

    environment: Mapping[str, str]
    folder: Path
    scratch: Path

    def __call__(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What one of its commands prints; it must succeed."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def state(self, job: str) -> tuple[str, str]:
        """Its state and its exit code, as Slurm shows them: `("COMPLETED", "0:0")`."""
        fields = dict(part.split("=", 1) for part in self("scontrol", "show", "job", job, "-o").split() if "=" in part)
        return fields["JobState"], fields["ExitCode"]

    def wait_for(self, job: str, what: Callable[[str], object], log: Path, timeout_s: float = 180) -> str:
        """Waits for a state of a job, and returns it."""
        deadline = time.monotonic() + timeout_s
        while not what(state := self.state(job)[0]):
            if state in ("FAILED", "TIMEOUT", "NODE_FAIL"):
                deadline = min(deadline, time.monotonic() + 10)  # no more is to come, but what it wrote last
            written = log.read_text() if log.exists() else "nothing"
            assert time.monotonic() < deadline, f"job {job} is {state}; its log: {written}"
            time.sleep(0.3)
        return state

    def start_now(self, job: str, log: Path) -> None:
        """Spares a job that was put back into the queue the two minutes that Slurm would let it wait."""
        self.wait_for(job, lambda state: state == "PENDING", log)
        self("scontrol", "update", f"JobId={job}", "StartTime=now")


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Starts munge, a controller and two nodes of one CPU each; ends them, with the jobs that are left.

    Args:
        folder: to which everything goes. Short: there are sockets in it.
    """
    controller, first, second = free_ports(3)
    settings = folder / "slurm.conf"
    settings.write_text(
        _SETTINGS.format(host=socket.gethostname(), folder=folder, controller=controller, first=first, second=second)
    )
    for name in ("state", "spool-n1", "spool-n2", "tmp"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    environment = {**os.environ, "SLURM_CONF": str(settings), "PATH": _path()}
    munge = [f"--{name}={folder / file}" for name, file in (("key-file", "munge.key"), ("socket", "munge.sock"))]
    munge += [f"--{name}={folder / f'munge.{name[:4]}'}" for name in ("pid-file", "log-file", "seed-file")]
    daemons = [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", str(settings)],
        *(["slurmd", "-D", "-f", str(settings), "-N", node] for node in ("n1", "n2")),
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for daemon in daemons:
            with (folder / f"{daemon[0]}-{len(started)}.out").open("wb") as out:
                started.append(subprocess.Popen(daemon, env=environment, stdout=out, stderr=out, cwd=folder))
            _wait_until(lambda: (folder / "munge.sock").exists(), folder)
        running = Slurm(environment, folder, folder / "tmp")
        _wait_until(lambda: running("sinfo", "--noheader", "--format=%T %D") == "idle 2", folder)
        yield running
    finally:
        _end_jobs(Slurm(environment, folder, folder / "tmp"))
        for each in started:
            each.kill()
            each.wait()


def _end_jobs(running: Slurm) -> None:
    """Ends what a failed test leaves: first as Slurm does, then the processes of jobs, which know this folder."""
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        running("scancel", "--user=root", "--signal=KILL", "--full")
        running("scancel", "--user=root")
        _wait_until(lambda: running("squeue", "--noheader") == "", running.folder)
    for process in psutil.process_iter(["environ"]):
        if str(running.folder) in (process.info["environ"] or {}).get("SLURM_CONF", ""):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _wait_until(what: Callable[[], object], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if what():
                return
        except AssertionError:
            pass
        logs = "\n".join(
            path.read_text(errors="replace")[-2000:] for path in (*folder.glob("*.out"), *folder.glob("*.log"))
        )
        assert time.monotonic() < deadline, logs
        time.sleep(0.1)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
