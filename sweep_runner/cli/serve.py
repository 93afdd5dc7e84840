"""`sweep serve`: an exported model behind a small HTTP endpoint."""

from __future__ import annotations

import errno
import importlib.util
import os
import secrets
import socket
from contextlib import suppress

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.cli.model import find_model
from sweep_runner.cli.trial_name import model_trial_option
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import ResultsPaths
from trainables.cpus import num_cpus
from trainables.extras import install_command

_HELD_BYTES = 400_000_000
"""Of pictures that are sent and worked on at a time."""
_CONNECTIONS = 2048
"""Beyond, a request is answered 503 at once."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.argument("model", metavar="MODEL[/TRIAL]")
@model_trial_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any but this machine's own needs a token.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Maximum number of images per batch.",
)
@click.option(
    "--max-wait-ms",
    type=click.FloatRange(0, 1000),
    default=5.0,
    show_default=True,
    help="Time to wait for other images that are being decoded; a single one does not wait.",
)
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=20_000_000, show_default=True, help="Size limit of a file."
)
@click.option(
    "--max-pixels", type=click.IntRange(min=1), default=50_000_000, show_default=True, help="Size limit of an image."
)
@common_options
def serve(
    model: str,
    host: str,
    port: int,
    max_batch: int,
    max_wait_ms: float,
    max_bytes: int,
    max_pixels: int,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Serve an exported model over HTTP: POST an image to /predict.

    Only this machine can reach it, unless --host is set. An image is the request's body, or a file of a form. The curl
    command is printed at the start.

    MODEL is as for `sweep predict`. /health and /labels describe the model, /docs the API. With --host,
    requests need the token in $SWEEP_TOKEN; without one, a token is generated and printed.

    \b
    Examples:
      sweep serve quickstart
      sweep serve results/voc-crops/best --port 8001 --max-batch 64
    """
    missing = [name for name in ("fastapi", "python_multipart", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(f"{' and '.join(missing)}: not installed", hint=f"Install it: {install_command('serve')}")
    import uvicorn

    from trainables.image.deployment.serve import Limits, curl, make_app
    from trainables.image.package import load_package

    num_threads = num_cpus()
    package = load_package(find_model(model, results), num_threads, shares_cpus=True)
    if package.facts.shown:
        out.warn(f"this model was trained on {package.facts.shown}: its answer to a whole photo means nothing")
    token = os.environ.get("SWEEP_TOKEN") or None
    if host not in LOOPBACK and token is None:
        token = secrets.token_urlsafe(24)
        out.warn(f"{host} is reachable from other machines. Requests need this header: Authorization: Bearer {token}")
    limits = Limits(
        max_batch,
        max_wait_ms / 1000,
        max_bytes,
        max_pixels,
        max_held_bytes=max(max_bytes, _HELD_BYTES),
        num_decoders=num_threads,
    )
    app = make_app(package, limits, token, None if token else {*LOOPBACK, host})
    with _listening(host, port) as listening, suppress(KeyboardInterrupt):
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/"
        out.say(f"{package.path}: {address}predict   (Ctrl-C ends it)")
        out.say(f"  {curl(address, token=token is not None)}")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", limit_concurrency=_CONNECTIONS)).run(
            sockets=[listening]
        )


def _listening(host: str, port: int) -> socket.socket:
    """The socket to answer on.

    Raises:
        RequestError: the host's name is unknown.
        SweepError: the port is taken or not allowed, or the host is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
        # asyncio sends at once only on sockets that name their protocol, which these do not: without it each answer on
        # a connection that stays open waits 40 ms for the client's acknowledgement of its headers.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except socket.gaierror as error:
        raise RequestError(f"--host {host}: {error.strerror}", hint="Use an address of this machine.") from error
    except OSError as error:
        hint = "choose another with --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "check --host"
        raise SweepError(f"{host}, port {port}: {os.strerror(error.errno or 0)}; {hint}") from error
