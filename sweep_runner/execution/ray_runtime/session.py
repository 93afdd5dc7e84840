"""A Ray instance of this sweep's own: started quietly, listening on this machine only, gone without a trace."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sweep_runner.errors import Interrupted, SweepError
from sweep_runner.execution.fork_server import ray_worker
from sweep_runner.execution.fork_server.client import ForkServer
from sweep_runner.execution.ray_runtime.leftovers import (
    SHORT_PLACES,
    children,
    end,
    place_for_sockets,
    temporary_folder,
)
from sweep_runner.execution.ray_runtime.quiet import quieten, tune_environment
from sweep_runner.execution.ray_runtime.servers import servers
from sweep_runner.execution.ray_runtime.token import token_file
from sweep_runner.execution.resources.slots import Node
from trainables import allocator
from trainables.cpus import num_cpus

_OBJECT_STORE_BYTES = 128 * 1024**2
"""Nothing large goes through Ray's object store: data lies in files that the workers map."""
_LONGEST_SOCKET = f"ray/session_2026-01-02_03-04-05_{'6' * 6}_{'7' * 7}/sockets/plasma_store"
"""As Ray names it: by the time, in microseconds, and the process."""
_IDLE_MS = 600_000
"""How long a worker may be idle while the data is being prepared."""


@dataclass(frozen=True)
class RaySession:
    """A running Ray instance.

    Attributes:
        folder: temporary, removed at the end; everything that Ray writes is in it.
        dashboard_url: where the dashboard is, empty without one.
        token_file: holds the token that the dashboard asks for; readable by this user only. None: no file does.
        nodes: that are alive.
        servers: Ray's own processes without which nothing goes on, of an instance of the sweep's own.
        lacks_dashboard: whether a dashboard was asked for that did not come up in time.
        forks: what workers are forked from, of an instance of the sweep's own whose trials import much.
    """

    folder: Path
    dashboard_url: str
    token_file: Path | None
    nodes: tuple[Node, ...]
    servers: Mapping[str, psutil.Process] = field(default_factory=dict)
    lacks_dashboard: bool = False
    forks: ForkServer | None = None

    @property
    def cpus(self) -> float:
        """Of the whole cluster."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """Of the whole cluster."""
        return sum(node.gpus for node in self.nodes)


def live_nodes() -> tuple[Node, ...]:
    """The nodes of the cluster that this process is connected to, as they are now."""
    import ray

    return tuple(
        Node(
            node["NodeManagerHostname"] or node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    )


@contextlib.contextmanager
def ray_session(
    name: str, file: Path, dashboard: bool, max_concurrent: int, imports: Sequence[str] = ()
) -> Iterator[RaySession]:
    """Starts Ray, and ends it with every process and file that it made.

    Args:
        name: of the sweep, shown in the dashboard.
        file: that it came from, likewise.
        dashboard: whether to start Ray's dashboard.
        max_concurrent: trials at a time, at most.
        imports: modules that workers import when they start.
    """
    place = place_for_sockets(_LONGEST_SOCKET)
    if place is None:
        raise SweepError(
            f"no folder is suitable for Ray's sockets: a path of at most 107 bytes is allowed, below "
            f"{tempfile.gettempdir()} it "
            f"would be longer, and {', '.join(map(str, SHORT_PLACES))} cannot be written. Set TMPDIR to a shorter path"
        )
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        sockets = folder if folder.parent == place else stack.enter_context(temporary_folder(place))
        yield stack.enter_context(_started(name, file, dashboard, max_concurrent, imports, folder, sockets))


@contextlib.contextmanager
def _started(
    name: str, file: Path, dashboard: bool, max_concurrent: int, imports: Sequence[str], folder: Path, sockets: Path
) -> Iterator[RaySession]:
    """Ray, started with `folder` for what workers write and `sockets` for its own, and ended with all that it made."""
    assert "ray" not in sys.modules, "Ray reads its environment variables when it is imported"
    token = token_file()
    scratch = folder / "tmp"
    scratch.mkdir()
    os.environ.update(
        {
            **tune_environment(max_concurrent),
            **{name: os.environ.get(name, value) for name, value in allocator.ENVIRONMENT.items()},
            # Of Ray's processes and of the workers: what they leave goes with the folder.
            "TMPDIR": str(scratch),
            # Ray's switch for systems whose firewall asks at every open port: all of its ports are then on
            # 127.0.0.1. Without it most of them are on every interface (`_node_ip_address` does not help).
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # Whoever reaches an open Ray can run code as this user.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            **_preloading(max_concurrent, imports),
        }
    )
    # First: it imports while Ray starts.
    forks = ForkServer(sockets, imports) if imports else None
    quieten()
    import ray
    from ray.job_config import JobConfig

    before = children()
    try:
        with _hangup_for_us_alone(), _own_defaults(forks):
            try:
                context = ray.init(
                    address="local",
                    num_cpus=num_cpus(),
                    # None: with a dashboard, and without it where it does not come up. True would end the sweep then.
                    include_dashboard=None if dashboard else False,
                    dashboard_host="127.0.0.1",
                    log_to_driver=False,
                    logging_level="ERROR",
                    configure_logging=False,
                    # A folder inside ours: Ray opens its own to every user, with the sockets of its object store.
                    _temp_dir=str(sockets / "ray"),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    job_config=JobConfig(metadata={"job_name": f"sweep {name}", "sweep": name, "file": str(file)}),
                )
            except Interrupted:
                raise
            except Exception as error:
                # Ray says with bare exceptions that its servers did not come up in time, for example.
                reason = str(error).strip().partition("\n")[0]
                busy = any(word in reason.lower() for word in ("timed out", "timeout", "overload"))
                hint = " The machine may be overloaded, or out of memory or disk." if busy else ""
                raise SweepError(
                    f"Ray did not start: {reason}\nNothing is lost.{hint} Continue with: sweep resume {name}"
                ) from error
        url = f"http://{context.dashboard_url}" if dashboard and context.dashboard_url else ""
        without = dashboard and not url
        yield RaySession(folder, url, token, live_nodes(), servers=servers(), lacks_dashboard=without, forks=forks)
    finally:
        processes = _processes_of_ray(before, sockets)
        _end_without_grace()
        ray.shutdown()
        if forks is not None:
            forks.close()
        end(processes)


def _processes_of_ray(before: Sequence[psutil.Process], sockets: Path) -> list[psutil.Process]:
    """Ray's servers and everything that they started; of a Ray that is half started, all that has come since `before`.

    Ray forgets a dashboard that was not up in time; its command line has the folder `sockets`.

    What others have started meanwhile (a tracker its service, the assistant) is theirs to end.
    """
    import ray

    # Private in Ray, which lists its servers nowhere else.
    node = getattr(ray._private.worker, "_global_node", None)
    servers = getattr(node, "all_processes", None)
    if servers is None:
        return [process for process in children() if process not in before]
    numbers = {server.process.pid for each in servers.values() for server in each}
    found: list[psutil.Process] = []
    for process in psutil.Process().children():
        if process.pid in numbers or _mentions(process, sockets):
            found += [process, *_children_of(process)]
    return found


def _mentions(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in word for word in process.cmdline())
    except psutil.Error:
        return False


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end_without_grace() -> None:
    """Has Ray kill its servers instead of giving each a second to end by itself: they hold nothing to save."""
    import ray

    # Private in Ray. Without it the end takes a second or two longer.
    node = getattr(ray._private.worker, "_global_node", None)
    if node is not None and hasattr(node, "kill_all_processes"):
        kill = node.kill_all_processes
        node.kill_all_processes = lambda **options: kill(**{**options, "allow_graceful": False})


@contextlib.contextmanager
def _own_defaults(forks: ForkServer | None) -> Iterator[None]:
    """Has a Ray that is started inside fork its workers, and leave out what would send their logs to the driver, which
    wants none. Private in Ray; should it be called otherwise one day, Ray starts as it does by itself.
    """
    from ray._private.parameter import RayParams

    take = getattr(RayParams, "update_if_absent", None)
    if take is None:
        yield
        return

    def choose(self: object, **defaults: Any) -> None:
        own: dict[str, Any] = {"include_log_monitor": False}
        if forks is not None:
            own["setup_worker_path"] = ray_worker.__file__
        take(self, **defaults | {name: value for name, value in own.items() if name in defaults})

    if forks is not None:
        os.environ[ray_worker.ADDRESS] = str(forks.address)
    RayParams.update_if_absent = choose
    try:
        yield
    finally:
        RayParams.update_if_absent = take


@contextlib.contextmanager
def _hangup_for_us_alone() -> Iterator[None]:
    """Processes that are started inside never get SIGHUP; one that comes meanwhile is ours after it.

    A closed terminal sends it to all its processes. It would end Ray's servers at once, and a driver without them
    hangs for a minute instead of stopping as it does for Ctrl-C.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _preloading(max_concurrent: int, imports: Sequence[str]) -> dict[str, str]:
    """Has workers import what trials need when they start, before there is a trial.

    Ray starts a worker a CPU with itself. Where most of them would stay idle (trials that each have a GPU, or many
    CPUs), they import when a trial comes: PyTorch takes some 200 MB of each.
    """
    if 2 * max_concurrent < num_cpus():
        return {}
    modules = ("ray.tune", "sweep_runner.execution.worker.loop", *imports)
    return {
        "RAY_preload_python_modules": ",".join(modules),
        # Tune reserves all CPUs and then asks for its workers. In between Ray sees idle workers and no CPU left for
        # them: it ended those that had been idle for a second, and started others, which imported it all again.
        "RAY_idle_worker_killing_time_threshold_ms": str(_IDLE_MS),
    }
