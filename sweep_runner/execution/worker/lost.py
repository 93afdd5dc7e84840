"""Why a worker is gone: by itself, or because its node or the way to it is. Only the first counts against its trial."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ACTOR = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True)
class Loss:
    """Why a worker was lost.

    Attributes:
        reason: in words.
        of_node: whether its node was lost, or could not be reached any more: no fault of the trial.
    """

    reason: str
    of_node: bool = False


def why_lost(trial: Any) -> Loss:
    """Why a trial of Tune ended with an error that our worker did not report."""
    # Tune keeps the error as text beside its trial; the object itself it gives to nobody here.
    path = Path(trial.error_file or "")
    return loss_of(path.read_text(encoding="utf-8") if path.is_file() else "")


def loss_of(text: str) -> Loss:
    """What Ray's words of a dead actor come to."""
    if "OutOfMemoryError" in text or "out of memory" in text.lower() or "memory pressure" in text:
        return Loss("out of host memory: Ray's memory monitor ended the worker process")
    # Of a worker that died alone, its node says so. Who says nothing is no node any more, or cannot be heard.
    if "node has died" in text or "node was dead" in text or "node was terminated" in text or "NodeDiedError" in text:
        return Loss(f"its node{_where(text)} was lost", of_node=True)
    if ("is unavailable" in text or "ActorUnavailableError" in text) and _has_other_nodes():
        return Loss(f"the connection to its node{_where(text)} was lost", of_node=True)
    if "ActorDiedError" in text or "actor died" in text or "ActorUnavailableError" in text or "is unavailable" in text:
        return Loss("the worker process died (killed, crashed, or out of memory)")
    lines = [line for line in text.splitlines() if line.strip()]
    return Loss(f"the worker was lost: {lines[-1] if lines else 'Tune gives no reason'}")


def _has_other_nodes() -> bool:
    """Whether there is, or was, a node beside this one: an instance of the sweep's own ends as a whole."""
    import ray

    return ray.is_initialized() and len(ray.nodes()) > 1


def _where(text: str) -> str:
    """The node that an actor of this name ran on: ` 10.0.0.7 (gpu-3)`; empty when Ray does not say."""
    import ray

    actor = _ACTOR.search(text)
    if actor is None or not ray.is_initialized():
        return ""
    # Private in Ray: its public way to the same needs the dashboard.
    known = ray._private.state.actors(actor[0]) or {}
    there = known.get("Address", {}).get("NodeID")
    for node in ray.nodes():
        if node["NodeID"] == there:
            address, name = node["NodeManagerAddress"], node["NodeManagerHostname"]
            return f" {address}" if name in ("", address) else f" {address} ({name})"
    return ""
