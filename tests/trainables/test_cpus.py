"""How many CPUs are this process's: of the machine, of its mask, of the quota of its control group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainables.cpus import cpu_quota

COUNT = "from trainables.cpus import num_cpus; print(num_cpus())"


def test_a_process_that_may_run_on_one_cpu_has_one() -> None:
    pinned = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {COUNT}"
    ran = subprocess.run([sys.executable, "-c", pinned], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text + "\n")


def own(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "own"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("outer", "inner", "quota"), [("max", "max", None), ("max", "150000", 1.5), ("50000", "max", 0.5)]
)
def test_a_quota_of_version_2_counts_wherever_it_is_set(
    tmp_path: Path, outer: str, inner: str, quota: float | None
) -> None:
    groups = tmp_path / "cgroup"
    group(groups / "pod", cpu_dot_max=f"{outer} 100000")
    group(groups / "pod" / "box", cpu_dot_max=f"{inner} 100000")
    assert cpu_quota(groups, own(tmp_path, "0::/pod/box")) == quota


def test_a_quota_of_version_1_and_a_path_that_is_the_hosts(tmp_path: Path) -> None:
    """Docker shows a container its own group as the top, under the path that it has outside."""
    groups = tmp_path / "cgroup"
    group(groups / "cpu,cpuacct", cpu_dot_cfs_quota_us="400000", cpu_dot_cfs_period_us="100000")
    lines = ("4:memory:/docker/0123", "3:cpu,cpuacct:/docker/0123", "0::/docker/0123")
    assert cpu_quota(groups, own(tmp_path, *lines)) == 4.0
    group(groups / "cpu,cpuacct", cpu_dot_cfs_quota_us="-1", cpu_dot_cfs_period_us="100000")
    assert cpu_quota(groups, own(tmp_path, *lines)) is None


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "nothing") is None
