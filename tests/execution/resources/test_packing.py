"""How many trials share a GPU, found on simulated ones that have memory and a curve of throughput."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from sweep_runner.execution.resources.packing import MOST, OVERHEAD, Observation, Packing

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

    def fits(self, number: float) -> bool:
        return number * (self.trial + self.context) <= self.memory

    def best(self, by_cpus: int) -> float:
        """Images/s of the best packing that leaves a tenth of the memory free."""
        numbers = [number for number in range(2, min(MOST, by_cpus) + 1) if self.fits(number / 0.9)]
        return max(self.curve(number) for number in (1, *numbers))

    def see(self, number: int, noise: float = 0.0) -> Observation:
        beside = int(self.trial + self.context - OVERHEAD * self.trial)
        return Observation(number, self.curve(number) * (1 + noise), self.trial, self.memory, beside)


def saturating(one: float, cap: float, fall: float = 0.0) -> Callable[[int], float]:
    """Each trial adds as much until the GPU is full; with more they are in each other's way."""
    return lambda number: min(one * number, cap) * (1 - fall * max(0.0, number - cap / one))


CURVES = {
    "launches are the limit": saturating(2_000, 100_000),
    "full with four": saturating(2_000, 8_000),
    "full with three, then slower": saturating(2_000, 6_000, 0.1),
    "full with six, then much slower": saturating(1_000, 6_000, 0.15),
    "full with one": saturating(4_000, 4_000, 0.05),
    "flat": lambda number: 3_000.0,
    "worse with each": lambda number: 3_000.0 / number,
    "a twentieth is shared": lambda number: 1_000 * number / (1 + 0.05 * (number - 1)),
    "ever less gain": lambda number: 3_000 * (1 - 0.6**number),
}


def found(gpu: Gpu, by_cpus: int, noise: float, seed: int = 0) -> float:
    """Images/s with what is settled on after six observations, as a share of the best packing's."""
    packing, drawn = Packing(by_cpus), random.Random(seed)
    for _ in range(6):
        assert gpu.fits(packing.per_gpu)
        assert packing.per_gpu <= by_cpus
        packing.see(gpu.see(packing.per_gpu, drawn.uniform(-noise, noise)))
    assert packing.settled
    return gpu.curve(packing.per_gpu) / gpu.best(by_cpus)


TRIALS = [GB // 4, GB, 3 * GB, 4 * GB, 6 * GB, 9 * GB]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
def test_it_comes_near_the_best_and_stays_within_memory(
    curve: Callable[[int], float], trial: int, noise: float
) -> None:
    for by_cpus in range(1, MOST + 1):
        assert found(Gpu(24 * GB, trial, curve), by_cpus, noise) >= 0.9


def test_where_the_peak_is_sharp_it_is_missed_seldom_and_by_little() -> None:
    shares = [
        found(Gpu(24 * GB, trial, saturating(1_000, 1_000 * full, fall)), by_cpus, 0.02, seed=full)
        for full in range(1, MOST + 1)
        for fall in (0.0, 0.05, 0.1, 0.15, 0.3)
        for trial in TRIALS
        for by_cpus in range(1, MOST + 1)
    ]
    assert sum(share >= 0.9 for share in shares) >= 0.99 * len(shares)
    assert min(shares) > 0.85


def test_memory_that_was_not_seen_is_estimated_from_above() -> None:
    for trial in TRIALS:
        gpu, packing = Gpu(24 * GB, trial, CURVES["launches are the limit"]), Packing(MOST)
        for _ in range(6):
            assert gpu.fits(packing.per_gpu)
            packing.see(replace(gpu.see(packing.per_gpu), beside_bytes=None))
        if gpu.fits(packing.most + 1) and packing.most < MOST:
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
