"""Has as many trials share a GPU as gives most images per second in sum: connects what is seen, decided and done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.resources.gpus import GpuSight
from sweep_runner.execution.resources.packing import OVERHEAD, Decision, Observation, Packing
from sweep_runner.execution.resources.slots import Node, resolve
from sweep_runner.results.events import GpusShared
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import SweepSpec

_DIGITS = 10_000
"""Ray counts shares of a GPU in ten-thousandths."""
_PATIENCE_S = 5.0
"""To wait for another look at the GPU's memory, when all else is known."""


def packs(spec: SweepSpec, nodes: Sequence[Node]) -> bool:
    """Whether how many trials share a GPU is found by measuring: `gpus: auto`, on one machine, one worker per trial."""
    alone = spec.resources.workers == 1 and "workers" not in spec.space
    return spec.resources.gpus == "auto" and alone and len(nodes) == 1 and nodes[0].gpus >= 1


class Packer:
    """Watches the trials of a sweep on this machine, and changes how many there are at a time.

    Args:
        keeper: of the sweep; its `max_live`, `max_workers` and `gpus` are set.
        recorder: of the sweep, where each decision is recorded; the last one of an earlier run is gone on with.
        node: this machine.
        sight: what is seen of the GPUs now.
        tell: shows what was decided.
        clock: seconds.
    """

    def __init__(
        self,
        keeper: Keeper,
        recorder: Recorder,
        node: Node,
        sight: Callable[[], GpuSight | None],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keeper = keeper
        self._recorder = recorder
        self._node = node
        self._sight = sight
        self._tell = tell
        self._clock = clock
        self._num_gpus = math.floor(node.gpus)
        resources = keeper.spec.resources
        fits = math.floor(node.cpus / resources.cpus + 1e-9)
        if isinstance(resources.max_concurrent, int):
            fits = min(fits, resources.max_concurrent)
        self._by_cpus = max(1, fits // self._num_gpus)
        before = recorder.state.gpus_shared
        self._packing = Packing(self._by_cpus, None if before is None else decision_of(before))
        self._epochs: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self._full_since: float | None = None
        self._known_since: float | None = None
        self._reported: set[int] = set()
        self._looked_at: GpuSight | None = None
        self._beside_bytes: int | None = None
        if before is not None:
            tell(f"GPU: {_number(self._packing.per_gpu)}, as found before ({before.reason})")
        self._apply()

    def look(self) -> None:
        """Takes in what was reported since; call it many times a second."""
        keeper, now = self._keeper, self._clock()
        wanted = min(keeper.max_live, self._packing.per_gpu * self._num_gpus)
        for number in {*keeper.live, *self._epochs}:  # those that have just ended, too
            self._take(number, now)
        self._epochs = {number: epoch for number, epoch in self._epochs.items() if number in keeper.live}
        if len(keeper.live) - len(keeper.pending) != wanted:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        self._look_at_memory()
        if len(self._rates) < wanted:
            self._known_since = None
            return
        self._known_since = now if self._known_since is None else self._known_since
        if self._beside_bytes is None and now - self._known_since < _PATIENCE_S:
            return
        latest = list(self._rates.values())[-wanted:]
        self._rates.clear()
        rate = sum(latest) / self._num_gpus
        self._see(Observation(self._packing.per_gpu, rate, *self._memory(), beside_bytes=self._beside_bytes))

    def _take(self, number: int, now: float) -> None:
        """Takes a trial's rate, of an epoch that began when the GPUs were as full as they were to be."""
        summary = self._recorder.state.trials.get(number)
        if summary is None or summary.last_epoch is None:
            self._epochs.setdefault(number, 0)
            return
        if number not in self._epochs:
            self._epochs[number] = summary.last_epoch
            return
        if summary.last_epoch == self._epochs[number]:
            return
        self._epochs[number] = summary.last_epoch
        self._reported.add(number)
        rate, epoch_s = (summary.last_metrics.get(name) for name in ("images_per_s", "epoch_s"))
        was_full = self._full_since is not None and epoch_s is not None and now - epoch_s >= self._full_since
        if rate is not None and was_full:
            self._rates.pop(number, None)
            self._rates[number] = rate
        # Memory counts at once, whatever else runs.
        self._see(Observation(0, 0.0, *self._memory()))

    def _look_at_memory(self) -> None:
        """Sees what a trial takes of a GPU in all, where all that run have trained an epoch, and so had their peak."""
        sight, live = self._sight(), self._keeper.live
        self._reported &= live.keys()
        if sight is self._looked_at:
            return
        self._looked_at = sight
        if sight is None or self._full_since is None or self._reported != live.keys():
            return
        trials = self._recorder.state.trials
        peaks = [trials[number].peak_memory_bytes or 0 for number in live]
        if all(peaks):
            beside = int((sight.used_bytes - OVERHEAD * sum(peaks)) / len(peaks))
            self._beside_bytes = beside if self._beside_bytes is None else max(self._beside_bytes, beside)

    def _memory(self) -> tuple[int, int]:
        """The largest peak of a trial so far, and the memory of a GPU; in bytes."""
        peaks = (each.peak_memory_bytes or 0 for each in self._recorder.state.trials.values() if each.device != "cpu")
        sight = self._sight()
        return max(peaks, default=0), 0 if sight is None else sight.smallest_bytes

    def _see(self, seen: Observation) -> None:
        before = self._packing.per_gpu
        decision = self._packing.see(seen)
        if decision is None:
            return
        self._recorder.record(
            GpusShared(
                time=time.time(),
                per_gpu=decision.per_gpu,
                reason=decision.reason,
                settled=decision.settled,
                rates={str(number): rate for number, rate in decision.rates.items()},
                peak_bytes=decision.peak_bytes,
                gpu_bytes=decision.gpu_bytes,
                beside_bytes=decision.beside_bytes,
            )
        )
        change = "" if decision.per_gpu != before else ", as before"
        self._tell(f"GPU: {_number(decision.per_gpu)}{change} ({decision.reason})")
        self._full_since = self._known_since = self._beside_bytes = None
        self._rates.clear()
        self._apply()

    def _apply(self) -> None:
        # With one GPU a trial's share says nothing of where it runs, and never changes; with several Ray would fill the
        # first one before it takes the next.
        parts = self._by_cpus if self._num_gpus == 1 else self._packing.per_gpu
        share = math.floor(_DIGITS / parts) / _DIGITS
        resources = self._keeper.spec.resources.model_copy(update={"gpus": share})
        slot = resolve(resources, [self._node])
        most = self._packing.per_gpu * self._num_gpus
        self._keeper.gpus = share
        self._keeper.max_live = self._keeper.max_workers = min(most, slot.max_concurrent)


def decision_of(event: GpusShared) -> Decision:
    """What was decided, from its record."""
    rates = {int(number): rate for number, rate in event.rates.items()}
    return Decision(
        event.per_gpu, event.reason, event.settled, rates, event.peak_bytes, event.gpu_bytes, event.beside_bytes
    )


def _number(per_gpu: int) -> str:
    return "one trial at a time per GPU" if per_gpu == 1 else f"{per_gpu} trials at a time per GPU"
