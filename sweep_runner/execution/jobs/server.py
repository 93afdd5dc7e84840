"""The Jobs API of a cluster: found, asked with the right token, or refused in words within seconds."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweep_runner.errors import RequestError
from sweep_runner.execution.ray_runtime.token import cluster_token_file, token_hint

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_PROBE_TIMEOUT_S = 5.0
_ANOTHER_ADDRESS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray's client would follow instead of the address that it is given."""

_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
"""Loggers of Ray's that tell of every upload and of every connection that is closed."""


@dataclass(frozen=True)
class Token:
    """What a cluster wants to see, and where it was found.

    Attributes:
        value: empty when there is none.
        source: the variable or the file; empty when there is none.
    """

    value: str
    source: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}


def find_token() -> Token:
    """The token that a cluster is shown: `RAY_AUTH_TOKEN`, or that of a file (`ray_runtime/token.py` says which).

    Raises:
        RequestError: the file that is named cannot be read.
    """
    if value := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return Token(value, "$RAY_AUTH_TOKEN")
    path = cluster_token_file()
    if path is None:
        return Token("", "")
    try:
        return Token(path.read_text(encoding="utf-8").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(
            f"{path}: the token for the cluster cannot be read ({reason})",
            hint="Set RAY_AUTH_TOKEN_PATH to a file that holds it.",
        ) from error


def connect(address: str) -> JobSubmissionClient:
    """A client for the Jobs API at an address, which answers and takes our token.

    Args:
        address: of the cluster's dashboard, `http://HOST:8265`; the `http://` may be left out.

    Raises:
        RequestError: no address, nothing answers there, something else does, or it refuses the token.
    """
    url = _url(address)
    token = find_token()
    _probe(url, token)
    with _without(_ANOTHER_ADDRESS):
        from ray.job_submission import JobSubmissionClient

        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        # Ray's client waits for ever where a server takes a request and says nothing: it was asked just now.
        return JobSubmissionClient(url, headers=token.headers)


def _url(address: str) -> str:
    text = address.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise RequestError(
            f"--address {address}: not the address of a dashboard",
            hint="Example: http://HOST:8265, the port of Ray's dashboard, which serves the Jobs API.",
        )
    return f"{parts.scheme}://{parts.netloc}"


def _probe(url: str, token: Token) -> None:
    """Asks for Ray's version: the quickest request that needs the token."""
    import requests

    hint = "Give the dashboard of the cluster's head node: --address http://HOST:8265"
    try:
        answer = requests.get(f"{url}/api/version", headers=token.headers, timeout=_PROBE_TIMEOUT_S)
    except requests.exceptions.Timeout as error:
        raise RequestError(f"{url}: no answer within {_PROBE_TIMEOUT_S:g} s", hint=f"{hint} (a firewall?)") from error
    except requests.exceptions.ConnectionError as error:
        if "BadStatusLine" in str(error):  # Ray's own port, for example
            raise RequestError(f"{url}: the server is not Ray's dashboard", hint=hint) from error
        raise RequestError(
            f"{url}: nothing answers there ({_reason(error)})",
            hint=f"{hint}\n    From another network, use a tunnel: ssh -L 8265:127.0.0.1:8265 HOST",
        ) from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise RequestError(f"{url}: the server is not Ray's dashboard ({_reason(error)})", hint=hint) from error
    if answer.status_code == 401:
        raise RequestError(
            f"{url}: the cluster requires a token: {token_hint()} (401)",
            hint="Set RAY_AUTH_TOKEN_PATH to a file that holds the cluster's, or RAY_AUTH_TOKEN.",
        )
    if answer.status_code == 403:
        raise RequestError(
            f"{url}: the cluster refuses the token: {token_hint()} (403)",
            hint="Set RAY_AUTH_TOKEN_PATH to a file that holds the cluster's, or RAY_AUTH_TOKEN.",
        )
    if not _is_ray(answer):
        raise RequestError(f"{url}: the server is not Ray's dashboard (status {answer.status_code})", hint=hint)


def _is_ray(answer: Any) -> bool:
    try:
        return answer.status_code == 200 and "ray_version" in answer.json()
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    """The system's own words, which requests wraps several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        nested = getattr(inner, "reason", None)
        inner = next((each for each in (nested, *inner.args, inner.__cause__) if isinstance(each, BaseException)), None)
    return str(error).partition("\n")[0]


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
