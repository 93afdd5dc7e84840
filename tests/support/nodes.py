"""Machines of a Ray cluster on this one: network namespaces with a cable each to a bridge, and Ray's nodes in them.

Every process of a machine runs in its namespace, so that it can be killed as a whole, and its cable can be pulled out.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

PORT = 6379
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""Of the head, as docs/cluster.md recommends: a node that cannot be reached is given up in seconds."""


def why_not() -> str:
    """Why no machines can be made here; empty when they can."""
    if shutil.which("ip") is None:
        return "needs `ip`: apt-get install iproute2"
    name = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"needs root: network namespaces cannot be made here ({made.stderr.strip()})"
    subprocess.run(["ip", "netns", "delete", name], check=False)
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machine:
    """One machine of a lab.

    Attributes:
        name: in the lab.
        address: in the lab's network.
    """

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        self.name = name
        self.address = f"{lab.network}.{number}"
        self._lab = lab
        self._cable = f"{lab.prefix}v{number}"
        self._namespace = f"{lab.prefix}-{name}"
        _ip("netns", "add", self._namespace)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _ip("link", "set", self._cable, "master", lab.bridge, "up")
        inside = ("-n", self._namespace)
        _ip(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")

    def command(self, *words: str | Path, hides: Path | None = None) -> list[str]:
        """A command that runs on this machine.

        Args:
            words: the command.
            hides: a folder in whose place the command sees an empty one of its own: storage that is not shared.
        """
        inside = ["ip", "netns", "exec", self._namespace]
        if hides is None:
            return [*inside, *map(str, words)]
        script = 'mount -t tmpfs tmpfs "$1" && shift && exec "$@"'
        return [*inside, "sh", "-c", script, "sh", str(hides), *map(str, words)]

    def begin_ray(self, *, head: bool = False, cpus: int = 1, hides: Path | None = None, **environment: str) -> Start:
        """Starts Ray's node; `Lab.wait` for what it returns."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address", self.address]
        ray += ["--num-cpus", str(cpus), "--num-gpus", "0", "--object-store-memory", str(80 * 2**20)]
        if head:
            ray += ["--head", "--port", str(PORT), "--include-dashboard", "false", "--temp-dir", str(self._lab.folder)]
            environment = {**HEALTH_CHECKS, **environment}
        else:
            ray += ["--address", self._lab.address]
        return Start(self, self.command(*ray, hides=hides), {**os.environ, **self._lab.environment, **environment})

    def processes(self) -> list[psutil.Process]:
        told = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=True)
        found = []
        for pid in told.stdout.split():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found

    def kill(self) -> None:
        """As if its power had been cut: every process of it ends by SIGKILL."""
        while processes := [one for one in self.processes() if one.status() != psutil.STATUS_ZOMBIE]:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=5)

    def signal_workers(self, number: signal.Signals) -> None:
        """Sends a signal to the processes that run trials."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any("ray::" in word for word in process.cmdline()[:1]) and "Agent" not in process.cmdline()[0]:
                    process.send_signal(number)

    def unplug(self) -> None:
        """Pulls the network's cable out: nothing is closed, nothing arrives any more."""
        _ip("link", "set", self._cable, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        self.kill()
        subprocess.run(["ip", "netns", "delete", self._namespace], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._cable], capture_output=True, check=False)


class Start:
    """`ray start` on a machine, under way."""

    def __init__(self, machine: Machine, command: list[str], environment: Mapping[str, str]) -> None:
        self._machine = machine
        self._command = command
        self._environment = environment
        self._process = self._begin()

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def end(self) -> None:
        text, _ = self._process.communicate(timeout=120)
        if self._process.returncode:
            # On a machine with much to do the head was not there yet when this node gave up asking for it.
            self._machine.kill()
            self._process = self._begin()
            text, _ = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, text


class Driver:
    """A command that runs on a machine."""

    def __init__(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._stdout = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with this object
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=self._stdout, stderr=self._stderr)

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        # By its own descriptor, so that the process goes on writing where it was.
        return os.pread(self._stderr.fileno(), 2**20, 0).decode()

    def end(self, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Waits for its end; kills it when that does not come."""
        try:
            self.process.wait(timeout_s)
        finally:
            self.process.kill()
        stdout = os.pread(self._stdout.fileno(), 2**20, 0).decode()
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, stdout, self.said)

    def until(self, true: Callable[[], Any], what: str, timeout_s: float = 90) -> None:
        """Waits for something to come true while it runs."""
        deadline = time.monotonic() + timeout_s
        while not true():
            running = self.process.poll() is None
            if not running or time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"{what}: not so {f'after {timeout_s:g} s' if running else 'when it ended'}; {self.said}")
            time.sleep(0.1)


class Lab:
    """Some machines in a network of their own. `close` ends all their processes.

    Attributes:
        folder: short, for Ray's files and the token.
        head: the machine with the head; commands run there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Names and networks of other labs on this machine, of other test runs, are others.
        number = secrets.randbelow(200) + 20
        self.prefix = f"lab{number}"
        self.network = f"10.87.{number}"
        self.bridge = f"{self.prefix}br"
        self.address = f"{self.network}.1:{PORT}"
        self.token = folder / "token"
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        self.machines: dict[str, Machine] = {}
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("link", "set", self.bridge, "up")
        self.head = self.add("head")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def add(self, name: str) -> Machine:
        machine = self.machines[name] = Machine(self, name, len(self.machines) + 1)
        return machine

    def start(self, *names: str, head_cpus: int = 1) -> None:
        """Starts Ray on the head and on machines of these names, with one CPU each, all at the same time."""
        starting = [self.head.begin_ray(head=True, cpus=head_cpus)]
        starting += [self.add(name).begin_ray() for name in names]
        self.wait(*starting)

    def wait(self, *starting: Start) -> None:
        """Until every `ray start` has ended well."""
        for one in starting:
            one.end()

    def sweep(
        self, *words: str | Path, cwd: Path, on: Machine | None = None, timeout_s: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a `sweep` command on the head."""
        return self.begin_sweep(*words, cwd=cwd, on=on, **environment).end(timeout_s)

    def begin_sweep(self, *words: str | Path, cwd: Path, on: Machine | None = None, **environment: str) -> Driver:
        """Starts a `sweep` command on the head, or on another machine."""
        command = (on or self.head).command(sys.executable, "-m", "sweep_runner", *words)
        # What `auto` stands for in a job of Ray; other clusters on this machine are none of ours.
        address = {"RAY_ADDRESS": self.address}
        return Driver(command, cwd, {**os.environ, **self.environment, **address, **environment})

    def ask(self, script: str) -> Any:
        """Runs Python on the head, attached to the cluster; what it prints is JSON."""
        attach = f"import json, ray; ray.init(address={self.address!r}, _node_ip_address={self.head.address!r}, "
        attach += "log_to_driver=False, logging_level='ERROR')\n"
        done = subprocess.run(
            self.head.command(sys.executable, "-c", attach + script),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def close(self) -> None:
        for machine in self.machines.values():
            machine.remove()
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A lab without machines but the head, on which nothing runs yet; gone at the end."""
    # Short, because sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="lab", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Lab(Path(folder))
        try:
            yield made
        finally:
            made.close()


def events(root: Path, **wanted: Any) -> list[Mapping[str, Any]]:
    """The lines of a sweep's log so far, those that have these values."""
    path = root / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in found if all(event.get(key) == value for key, value in wanted.items())]
