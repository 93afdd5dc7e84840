"""How many trials share a GPU: decided from what they were seen to do, by nothing but what was observed.

Small networks leave a GPU idle while the CPU launches their kernels, so several of them at a time give more images per
second in sum. How many is found by doubling while the sum rises, with one try in between at the end. Memory and
CPUs bound it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST = 16
"""Trials on one GPU. Beyond it their contexts take the memory, and a doubling more could not be tried in six trials."""
_GAIN = 0.05
"""By how much the sum must rise for more trials to be worth it; less than that is noise."""
_STILL_RISING = 1.4
_OVERHEAD = 1.2
_CONTEXT_BYTES = 600 << 20
"""What a process takes of a GPU beside its tensors: CUDA's context and libraries. With `_OVERHEAD` for what the
allocator holds back, peaks of tensors become what a trial takes."""
_USABLE = 0.95


@dataclass(frozen=True)
class Observation:
    """One epoch of as many trials as were to share each GPU.

    Attributes:
        per_gpu: trials on each GPU.
        images_per_s: in sum, per GPU.
        peak_bytes: of the tensors of the trial that had most; 0: not known.
        gpu_bytes: memory of a GPU; 0: not known.
    """

    per_gpu: int
    images_per_s: float
    peak_bytes: int = 0
    gpu_bytes: int = 0


@dataclass(frozen=True)
class Decision:
    """Another number of trials per GPU, or the one that stays.

    Attributes:
        per_gpu: from now on.
        reason: in words.
        settled: nothing more is tried.
        rates: images per second in sum, by trials per GPU, as observed.
        peak_bytes, gpu_bytes: as in `Observation`, the largest so far.
    """

    per_gpu: int
    reason: str
    settled: bool
    rates: Mapping[int, float] = field(default_factory=dict)
    peak_bytes: int = 0
    gpu_bytes: int = 0


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
        if before is not None:
            self.settled = before.settled
            self._rates = dict(before.rates)
            self._peak_bytes, self._gpu_bytes = before.peak_bytes, before.gpu_bytes
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
        return int(_USABLE * self._gpu_bytes / (_OVERHEAD * self._peak_bytes + _CONTEXT_BYTES))

    def see(self, seen: Observation) -> Decision | None:
        """Takes an observation in; what changes by it, None for nothing.

        On another GPU than before, what was learnt there does not count.
        """
        if self._gpu_bytes and seen.gpu_bytes and seen.gpu_bytes != self._gpu_bytes:
            self.settled, self._rates, self._peak_bytes = False, {}, 0
        self._gpu_bytes = seen.gpu_bytes or self._gpu_bytes
        self._peak_bytes = max(self._peak_bytes, seen.peak_bytes)
        if self.per_gpu > self.most:
            return self._decide(self.most, f"a trial takes up to {_gigabytes(self._peak_bytes)} of the GPU's memory")
        if seen.per_gpu != self.per_gpu or self.settled:
            return None
        self._rates[self.per_gpu] = seen.images_per_s
        if self._is_worth_it() and self.per_gpu < self.most and max(self._rates) == self.per_gpu:
            return self._decide(min(2 * self.per_gpu, self.most), self._words())
        between = self._between()
        if between is not None:
            return self._decide(between, self._words())
        best = min(number for number, rate in self._rates.items() if rate * (1 + _GAIN) >= max(self._rates.values()))
        self.settled = True
        return self._decide(best, f"{self._words()}: {best} at a time {'is' if best == 1 else 'are'} best")

    def _is_worth_it(self) -> bool:
        """Whether the number now gives more than each smaller one by enough."""
        fewer = [rate for number, rate in self._rates.items() if number < self.per_gpu]
        return not fewer or self._rates[self.per_gpu] >= (1 + _GAIN) * max(fewer)

    def _between(self) -> int | None:
        """A number to try once, when doubling has ended: next to the best one, on the side where the peak must be."""
        tried = sorted(self._rates)
        if self.per_gpu != tried[-1]:
            return None
        place = tried.index(max(tried, key=self._rates.__getitem__))
        # Where twice as many gave much less than twice the sum, the GPU was full before.
        full = place > 0 and self._rates[tried[place]] < _STILL_RISING * self._rates[tried[place - 1]]
        neighbours = tried[place - 1 : place + 1] if full else tried[place : place + 2]
        middle = sum(neighbours) // 2
        return middle if len(neighbours) == 2 and middle not in self._rates else None

    def _decide(self, per_gpu: int, reason: str) -> Decision:
        self.per_gpu = per_gpu
        return Decision(per_gpu, reason, self.settled, dict(self._rates), self._peak_bytes, self._gpu_bytes)

    def _words(self) -> str:
        listed = ", ".join(f"{rate:,.0f} with {number}" for number, rate in sorted(self._rates.items()))
        limit = ""
        if self.per_gpu >= self.most:
            limit = "; more do not fit in memory" if self._by_memory <= self._by_cpus else "; the CPUs allow no more"
        return f"images/s per GPU: {listed}{limit if self.per_gpu > 1 or self.most == 1 else ''}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
