"""`sweep dashboard`: optuna-dashboard on a sweep's study."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socketserver
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import ResultsPaths
from trainables.extras import install_command

LOOPBACK = "127.0.0.1"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers requests at the same time: browsers open connections ahead that one at a time would wait for."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """No line a request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        pass


@click.command()
@click.argument("name")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port, on this machine only; 0 takes a free one.",
)
@common_options
def dashboard(name: str, port: int, results: ResultsPaths, out: Out) -> None:
    """Open the study of the sweep NAME in optuna-dashboard, on this machine only.

    It shows a copy of the study: changes there do not reach the sweep, which may be running. Start it again to see new
    trials. Ctrl-C stops it.

    \b
    Examples:
      sweep dashboard voc-crops
      sweep dashboard voc-crops --port 8081
    """
    from sweep_runner.results.lookup import find_sweep

    paths = find_sweep(results, name)
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise RequestError("optuna-dashboard is not installed", hint=f"Install it: {install_command('dashboard')}")
    if not paths.study.is_file():
        raise RequestError(f"{paths.study} is missing: the sweep has no study yet")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna_dashboard import wsgi

    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="sweep-dashboard-") as folder:
        copy = Path(folder) / "study.journal"
        shutil.copyfile(paths.study, copy)
        content = copy.read_bytes()
        copy.write_bytes(content[: content.rfind(b"\n") + 1])  # the last line may be half written
        pages = wsgi(JournalStorage(JournalFileBackend(str(copy))))
        try:
            server = make_server(LOOPBACK, port, pages, _Server, _Silent)
        except OSError as error:
            raise SweepError(f"port {port}: {error.strerror or error}; choose another with --port") from error
        with server:
            out.say(f"http://{LOOPBACK}:{server.server_port}/   (Ctrl-C stops it)")
            with suppress(KeyboardInterrupt):
                server.serve_forever()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """`kill` and a closed terminal end the command as Ctrl-C does, so that the copy is removed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A shell starts what it puts in the background with SIGINT ignored; whoever sends one means it.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
