"""Trials that share a GPU: what a sweep reports becomes how many there are at a time, and is gone on with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sweep_runner.execution.driver.packer import Packer, packs
from sweep_runner.execution.resources.gpus import GpuSight, sight_of
from sweep_runner.execution.resources.slots import Node
from sweep_runner.results.events import EpochReported, Event, GpusShared, TrialStarted, from_json, to_json
from sweep_runner.results.state import SweepState
from sweep_runner.spec.model import Objective, Resources, SweepSpec

GB = 1 << 30
ONE = Node("here", 8, 1)
CONTEXT = GB // 2


@dataclass
class Driver:
    """A sweep whose trials run on a GPU that is full with three of them, by a clock of its own."""

    resources: Resources = field(default_factory=Resources)
    node: Node = ONE
    state: SweepState = field(default_factory=lambda: SweepState(Objective()))
    now: float = 1.0
    trial: int = GB
    memory: int = 24 * GB
    full_with: int = 3
    events: list[Event] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = SweepSpec(name="s", resources=self.resources)
        self.keeper: Any = SimpleNamespace(spec=spec, live={}, pending=set(), max_live=1, max_workers=1, gpus=1.0)
        self.packer = Packer(self.keeper, self, self.node, self.sight, self.told.append, lambda: self.now)  # type: ignore[arg-type]

    def sight(self) -> GpuSight:
        """Of all GPUs: each trial takes what its tensors do, and a context."""
        num_gpus = int(self.node.gpus)
        used = len(self.keeper.live) * (self.trial + CONTEXT)
        return GpuSight(num_gpus, 0.5, used, num_gpus * self.memory, self.memory)

    def record(self, event: Event) -> None:
        self.events.append(from_json(to_json(event)))
        self.state.apply(self.events[-1])

    def run(self, num_trials: int, epochs: int = 3) -> int:
        """Trains as many trials as there may be at a time; the most that there were."""
        due, most = deque(range(len(self.state.trials), len(self.state.trials) + num_trials)), 0
        left: dict[int, int] = {}
        while due or left:
            while due and len(left) < self.keeper.max_live:
                number = due.popleft()
                left[number], self.keeper.live[number] = epochs, object()
                self.record(
                    TrialStarted(time=self.now, trial=number, attempt=1, seed=0, params={}, gpus=self.keeper.gpus)
                )
            self.packer.look()
            most = max(most, len(left))
            self.now += 10.0
            rate = min(1_000.0 * len(left), 1_000.0 * self.full_with) / len(left)
            for number in list(left):
                metrics = {"val_accuracy": 0.5, "images_per_s": rate, "epoch_s": 9.0, "peak_memory_bytes": self.trial}
                epoch = epochs - left[number] + 1
                self.record(
                    EpochReported(time=self.now, trial=number, attempt=1, epoch=epoch, metrics=metrics, device="g")
                )
                left[number] -= 1
                if not left[number]:
                    del left[number], self.keeper.live[number]
            self.packer.look()
        return most


def test_it_finds_how_many_share_and_a_resumed_sweep_starts_with_that() -> None:
    driver = Driver()
    assert driver.keeper.max_live == 1
    assert driver.run(20) >= 3
    found = driver.keeper.max_live
    assert found in (3, 4)
    decisions = [event for event in driver.events if isinstance(event, GpusShared)]
    assert decisions[-1].settled
    assert len(driver.told) == len(decisions)
    assert driver.state.trials[0].gpus == driver.keeper.gpus <= 1 / found
    again = Driver(state=driver.state)
    assert again.keeper.max_live == found
    assert "as found before" in again.told[0]


def test_memory_is_what_is_seen_of_the_gpu() -> None:
    """Six trials of 3.5 GB fit into 24 GB; by an estimate from their tensors it would be five."""
    driver = Driver(trial=3 * GB, full_with=16)
    driver.run(40)
    assert driver.keeper.max_live == 6
    (found,) = {event.beside_bytes for event in driver.events if isinstance(event, GpusShared)}
    assert found == pytest.approx(3 * GB + CONTEXT - 1.2 * 3 * GB, abs=2)
    again = Driver(state=driver.state, trial=3 * GB)
    assert again.keeper.max_live == 6


def test_with_several_gpus_the_share_follows_the_number() -> None:
    driver = Driver(node=Node("here", 16, 2))
    assert (driver.keeper.gpus, driver.keeper.max_live) == (1.0, 2)
    driver.run(16)
    assert driver.keeper.max_live >= 4
    assert driver.keeper.gpus * driver.keeper.max_live / 2 <= 1.0


def test_a_limit_of_the_sweep_file_holds() -> None:
    assert Driver(Resources(max_concurrent=2)).run(10) == 2


def test_when_trials_share() -> None:
    one = [Node("here", 4, 1)]
    assert packs(SweepSpec(name="s"), one)
    assert not packs(SweepSpec(name="s"), [Node("here", 4, 0)])
    assert not packs(SweepSpec(name="s"), one * 2)
    for resources in (Resources(gpus=0.5), Resources(gpus=1), Resources(workers=2)):
        assert not packs(SweepSpec(name="s", resources=resources), one)


def test_what_the_driver_says_of_gpus() -> None:
    sight = sight_of("80, 1024, 2048\n40, 512, 1024\n")
    assert sight == GpuSight(2, 0.6000000000000001, 1536 << 20, 3072 << 20, 1024 << 20)
    assert str(sight) == "2 GPUs 60% busy, 1.61 GB of 3.22 GB"
    assert sight_of("[N/A], 1, 2") is None
    assert sight_of("") is None
