"""Whether there is a Ray cluster at an address that this user may use: known in a second, with a reason if not.

Ray itself waits 20 s for a wrong token, and 40 s for a wrong address, and says of both that it could not connect.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Any

import psutil

from sweep_runner.errors import RequestError
from sweep_runner.execution.ray_runtime.token import cluster_token_file, token_hint

_PATIENCE_S = 5.0
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of gRPC says first: the preface of HTTP/2 and empty settings (RFC 9113, 3.4)."""
_SETTINGS = 4
_HOW_TO_START = "ray start --head on the head, ray start --address HEAD:6379 on the others"


@dataclass(frozen=True)
class Reached:
    """A cluster that can be used.

    Attributes:
        address: of its head, `HOST:PORT`.
        node: this machine's address as a node of it.
    """

    address: str
    node: str


def reach(address: str) -> Reached:
    """Makes sure that a cluster answers there, takes our token, and has this machine as a node.

    Call it when Ray's environment is set (`attach.look_for` does that).

    Args:
        address: `HOST:PORT` or `auto`.

    Raises:
        RequestError: there is none, it wants another token, or this machine is none of its nodes.
    """
    _look_at_token()
    found = _find() if address == "auto" else address
    _look_for_server(found)
    nodes = _nodes(found)
    ours = _own_addresses()
    theirs = [node["NodeManagerAddress"] for node in nodes if node["Alive"]]
    if not ours & set(theirs):
        raise RequestError(
            f"cluster.address: this machine ({', '.join(sorted(ours)) or 'without a network'}) is not a node of the "
            f"cluster at {found}, whose nodes are {_some(theirs)}: a sweep must run on one of them",
            hint="Run the command on one of the nodes, make this machine one (ray start --address "
            f"{found} --num-cpus 0), or submit the sweep with sweep submit.",
        )
    return Reached(found, next(node for node in theirs if node in ours))


def _look_at_token() -> None:
    path = cluster_token_file()
    if path is None:
        return
    try:
        if path.read_text().strip():
            return
        reason = "is empty"
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise RequestError(
        f"the file {path}, which is to hold the cluster's token, {reason}",
        hint="RAY_AUTH_TOKEN_PATH names it; it is the file with which the cluster was started.",
    )


def _find() -> str:
    """The address of this machine's cluster, as Ray finds it: RAY_ADDRESS, the last `ray start`, running processes."""
    from ray._private import services

    try:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except Exception as error:
        # ConnectionError for none and for several; whatever the address in RAY_ADDRESS leads to.
        reason = str(error).partition(" Please")[0] or type(error).__name__
        raise RequestError(
            f"cluster.address is auto, but no Ray cluster runs on this machine: {reason}",
            hint=f"Start one ({_HOW_TO_START}), or name it: --address HOST:PORT. Without --address the sweep starts "
            f"its own instance.",
        ) from error


def _look_for_server(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.sendall(_HTTP2)
            answer = connection.recv(9)
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise RequestError(
            f"cluster.address is {address}: nothing is reachable there ({reason})",
            hint=f"A cluster is started with {_HOW_TO_START}; `ray status` on a node says whether it runs. "
            "A firewall must let the port through (docs/cluster.md has the list).",
        ) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise RequestError(
            f"cluster.address is {address}: the server there is not a Ray head"
            + (" but a web server" if answer.startswith(b"HTTP/") else ""),
            hint="Give the port of ray start --port (6379 by default), not that of the dashboard (8265).",
        )


def _nodes(address: str) -> list[dict[str, Any]]:
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # native

    try:
        # Private in Ray; its public ways in try again for 20 s, whatever they were answered.
        with _quiet():
            client = GcsClient(address=address)
        infos = client.get_all_node_info(timeout=_PATIENCE_S)
    except ray.exceptions.AuthenticationError as error:
        raise RequestError(
            f"cluster.address: the cluster at {address} rejects the token: {token_hint()}",
            hint="The token is that with which the cluster was started: set RAY_AUTH_TOKEN_PATH to a file that holds "
            "it (mode 0600), or RAY_AUTH_TOKEN to the token itself.",
        ) from error
    except ray.exceptions.RayError as error:
        raise RequestError(
            f"cluster.address: the cluster at {address} does not answer: {str(error).partition(chr(10))[0]}",
            hint="Run `ray status` on its head for details.",
        ) from error
    alive = ray.core.generated.gcs_pb2.GcsNodeInfo.GcsNodeState.ALIVE
    return [{"NodeManagerAddress": info.node_manager_address, "Alive": info.state == alive} for info in infos.values()]


@contextlib.contextmanager
def _quiet() -> Any:
    """Keeps Ray's native part from writing to stderr what is told in our own words."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, for its descriptor
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _own_addresses() -> set[str]:
    families = (socket.AF_INET, socket.AF_INET6)
    every = [item.address for items in psutil.net_if_addrs().values() for item in items if item.family in families]
    return {address.partition("%")[0] for address in every}


def _some(addresses: list[str], most: int = 5) -> str:
    def order(address: str) -> tuple[int, int | str]:
        with contextlib.suppress(ValueError):
            return (0, int(ipaddress.ip_address(address)))
        return (1, address)

    shown = sorted(addresses, key=order)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) or "none") + more
