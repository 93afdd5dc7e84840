"""How many trials share a GPU: decided from what they were seen to do, by nothing but what was observed.

Small networks leave a GPU idle while the CPU launches their kernels, so several of them at a time give more images per
second in sum. How many is found by doubling while the sum rises, and then by trying between: six numbers at most.
Memory and CPUs bound it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainables.quantities import size_text

MOST = 16
"""Trials on one GPU. Beyond it their contexts take the memory, and a doubling more could not be tried in six trials."""
_GAIN = 0.05
"""By how much the sum must rise for more trials to be worth it; less than that is noise."""
_AS_IF_ALONE = 0.9
_STILL_RISING = 0.8
"""Of what more trials would add if each gave as much: less than that, and the GPU was full with fewer."""
_MOST_TRIED = 6
OVERHEAD = 1.2
_CONTEXT_BYTES = 600 << 20
"""What a process takes of a GPU beside its tensors: CUDA's context and libraries. With `OVERHEAD` for what the
allocator holds back, peaks of tensors become what a trial takes, as long as that was not seen."""
_GROWTH = 1.05
"""By how much more than was seen a trial may take."""
_USABLE = 0.95


@dataclass(frozen=True)
class Observation:
    """One epoch of as many trials as were to share each GPU.

    Attributes:
        per_gpu: trials on each GPU.
        images_per_s: in sum, per GPU.
        peak_bytes: of the tensors of the trial that had most; 0: not known.
        gpu_bytes: memory of a GPU; 0: not known.
        beside_bytes: what a trial was seen to take of the GPU beside `OVERHEAD` times its tensors; None: not seen.
    """

    per_gpu: int
    images_per_s: float
    peak_bytes: int = 0
    gpu_bytes: int = 0
    beside_bytes: int | None = None


@dataclass(frozen=True)
class Decision:
    """Another number of trials per GPU, or the one that stays.

    Attributes:
        per_gpu: from now on.
        reason: in words.
        settled: nothing more is tried.
        rates: images per second in sum, by trials per GPU, as observed.
        peak_bytes, gpu_bytes: as in `Observation`, the largest so far.
        beside_bytes: as in `Observation`, with the most trials at a time.
    """

    per_gpu: int
    reason: str
    settled: bool
    rates: Mapping[int, float] = field(default_factory=dict)
    peak_bytes: int = 0
    gpu_bytes: int = 0
    beside_bytes: int | None = None


class Packing:
    """Finds how many trials share a GPU.

    Args:
        by_cpus: the most that the CPUs allow per GPU.
        before: the last decision of an earlier run of the sweep, from which it goes on.

    Attributes:
        per_gpu: trials on each GPU now.
        settled: whether nothing more is tried.
    """

    def __init__(self, by_cpus: int, before: Decision | None = None) -> None:
        self.per_gpu = 1
        self.settled = False
        self._by_cpus = max(1, min(by_cpus, MOST))
        self._rates: dict[int, float] = {}
        self._peak_bytes = self._gpu_bytes = 0
        self._beside_bytes: int | None = None
        self._seen_with = 0
        if before is not None:
            self.settled = before.settled
            self._rates = dict(before.rates)
            self._peak_bytes, self._gpu_bytes = before.peak_bytes, before.gpu_bytes
            self._beside_bytes = before.beside_bytes
            self.per_gpu = min(before.per_gpu, self.most)

    @property
    def most(self) -> int:
        """Trials per GPU that CPUs and memory allow, as far as is known."""
        return max(1, min(self._by_cpus, self._by_memory))

    @property
    def _by_memory(self) -> int:
        """One until it is known what a trial takes, and of how much."""
        if not self._gpu_bytes or not self._peak_bytes:
            return 1
        trial = OVERHEAD * self._peak_bytes + (_CONTEXT_BYTES if self._beside_bytes is None else self._beside_bytes)
        return int(_USABLE * self._gpu_bytes / (trial if self._beside_bytes is None else _GROWTH * trial))

    def see(self, seen: Observation) -> Decision | None:
        """Takes an observation in; what changes by it, None for nothing.

        On another GPU than before, what was learnt there does not count.
        """
        if self._gpu_bytes and seen.gpu_bytes and seen.gpu_bytes != self._gpu_bytes:
            self.settled, self._rates, self._peak_bytes = False, {}, 0
            self._beside_bytes, self._seen_with = None, 0
        self._gpu_bytes = seen.gpu_bytes or self._gpu_bytes
        self._peak_bytes = max(self._peak_bytes, seen.peak_bytes)
        if seen.beside_bytes is not None and seen.per_gpu >= self._seen_with:  # then other processes count least
            self._beside_bytes, self._seen_with = seen.beside_bytes, seen.per_gpu
        if self.per_gpu > self.most:
            return self._decide(self.most, f"a trial takes up to {size_text(self._peak_bytes)} of the GPU's memory")
        if seen.per_gpu != self.per_gpu or self.settled:
            return None
        self._rates[self.per_gpu] = seen.images_per_s
        if self._is_worth_it() and self.per_gpu < self.most and max(self._rates) == self.per_gpu:
            return self._decide(min(self._factor() * self.per_gpu, self.most), self._words())
        between = self._between()
        if between is not None:
            return self._decide(between, self._words())
        best = min(number for number, rate in self._rates.items() if rate * (1 + _GAIN) >= max(self._rates.values()))
        self.settled = True
        return self._decide(best, f"{self._words()}: {best} at a time {'is' if best == 1 else 'are'} best")

    def _factor(self) -> int:
        """By how much to raise the number: where each of several still gives as much as one, there is a way to go."""
        still_alone = self._rates[self.per_gpu] >= _AS_IF_ALONE * self.per_gpu * self._rates.get(1, math.inf)
        return 4 if self.per_gpu > 1 and still_alone else 2

    def _is_worth_it(self) -> bool:
        """Whether the number now gives more than each smaller one by enough."""
        fewer = [rate for number, rate in self._rates.items() if number < self.per_gpu]
        return not fewer or self._rates[self.per_gpu] >= (1 + _GAIN) * max(fewer)

    def _between(self) -> int | None:
        """A number to try, when doubling has ended: beside the best one, first on the side where the peak must be."""
        tried = sorted(self._rates)
        if len(tried) == _MOST_TRIED:
            return None
        best = max(tried, key=self._rates.__getitem__)
        sides = [(best + number) // 2 for number in tried[tried.index(best) + 1 :][:1]]
        for fewer in tried[: tried.index(best)][-1:]:
            # Where many more gave little more, the GPU was full before.
            full = self._rates[best] < self._rates[fewer] * (1 + _STILL_RISING * (best / fewer - 1))
            if full or sides:
                sides.insert(0 if full else 1, (fewer + best) // 2)
        return next((number for number in sides if number not in self._rates), None)

    def _decide(self, per_gpu: int, reason: str) -> Decision:
        self.per_gpu = per_gpu
        rates = dict(self._rates)
        return Decision(per_gpu, reason, self.settled, rates, self._peak_bytes, self._gpu_bytes, self._beside_bytes)

    def _words(self) -> str:
        listed = ", ".join(f"{rate:,.0f} with {number}" for number, rate in sorted(self._rates.items()))
        limit = ""
        if self.per_gpu >= self.most:
            limit = "; more do not fit in memory" if self._by_memory <= self._by_cpus else "; the CPUs allow no more"
        return f"images/s per GPU: {listed}{limit if self.per_gpu > 1 or self.most == 1 else ''}"
