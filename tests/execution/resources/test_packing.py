"""How many trials share a GPU, found on simulated ones that have memory and a curve of throughput."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sweep_runner.execution.resources.packing import MOST, Observation, Packing

GB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """A GPU, and what trials do on it.

    Attributes:
        memory: bytes.
        trial: bytes of tensors of one trial at most.
        context: bytes that a trial's process takes beside them.
        curve: trials at a time → images/s in sum.
    """

    memory: int
    trial: int
    curve: Callable[[int], float]
    context: int = GB // 2

    def fits(self, number: int) -> bool:
        return number * (self.trial + self.context) <= self.memory

    def best(self, by_cpus: int) -> float:
        return max(self.curve(number) for number in range(1, min(MOST, by_cpus) + 1) if self.fits(number))

    def see(self, number: int, noise: float = 0.0) -> Observation:
        return Observation(number, self.curve(number) * (1 + noise), self.trial, self.memory)


def saturating(one: float, cap: float, fall: float = 0.0) -> Callable[[int], float]:
    """Each trial adds as much until the GPU is full; with more they are in each other's way."""
    return lambda number: min(one * number, cap) * (1 - fall * max(0.0, number - cap / one))


CURVES = {
    "launches are the limit": saturating(2_000, 100_000),
    "full with four": saturating(2_000, 8_000),
    "full with three, then slower": saturating(2_000, 6_000, 0.1),
    "full with six, then much slower": saturating(1_000, 6_000, 0.15),
    "full with one": saturating(4_000, 4_000, 0.05),
    "ever less gain": lambda number: 3_000 * (1 - 0.6**number),
}


@pytest.mark.parametrize("by_cpus", [1, 3, 8, 16])
@pytest.mark.parametrize("trial", [GB // 4, 3 * GB, 9 * GB])
@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
def test_it_comes_near_the_best_and_stays_within_memory(
    curve: Callable[[int], float], trial: int, by_cpus: int
) -> None:
    gpu, packing = Gpu(24 * GB, trial, curve), Packing(by_cpus)
    drawn = random.Random(0)
    for _ in range(6):
        assert gpu.fits(packing.per_gpu)
        assert packing.per_gpu <= by_cpus
        packing.see(gpu.see(packing.per_gpu, drawn.uniform(-0.01, 0.01)))
    assert packing.settled
    # What a trial takes of memory is estimated from above: the best is of as many as are sure to fit.
    assert curve(packing.per_gpu) >= 0.9 * max(curve(number) for number in range(1, packing.most + 1))
    if gpu.fits(packing.most + 1) and packing.most < min(by_cpus, MOST):
        assert not gpu.fits(2 * packing.most), "the estimate leaves less than half of the memory"


def test_a_larger_trial_lowers_it_at_once() -> None:
    packing = Packing(8)
    small, large = Gpu(24 * GB, GB, CURVES["launches are the limit"]), Gpu(24 * GB, 7 * GB, lambda number: 1.0)
    for _ in range(4):
        packing.see(small.see(packing.per_gpu))
    assert packing.per_gpu == 8
    decision = packing.see(large.see(8))
    assert decision is not None
    assert large.fits(decision.per_gpu)
    assert "7.52 GB" in decision.reason


def test_what_was_learnt_is_gone_on_with() -> None:
    gpu, straight = Gpu(24 * GB, GB, CURVES["full with six, then much slower"]), Packing(16)
    seen = [straight.see(gpu.see(straight.per_gpu)) for _ in range(8)]
    decisions = [decision for decision in seen if decision is not None]
    for number, before in enumerate(decisions):
        again, rest = Packing(16, before), decisions[number + 1 :]
        assert again.per_gpu == before.per_gpu
        assert [again.see(gpu.see(again.per_gpu)) for _ in rest] == rest
    assert Packing(2, decisions[-1]).per_gpu == 2, "there are fewer CPUs now"


def test_another_gpu_is_learnt_anew() -> None:
    packing = Packing(8)
    for memory in (24 * GB, 12 * GB):
        gpu = Gpu(memory, GB, CURVES["full with four"])
        for _ in range(6):
            packing.see(gpu.see(packing.per_gpu))
        assert packing.per_gpu >= 3
        assert packing.settled


def test_reports_of_another_packing_say_nothing_of_speed() -> None:
    packing = Packing(8)
    packing.see(Observation(1, 1_000.0, GB, 24 * GB))
    assert packing.per_gpu == 2
    assert packing.see(Observation(1, 9_000.0)) is None
    assert packing.per_gpu == 2
