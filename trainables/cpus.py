"""The number of CPUs that this process may use."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@functools.cache
def num_cpus() -> int:
    """CPUs that this process may use, at least 1; never more than the machine has.

    The fewest of: the machine's, those that it may run on (`taskset`, a cpuset of Slurm or a container), and the CPU
    time that its control group gets (`docker run --cpus`, a Kubernetes limit), in whole CPUs.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.floor(quota + 1e-9)))


def cpu_quota(groups: Path = _GROUPS, own: Path = _OWN) -> float | None:
    """The CPU time per second that the control group of this process and those above it get; None without a limit.

    Args:
        groups: where control groups are mounted.
        own: says which this process is in.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":  # version 2, of which there is one hierarchy
            quotas += _along(groups, path, _version_2)
        elif "cpu" in controllers.split(","):
            for mounted in (groups / "cpu", groups / controllers):
                quotas += _along(mounted, path, _version_1)
    return min(quotas, default=None)


def _along(mounted: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """The quotas of a group and of every one above it.

    In a container the path may be the host's, which is not there: its own group is then the top.
    """
    folder = mounted / path.lstrip("/")
    found = []
    for group in (folder, *folder.parents):
        if (quota := read(group)) is not None:
            found.append(quota)
        if group == mounted:
            break
    return found


def _version_2(group: Path) -> float | None:
    """`cpu.max`: `QUOTA PERIOD` in microseconds, or `max PERIOD`."""
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _version_1(group: Path) -> float | None:
    """`cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of -1 is none."""
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
