"""From what the sweep file asks for to what a trial gets on this cluster."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweep_runner.errors import RequestError
from sweep_runner.spec.model import Resources


@dataclass(frozen=True)
class Slot:
    """What a trial gets.

    Attributes:
        cpus: Ray's CPUs, of each worker.
        gpus: Ray's GPUs, of each worker.
        num_threads: CPU threads of each worker.
        max_concurrent: trials at a time.
    """

    cpus: float
    gpus: float
    num_threads: int
    max_concurrent: int


def resolve(resources: Resources, cpus: float, gpus: float) -> Slot:
    """Fits a request to a cluster.

    Args:
        resources: as asked for; `auto` is decided here.
        cpus: that the cluster has.
        gpus: that the cluster has.

    Raises:
        RequestError: a trial could never be placed.
    """
    wanted_gpus = (1.0 if gpus else 0.0) if resources.gpus == "auto" else float(resources.gpus)
    for what, wanted, there in (("cpus", resources.cpus, cpus), ("gpus", wanted_gpus, gpus)):
        if wanted * resources.workers > there:
            raise RequestError(
                f"resources: a trial asks for {wanted:g} {what} × {resources.workers} worker(s), "
                f"but there are {there:g} in all: it could never start",
                hint=f"lower resources.{what} (or resources.workers), for example with --set resources.{what}=...",
            )
    fits = math.floor(cpus / (resources.cpus * resources.workers) + 1e-9)
    if wanted_gpus:
        fits = min(fits, _fit_gpus(gpus, wanted_gpus) // resources.workers)
    limit = fits if resources.max_concurrent == "auto" else min(fits, resources.max_concurrent)
    return Slot(resources.cpus, wanted_gpus, max(1, int(resources.cpus)), max(1, limit))


def most_at_a_time(resources: Resources, cpus: float) -> int:
    """How many trials may run at a time on this machine, before Ray says what it has."""
    fits = max(1, math.floor(cpus / (resources.cpus * resources.workers) + 1e-9))
    return fits if resources.max_concurrent == "auto" else min(fits, resources.max_concurrent)


def _fit_gpus(there: float, wanted: float) -> int:
    """How many requests fit: fractions share one GPU each, whole ones take whole GPUs."""
    if wanted < 1:
        return math.floor(there) * math.floor(1 / wanted + 1e-9)
    return math.floor(there / wanted + 1e-9)
