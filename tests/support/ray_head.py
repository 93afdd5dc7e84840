"""A small Ray cluster of one node, as an administrator starts it, which asks for a token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TOKEN = "0123456789abcdef" * 4


@dataclass(frozen=True)
class RayHead:
    """A head node that runs.

    Attributes:
        url: of its dashboard and Jobs API, on loopback.
        address: of its GCS.
        token_file: holds what it asks for.
        environment: for commands that are to be let in.
    """

    url: str
    address: str
    token_file: Path
    environment: Mapping[str, str]


@contextmanager
def ray_head(folder: Path, *, cpus: int = 2) -> Iterator[RayHead]:
    """Starts a head node and ends it with every process that it made.

    Args:
        folder: whatever it writes is in it. Short: the sockets in it have at most 107 characters.
        cpus: it is said to have.
    """
    token_file = folder / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(TOKEN, encoding="ascii")
    gcs, dashboard, agent, agent_grpc, client = free_ports(5)
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of its ports on loopback
        "RAY_USAGE_STATS_ENABLED": "0",
        # The commands of jobs are those of this environment.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address=127.0.0.1", f"--port={gcs}", f"--num-cpus={cpus}", f"--temp-dir={folder / 'ray'}"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--ray-client-server-port={client}", f"--object-store-memory={100 * 1024**2}"),
    ]
    log = folder / "head.log"
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out) as process,
    ):
        try:
            _wait_for(dashboard, process, log)
            yield RayHead(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", token_file, environment)
        finally:
            everything = [process, *psutil.Process(process.pid).children(recursive=True)]
            for each in everything:
                with suppress(psutil.NoSuchProcess):  # the end of one may be that of another
                    each.kill()
            process.wait()


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nothing listens on at this moment."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
