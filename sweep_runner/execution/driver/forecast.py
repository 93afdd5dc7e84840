"""What a sweep will need on disk, said before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweep_runner.execution.keeper.retention import num_kept
from sweep_runner.execution.resources.slots import most_at_a_time
from sweep_runner.spec.plan import Plan
from sweep_runner.spec.strategies import Promotion
from trainables.contract import DiskUse
from trainables.cpus import num_cpus
from trainables.quantities import size_text

_WHILE_RUNNING = 4
"""Checkpoints of a running trial: its best, its last, the one before, and the one that is being written."""

_WHILE_PAUSED = 3
"""Checkpoints of a paused trial: its best, its last, and the one before."""

_OF_A_SOUP = 5
"""Its weights, those that are tried, and its own package, which like every one holds weights and an ONNX file."""

_OF_A_MODEL = 5
"""Of an ensemble: in its checkpoint, and in the package that it is tried with and, where it is, published."""

_PACKAGES = 2  # the new one is complete before the old one goes


@dataclass(frozen=True)
class Forecast:
    """How the room on disk compares with what a sweep needs.

    Attributes:
        lines: for the plan that the user sees.
        needed_bytes: the most that checkpoints and package take together; None: not known.
        free_bytes: on the disk of the results.
        warning: what the user should do, when the room will not do.
    """

    lines: tuple[str, ...]
    needed_bytes: int | None
    free_bytes: int
    warning: str = ""


def forecast(plan: Plan, folder: Path) -> Forecast:
    """Compares what checkpoints, package and cache of a sweep come to with the room that there is.

    Args:
        plan: the checked sweep.
        folder: of the sweep; it need not be there yet.
    """
    spec = plan.spec
    free, wanted = _free_bytes(folder), spec.resources.min_free_disk
    use = plan.trainable(plan.data, folder / "data").disk_use(plan.candidates)
    if use is None:
        line = f"{size_text(free)} free in {folder} (the size of a checkpoint is unknown for this trainable or model)"
        return Forecast((line,), None, free, _too_little(free, wanted, 0, folder))
    running = min(most_at_a_time(spec.resources, num_cpus(), min(plan.workers)), plan.num_trials)
    kept = min(num_kept(spec) + (len(spec.baselines) if spec.keep.baselines else 0), plan.num_trials)
    paused = min(spec.keep.paused, plan.num_trials) if isinstance(spec.pruner, Promotion) else 0
    packages = use.package_bytes * _PACKAGES if spec.export.formats else 0
    made = use.package_bytes * (_OF_A_SOUP * bool(spec.export.soup) + _OF_A_MODEL * (spec.export.ensemble or 0))
    needed = use.checkpoint_bytes * (_WHILE_RUNNING * running + _WHILE_PAUSED * paused + kept) + packages + made
    lines = (
        f"needs up to {size_text(needed)} of {size_text(free)} free in {folder}: "
        f"{running} running trials × {_WHILE_RUNNING} checkpoints + "
        + (f"{paused} paused × {_WHILE_PAUSED} + " if paused else "")
        + f"{kept} kept, {size_text(use.checkpoint_bytes)} each"
        + (f", and {size_text(packages)} for the model package" if packages else "")
        + (f", {size_text(made)} for soup and ensemble (export)" if made else ""),
        *_cache_line(use),
    )
    return Forecast(lines, needed, free, _too_little(free, wanted, needed, folder))


def _cache_line(use: DiskUse) -> Iterator[str]:
    if use.cache_folder is not None and use.cache_bytes:
        free = size_text(_free_bytes(use.cache_folder))
        yield f"decoded pixels: up to {size_text(use.cache_bytes)} of {free} free in {use.cache_folder}"


def _too_little(free: int, wanted: int, needed: int, folder: Path) -> str:
    if free >= wanted + needed:
        return ""
    keeps = f"resources.min_free_disk, which keeps {size_text(wanted)} free"
    what_to_do = "free disk space, use another disk (--results DIR), or lower"
    if free < wanted:
        return (
            f"{size_text(free)} free in {folder} is less than {keeps}: no trial starts until more is free. To change "
            f"that, {what_to_do} resources.min_free_disk"
        )
    return (
        f"the disk may become full: up to {size_text(needed)} needed, {size_text(free)} free in {folder}, less "
        f"{keeps}. The sweep would pause then; to avoid it, {what_to_do} keep.best, keep.paused or "
        f"resources.max_concurrent"
    )


def _free_bytes(folder: Path) -> int:
    """On the disk where a folder is, or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
