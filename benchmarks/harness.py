"""Paired timing on a noisy machine: both sides in turn, several times, ratios of pairs, medians."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: that was measured, of ours.
        against: the peer.
        ours, theirs: medians, in `unit`.
        unit: of both.
        ratio: median of the pairs' ratios (`ratio_of` says which way).
        spread: lowest and highest ratio of a pair.
        pairs: how many.
        ratio_of: what the ratio is, in words.
        aim: what it should be, in words.
        command: that gives the figure.
    """

    what: str
    against: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    spread: tuple[float, float]
    pairs: int
    ratio_of: str
    aim: str
    command: str

    def row(self, measured: str) -> str:
        """The figure as a row of a Markdown table; `measured` says when, and how busy the machine was."""
        pairs = f"{self.pairs} pair" + "s" * (self.pairs != 1)
        return (
            f"| {self.what} | {self.against} | {self.ours:.3g} {self.unit} | {self.theirs:.3g} {self.unit} "
            f"| **{self.ratio:.3g}×** ({self.spread[0]:.3g}–{self.spread[1]:.3g}, {pairs}) {self.ratio_of} "
            f"| {self.aim} | `{self.command}` | {measured} |"
        )


HEADER = (
    "| what | against | ours (median) | peer (median) | ratio (spread) | aim | command | measured |\n"
    "|---|---|---|---|---|---|---|---|"
)


def paired(
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    pairs: int,
    ratio: Callable[[float, float], float],
    **facts: str,
) -> Figure:
    """Measures both sides alternately, who goes first alternating too.

    Args:
        ours: gives one measurement of ours.
        theirs: gives one of the peer.
        pairs: how often.
        ratio: of (ours, theirs).
        facts: the words of the `Figure`.
    """
    found: list[tuple[float, float]] = []
    for number in range(pairs):
        if number % 2:
            their = theirs()
            found.append((ours(), their))
        else:
            our = ours()
            found.append((our, theirs()))
        print(f"  pair {number + 1}: ours {found[-1][0]:.4g}, peer {found[-1][1]:.4g}", file=sys.stderr)
    ratios = [ratio(*pair) for pair in found]
    return Figure(
        ours=statistics.median(our for our, _ in found),
        theirs=statistics.median(their for _, their in found),
        ratio=statistics.median(ratios),
        spread=(min(ratios), max(ratios)),
        pairs=pairs,
        **facts,  # type: ignore[arg-type]
    )


def process_of_its_own() -> ProcessPoolExecutor:
    """For one side: what the other side changes in its process (how memory is allocated) is not for both."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def wall_s(command: Sequence[str], cwd: str, **environment: str) -> float:
    """Seconds that a command takes as a whole process.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return took


def sweep(*arguments: str) -> list[str]:
    """The command line of `sweep`, in this Python."""
    return [sys.executable, "-m", "sweep_runner", *arguments]


def machine() -> str:
    """The machine and the versions, in one line."""
    packages = ("ray", "optuna", "torch", "pyarrow")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {versions}"
