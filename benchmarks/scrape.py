"""What a scrape of a sweep's metrics costs: `python -m benchmarks.scrape`.

A report costs nothing more with metrics than without. A scrape holds up the driver while it looks at the state, and
takes its share of the interpreter while it writes: both are printed for several sizes, as the median of some scrapes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest

from sweep_runner.results.events import EpochReported, TrialEnded, TrialStarted
from sweep_runner.results.state import SweepState
from sweep_runner.spec.model import Objective
from sweep_runner.tracking.metrics import SweepCollector

T = TypeVar("T")
SIZES = ((20, 2), (2_000, 2), (10_000, 16), (10_000, 1_000))
"""Trials, and how many of them run."""
_SCRAPES = 15


def state_of(trials: int, running: int) -> SweepState:
    """A sweep with so many trials, of which so many run."""
    state = SweepState(Objective())
    metrics = {"val_accuracy": 0.5, "images_per_s": 100.0, "data_wait_fraction": 0.1, "peak_memory_bytes": 1e9}
    for trial in range(trials):
        state.apply(TrialStarted(time=1.0, trial=trial, attempt=1, seed=1, params={"lr": 0.1}))
        report = EpochReported(time=2.0, trial=trial, attempt=1, epoch=1, metrics=metrics, host="node", device="gpu")
        state.apply(report)
        if trial < trials - running:
            state.apply(TrialEnded(time=3.0, trial=trial, attempt=1, state="COMPLETED"))
    return state


def main() -> None:
    print("| trials | running | driver held up, ms | scrape, ms | kB |")
    print("|---|---|---|---|---|")
    for trials, running in SIZES:
        state, held_s, scrape_s, answer = state_of(trials, running), [], [], b""

        def look(read: Callable[[SweepState], T], state: SweepState = state, held_s: list[float] = held_s) -> T:
            began = time.perf_counter()
            seen = read(state)
            held_s.append(time.perf_counter() - began)
            return seen

        registry = CollectorRegistry()
        registry.register(SweepCollector("scraped", trials, look))
        for _ in range(_SCRAPES):
            began = time.perf_counter()
            answer = generate_latest(registry)
            scrape_s.append(time.perf_counter() - began)
        figures = f"{statistics.median(held_s) * 1e3:.2f} | {statistics.median(scrape_s) * 1e3:.2f}"
        print(f"| {trials:,} | {running:,} | {figures} | {len(answer) / 1e3:.1f} |")


if __name__ == "__main__":
    main()
