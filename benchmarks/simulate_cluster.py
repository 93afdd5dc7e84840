"""Many trials on many places, in virtual time, through the real keeper, study and recorder: what a driver can take.

Training takes no time here: an epoch is an entry in a queue of what happens when. What the driver does is real, and its
seconds are measured and put into virtual time: it answers one report after the other, and a worker waits for its
answer. So the table says how busy the driver is, how long workers wait for it, and from which pace on it is too slow.

Ray's and Tune's own cost of a report is not in this; `--ray-ms` adds it (`python -m benchmarks.load --ray` measures it:
the time a report takes with Ray, less that without).
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.harness import machine
from benchmarks.load import open_keeper, spec_of
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Assignment, Message
from trainables.contract import EpochReport
from trainables.synthetic import SyntheticConfig, curve

_JITTER = 0.1
"""Epochs of one sweep differ by so much (standard deviation, as a share): they do not all end at once."""


@dataclass
class Seen:
    """What was seen of a simulated sweep; seconds are real ones for costs, virtual ones for waits.

    Attributes:
        report_s: what a report cost the driver.
        next_s: what choosing and recording a hand-out cost.
        wait_s: how long a worker waited for the answer to a report.
        busy_s: of the driver, in all.
        took_s: the sweep, in virtual time.
    """

    report_s: list[float] = field(default_factory=list)
    next_s: list[float] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)
    busy_s: float = 0.0
    took_s: float = 0.0


class _Simulation:
    def __init__(self, keeper: Keeper, epoch_s: float, ray_s: float) -> None:
        self.seen = Seen()
        self._keeper = keeper
        self._epoch_s = epoch_s
        self._ray_s = ray_s
        self._random = random.Random(0)
        self._queue: list[tuple[float, int, Assignment, SyntheticConfig, int]] = []
        self._order = 0
        self._free_at = 0.0

    def run(self) -> Seen:
        self._fill(0.0)
        while self._queue:
            now, _, assignment, config, epoch = heapq.heappop(self._queue)
            begin = max(now, self._free_at)
            spent, go_on = self._report(assignment, config, epoch)
            self._busy(begin, spent)
            self.seen.wait_s.append(self._free_at - now)
            if go_on:
                self._train(assignment, config, epoch + 1, self._free_at)
            else:
                self._fill(self._free_at)
        self.seen.took_s = self._free_at
        return self.seen

    def _report(self, assignment: Assignment, config: SyntheticConfig, epoch: int) -> tuple[float, bool]:
        accuracy = curve(config, epoch, assignment.seed)
        metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "lr": config.lr, "epoch_s": self._epoch_s}
        text = Message(
            trial=assignment.trial, attempt=assignment.attempt, report=EpochReport(epoch, metrics), host="node"
        ).to_json()
        began = time.perf_counter()
        go_on = self._keeper.on_message(assignment.trial, Message.from_json(text))
        spent = time.perf_counter() - began
        self.seen.report_s.append(spent)
        if go_on and epoch == config.epochs:
            began = time.perf_counter()
            self._keeper.on_message(
                assignment.trial, Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
            )
            return spent + time.perf_counter() - began, False
        return spent, go_on

    def _fill(self, now: float) -> None:
        """Hands out what there is room for."""
        while True:
            began = time.perf_counter()
            assignment = self._keeper.next()
            spent = time.perf_counter() - began
            if assignment is None:
                return
            self.seen.next_s.append(spent)
            self._busy(max(now, self._free_at), spent)
            config = SyntheticConfig.model_validate(dict(assignment.config))
            self._train(assignment, config, assignment.recorded_epochs + 1, self._free_at)

    def _train(self, assignment: Assignment, config: SyntheticConfig, epoch: int, begin: float) -> None:
        self._order += 1
        takes = self._epoch_s * max(0.1, self._random.gauss(1, _JITTER))
        heapq.heappush(self._queue, (begin + takes, self._order, assignment, config, epoch))

    def _busy(self, begin: float, spent: float) -> None:
        spent += self._ray_s
        self._free_at = begin + spent
        self.seen.busy_s += spent


HEADER = (
    "| sweep | trials × epochs on places | an epoch | takes | the driver is busy | a report "
    "| a hand-out, first → last 10 % | a worker waits: median, 99 %, longest "
    "| study, log | memory |\n|---|---|---|---|---|---|---|---|---|---|"
)


def simulate(sampler: str, pruner: str, trials: int, places: int, epochs: int, epoch_s: float, ray_s: float) -> str:
    """One sweep as a row of a Markdown table."""
    with tempfile.TemporaryDirectory(prefix="simulate-") as folder:
        root = Path(folder) / "sweep"
        with open_keeper(spec_of(sampler, trials, epochs, pruner), root, places) as keeper:
            seen = _Simulation(keeper, epoch_s, ray_s).run()
        study, log = ((root / name).stat().st_size / 1e6 for name in ("study.journal", "log.jsonl"))
    tenth = max(1, len(seen.next_s) // 10)
    first, last = statistics.mean(seen.next_s[:tenth]) * 1e3, statistics.mean(seen.next_s[-tenth:]) * 1e3
    waits = statistics.quantiles(seen.wait_s, n=100)
    return (
        f"| {sampler}, pruner {pruner} | {trials:,} × {epochs} on {places:,} | {epoch_s:g} s "
        f"| {seen.took_s / 60:,.1f} min | {seen.busy_s / seen.took_s:.0%} "
        f"| {statistics.mean(seen.report_s) * 1e3:.2f} ms "
        f"| {first:.1f} → {last:.1f} ms | {waits[49]:.3f}, {waits[98]:.2f}, {max(seen.wait_s):.1f} s "
        f"| {study:.0f}, {log:.0f} MB | {psutil.Process().memory_info().rss / 2**20:.0f} MiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--places", type=int, default=1_000, help="trials at a time")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--epoch-s", type=float, nargs="+", default=[30.0], help="virtual seconds per epoch")
    parser.add_argument("--sampler", nargs="+", default=["random", "tpe"])
    parser.add_argument("--pruner", nargs="+", default=["none", "successive_halving"])
    parser.add_argument("--ray-ms", type=float, default=0.0, help="Ray's and Tune's own milliseconds a report")
    chosen = parser.parse_args()
    print(f"{machine()}; Ray's own {chosen.ray_ms:g} ms per report\n\n{HEADER}", flush=True)
    for sampler in chosen.sampler:
        for pruner in chosen.pruner:
            for epoch_s in chosen.epoch_s:
                row = simulate(
                    sampler, pruner, chosen.trials, chosen.places, chosen.epochs, epoch_s, chosen.ray_ms / 1e3
                )
                print(row, flush=True)


if __name__ == "__main__":
    main()
