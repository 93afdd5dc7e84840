"""How a command tells what it took where a sweep file is silent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweep_runner.cli.common import Out

if TYPE_CHECKING:
    from sweep_runner.spec.plan import Plan


def say_taken(plan: Plan, file: Path, out: Out) -> None:
    """Prints the sections that a file without a space got, as a sweep file has them. Nothing where it has one."""
    if plan.taken is None:
        return
    if found := getattr(plan.data, "found", ""):
        out.say(f"data: {found}")
    out.say(f"{file} has no space. The sweep uses this one, which `sweep init` would write:")
    for line in plan.taken.said:
        out.say(f"  # {line}")
    for line in plan.taken.text.splitlines():
        out.say(f"  {line}")
