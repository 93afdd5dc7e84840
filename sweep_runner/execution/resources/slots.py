"""From what the sweep file asks for to what a trial gets on this cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweep_runner.errors import RequestError
from sweep_runner.spec.model import Resources


@dataclass(frozen=True)
class Node:
    """One machine of the cluster.

    Attributes:
        name: its name or address.
        cpus: Ray's CPUs there.
        gpus: Ray's GPUs there.
    """

    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Slot:
    """What a trial gets.

    Attributes:
        cpus: Ray's CPUs, of each worker.
        gpus: Ray's GPUs, of each worker.
        num_threads: CPU threads of each worker.
        max_concurrent: trials at a time.
        max_workers: workers at a time, of all trials together.
    """

    cpus: float
    gpus: float
    num_threads: int
    max_concurrent: int
    max_workers: int


def resolve(resources: Resources, nodes: Sequence[Node], workers: Sequence[int] = ()) -> Slot:
    """Fits a request to a cluster. A worker needs one node to have room for it; a trial's workers may be on several.

    Args:
        resources: as asked for; `auto` is decided here.
        nodes: that the cluster has.
        workers: how many a trial can have, where not all have `resources.workers`.

    Raises:
        RequestError: a trial could never be placed.
    """
    wanted_gpus = (1.0 if any(node.gpus for node in nodes) else 0.0) if resources.gpus == "auto" else resources.gpus
    numbers = workers or (resources.workers,)
    most = max(numbers)
    places = sum(_fit(node, resources.cpus, wanted_gpus) for node in nodes)
    if places < most:
        workers_text = "one worker" if most == 1 else f"{most} workers, each"
        room = "for none" if not places else f"for {places} of them"
        raise RequestError(
            f"resources: a trial asks for {workers_text} with {_amounts(resources.cpus, wanted_gpus)} on one node, and "
            f"there is room {room}: no trial can start. Available: {_listed(nodes)}",
            hint=_what_to_lower(resources.cpus, wanted_gpus, most, nodes),
        )
    # Workers are all of one size: as long as there are places, they can be had whatever the others are taken by.
    fits = places // min(numbers)
    limit = fits if resources.max_concurrent == "auto" else min(fits, resources.max_concurrent)
    return Slot(resources.cpus, wanted_gpus, resources.num_threads, max(1, limit), places)


def most_at_a_time(resources: Resources, cpus: float, workers: int) -> int:
    """How many trials of so many workers may run at a time on this machine, before Ray says what it has."""
    fits = max(1, math.floor(cpus / (resources.cpus * workers) + 1e-9))
    return fits if resources.max_concurrent == "auto" else min(fits, resources.max_concurrent)


def _fit(node: Node, cpus: float, gpus: float) -> int:
    """How many workers a node has room for."""
    fits = math.floor(node.cpus / cpus + 1e-9)
    return min(fits, _fit_gpus(node.gpus, gpus)) if gpus else fits


def _fit_gpus(there: float, wanted: float) -> int:
    """How many requests fit: fractions share one GPU each, whole ones take whole GPUs."""
    if wanted < 1:
        return math.floor(there) * math.floor(1 / wanted + 1e-9)
    return math.floor(there / wanted + 1e-9)


def _amounts(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'}" + (f" and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus else "")


def _listed(nodes: Sequence[Node]) -> str:
    """The nodes by what they have: `2 nodes with 4 CPUs and 1 GPU, 1 node with 8 CPUs`."""
    kinds: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: (node.gpus, node.cpus), reverse=True):
        kind = _amounts(node.cpus, node.gpus)
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{count} node{'s' if count > 1 else ''} with {kind}" for kind, count in kinds.items())


def _what_to_lower(cpus: float, gpus: float, most: int, nodes: Sequence[Node]) -> str:
    for what, wanted, there in (
        ("cpus", cpus, max(node.cpus for node in nodes)),
        ("gpus", gpus, max(node.gpus for node in nodes)),
    ):
        if wanted > there:
            return f"no node has {wanted:g} {what}: lower resources.{what}, for example with --set resources.{what}=..."
    other = "workers" if most > 1 else "gpus" if gpus else "cpus"
    return f"lower resources.{other}, for example with --set resources.{other}=..."
