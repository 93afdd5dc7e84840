"""Where Prometheus finds a running sweep: an endpoint behind the user's token, and a file that says where it is."""

from __future__ import annotations

import contextlib
import hmac
import json
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweep_runner.durable import lock_holder, write_atomically
from sweep_runner.results.paths import ResultsPaths, SweepPaths

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

LOOPBACK = "127.0.0.1"


class _Scrape(WSGIRequestHandler):
    """One request: without a line in the terminal, and not for ever when the other side sends nothing."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        pass


@contextlib.contextmanager
def metrics_endpoint(
    collector: Collector, paths: SweepPaths, listen: bool | str, token_file: Path, warn: Callable[[str], None]
) -> Iterator[str]:
    """Answers scrapes in threads of its own, and says in the sweep's targets file where.

    Args:
        collector: what is told.
        paths: of the sweep's folder.
        listen: `HOST:PORT`; True: a free port of this machine alone; False: nowhere.
        token_file: whoever asks must send what is in it (`Authorization: Bearer ...`).
        warn: told why there is no endpoint, when it cannot be had; the sweep goes on.

    Yields:
        Its address; empty when there is none.
    """
    remove_dead_targets(ResultsPaths(paths.root.parent))
    try:
        host, port = _split(listen) if isinstance(listen, str) else (LOOPBACK, 0)
        server = _serve(collector, host, port, token_file.read_text(encoding="ascii").strip()) if listen else None
    except (OSError, OverflowError) as error:
        warn(f"metrics: {listen}: cannot start the Prometheus endpoint ({getattr(error, 'strerror', None) or error})")
        server = None
    if server is None:
        yield ""
        return
    address = f"{_reachable(host)}:{server.server_port}"
    # Looks that often whether it is to end: what a sweep waits for at its end.
    threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True).start()
    try:
        _write_target(paths, address, warn)
        yield f"http://{address}/metrics"
    finally:
        _remove(paths.metrics_target)
        server.shutdown()
        server.server_close()


def remove_dead_targets(results: ResultsPaths) -> None:
    """Removes what killed sweeps have left: Prometheus would go on asking them."""
    for file in results.metrics.glob("*.json"):
        if lock_holder(results.sweep(file.stem).lock) is None:
            _remove(file)


def _serve(collector: Collector, host: str, port: int, token: str) -> WSGIServer:
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer

    registry = CollectorRegistry()
    registry.register(collector)
    answer = make_wsgi_app(registry)
    wanted = f"Bearer {token}".encode()

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if hmac.compare_digest(environ.get("HTTP_AUTHORIZATION", "").encode(), wanted):
            return answer(environ, start_response)  # type: ignore[no-any-return]
        start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
        return [b"the token is missing or wrong: see `sweep metrics`\n"]

    return make_server(host, port, guarded, ThreadingWSGIServer, _Scrape)


def _remove(target: Path) -> None:
    with contextlib.suppress(OSError):  # gone, or another user's
        target.unlink()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _reachable(host: str) -> str:
    """The host by which others reach what listens there."""
    return platform.node() if host in ("0.0.0.0", "") else host


def _write_target(paths: SweepPaths, address: str, warn: Callable[[str], None]) -> None:
    # `instance` in place of the address, which is another one after each resume: the series go on.
    content = [{"targets": [address], "labels": {"instance": paths.name}}]
    try:
        paths.metrics_target.parent.mkdir(exist_ok=True)
        write_atomically(paths.metrics_target, json.dumps(content).encode())
    except OSError as error:
        warn(f"metrics: Prometheus cannot find the sweep by itself, {paths.metrics_target}: {error.strerror or error}")
