"""A Ray instance of this sweep's own: started quietly, listening on this machine only, gone without a trace."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import platformdirs
import psutil

from sweep_runner.errors import Interrupted, SweepError

_logger = logging.getLogger(__name__)

_PREFIX = "sweep-ray-"
_OWNER = "owner.json"
_OWNERLESS_S = 60.0
_OBJECT_STORE_BYTES = 128 * 1024**2
"""Nothing large goes through Ray's object store: data lies in files that the workers map."""


@dataclass(frozen=True)
class RaySession:
    """A running Ray instance.

    Attributes:
        folder: temporary, removed at the end; everything that Ray writes is in it.
        dashboard_url: where the dashboard is, empty without one.
        token_file: holds the token that the dashboard asks for; readable by this user only.
        cpus: of the cluster.
        gpus: of the cluster.
    """

    folder: Path
    dashboard_url: str
    token_file: Path
    cpus: float
    gpus: float


@contextlib.contextmanager
def ray_session(name: str, dashboard: bool, max_concurrent: int) -> Iterator[RaySession]:
    """Starts Ray, and ends it with every process and file that it made.

    Args:
        name: of the sweep, shown in the dashboard.
        dashboard: whether to start Ray's dashboard.
        max_concurrent: trials at a time, at most.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        _write_owner(folder)
        with _started(name, dashboard, max_concurrent, folder) as session:
            yield session
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(name: str, dashboard: bool, max_concurrent: int, folder: Path) -> Iterator[RaySession]:
    """Ray, started with `folder` for whatever it writes, and ended with every process that it made."""
    assert "ray" not in sys.modules, "Ray reads its environment variables when it is imported"
    token_file = _token_file()
    scratch = folder / "tmp"
    scratch.mkdir()
    os.environ.update(
        {
            **_tune_environment(max_concurrent),
            # Of Ray's processes and of the workers: what they leave goes with the folder.
            "TMPDIR": str(scratch),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's switch for systems whose firewall asks at every open port: all of its ports are then on
            # 127.0.0.1. Without it most of them are on every interface (`_node_ip_address` does not help).
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # Without this a worker that asks for no GPU sees all of them.
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
            "RAY_IGNORE_UNHANDLED_ERRORS": "1",
            # Whoever reaches an open Ray can run code as this user.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
        }
    )
    import ray
    from ray.job_config import JobConfig

    logging.getLogger("ray").setLevel(logging.ERROR)
    # Two private places in Ray: it would put a handler of its own in place of ours, which ends the process without a
    # word, and print to stdout (where our results go) what it thinks of every worker that died.
    ray._private.utils.set_sigterm_handler = lambda handler: None
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: _logger.debug("%s", data["lines"])
    try:
        with _hangup_for_us_alone():
            try:
                context = ray.init(
                    address="local",
                    include_dashboard=dashboard,
                    dashboard_host="127.0.0.1",
                    log_to_driver=False,
                    logging_level="ERROR",
                    configure_logging=False,
                    # A folder inside ours: Ray opens its own to every user, with the sockets of its object store.
                    _temp_dir=str(folder / "ray"),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    job_config=JobConfig(metadata={"job_name": f"sweep {name}", "sweep": name}),
                )
            except Interrupted:
                raise
            except Exception as error:
                # Ray says with bare exceptions that its servers did not come up in time, for example.
                reason = str(error).strip().partition("\n")[0]
                raise SweepError(
                    f"Ray did not start: {reason}\nThe machine may be overloaded, or out of memory or disk. "
                    f"Nothing is lost; when it has recovered: sweep resume {name}"
                ) from error
        resources = ray.cluster_resources()
        url = f"http://{context.dashboard_url}" if dashboard and context.dashboard_url else ""
        yield RaySession(folder, url, token_file, resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        children = _children()
        ray.shutdown()
        _end(children)


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


def _tune_environment(max_concurrent: int) -> dict[str, str]:
    """The environment variables that make Tune quiet, keep no snapshots, and keep N workers N."""
    return {
        # A finished trial's worker takes the next trial at once. If Tune knew of one pending trial only, that
        # would be one whose own worker is still starting; Tune would cancel the start, and with trials
        # shorter than a start all of them would end up in one process.
        "TUNE_MAX_PENDING_TRIALS_PG": str(max_concurrent),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
        # Long enough for a stopped trial to clean up in its `finally` before its worker is reused.
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }


def _token_file() -> Path:
    """The token of this user's Ray instances: made once, so that a browser that was told it stays welcome.

    A file of our own, because Ray makes the one that it uses by itself readable for everybody.
    """
    own = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if own:
        return Path(own)
    path = platformdirs.user_config_path("sweep-runner") / "ray-token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32), encoding="ascii")
        partial.replace(path)
    return path


def remove_leftovers(own: bool = False) -> None:
    """Removes the temporary folders of sweeps that were killed before they could.

    Args:
        own: those of this process instead, which is about to end.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if owner_is_alive(folder) is own and (not own or _owner(folder)["pid"] == os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)


def owner_is_alive(folder: Path) -> bool | None:
    """Whether the process that made a temporary folder lives; None when the folder does not say (or not to us)."""
    try:
        owner = _owner(folder)
        return bool(psutil.Process(owner["pid"]).create_time() == owner["created"])
    except psutil.NoSuchProcess:
        return False
    except FileNotFoundError:
        # Being made at this moment; or made again by a process of a killed sweep, after its folder was removed.
        with contextlib.suppress(OSError):
            return False if time.time() - folder.stat().st_mtime > _OWNERLESS_S else None
        return None
    except (OSError, ValueError, KeyError):
        # No readable owner: being made at this moment, or another user's.
        return None


def _owner(folder: Path) -> dict[str, Any]:
    owner: dict[str, Any] = json.loads((folder / _OWNER).read_text())
    return owner


def _write_owner(folder: Path) -> None:
    owner = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (folder / _OWNER).write_text(json.dumps(owner))


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _end(processes: list[psutil.Process]) -> None:
    """Ends those of Ray's processes that have not gone by themselves: some take 5 s, and hold nothing to save."""
    _, alive = psutil.wait_procs(processes, timeout=0.2)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


_KILL_PATIENCE_S = 3.0


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP into one polite request to stop; a second one ends the process.

    Made before Ray starts, which would otherwise install handlers of its own; `install` again after.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.received: signal.Signals | None = None
        self.on_stop = on_stop
        self._first_s = 0.0
        self._park: Callable[[], None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            previous = signal.signal(number, self._handle)
            self._previous.setdefault(number, previous)

    def restore(self) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    @contextlib.contextmanager
    def ending_at_once(self, leave: Callable[[signal.Signals], None]) -> Iterator[None]:
        """While this is open, a signal ends the process from a thread of its own.

        For the time in which Ray starts: the main thread is in Ray's hands then, for seconds, and an exception that is
        raised there by a handler is taken for one of Ray's own, or meets its native part half made.

        Args:
            leave: records and tells that it was stopped. Called in that thread, while the main thread stands still
                (or is in native code); the process ends after it, with all that it started.
        """
        ours, kernels = socket.socketpair()
        kernels.setblocking(False)
        ending = threading.Lock()
        closed = threading.Event()
        parked = threading.Event()

        def watch() -> None:
            number = ours.recv(1)[0]
            if not number:
                return
            with ending:
                if closed.is_set():
                    return
                self._first_s = time.monotonic()
                self.received = signal.Signals(number)
                # It stands still in our handler, unless native code keeps it: that starts no processes.
                parked.wait(0.3)
                try:
                    leave(self.received)
                finally:
                    self._end_process()

        def park() -> None:
            parked.set()
            threading.Event().wait()

        self._park = park
        previous = signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=watch, name="stop signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._park = None
            with ending:  # for ever, when the watcher is at work
                closed.set()
            signal.set_wakeup_fd(previous)
            with contextlib.suppress(OSError):
                kernels.send(b"\0")
            watcher.join()
            ours.close()
            kernels.close()

    def _end_process(self) -> None:
        """Ends this process at once, with every process and temporary file that it made."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while (processes := _children()) and time.monotonic() < deadline:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=1)
        remove_leftovers(own=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A closed terminal can send SIGHUP and SIGINT together: only a second one after a while is meant.
        if self.received is not None and time.monotonic() - self._first_s > 0.5:
            self._end_process()
        if self._park is not None:
            self._park()
        if self.received is None:
            self.received = signal.Signals(number)
            self._first_s = time.monotonic()
            self.on_stop()
