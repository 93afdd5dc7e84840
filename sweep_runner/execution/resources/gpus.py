"""How busy this machine's GPUs are, as `nvidia-smi` says."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from trainables.quantities import size_text

_EVERY_S = 2.0
_PATIENCE_S = 10.0
_QUESTION = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class GpuSight:
    """All GPUs of a machine at one moment.

    Attributes:
        number: of GPUs.
        use: share of the time in which a kernel ran, 0…1, mean over the GPUs.
        used_bytes: of memory, by all processes, on all GPUs.
        total_bytes: likewise there.
        smallest_bytes: memory of the GPU that has least.
    """

    number: int
    use: float
    used_bytes: int
    total_bytes: int
    smallest_bytes: int

    def __str__(self) -> str:
        name = "GPU" if self.number == 1 else f"{self.number} GPUs"
        return f"{name} {self.use:.0%} busy, {size_text(self.used_bytes)} of {size_text(self.total_bytes)}"


def sight_of(answer: str) -> GpuSight | None:
    """What `nvidia-smi` answers, a line per GPU: `87, 10240, 81559` (per cent, MiB, MiB); None for anything else."""
    rows = []
    for line in answer.strip().splitlines():
        try:
            use, used, total = (float(part) for part in line.split(","))
        except ValueError:
            return None  # "[N/A]", as of a slice of a GPU
        rows.append((use / 100, int(used) << 20, int(total) << 20))
    if not rows:
        return None
    uses, useds, totals = zip(*rows, strict=True)
    return GpuSight(len(rows), sum(uses) / len(rows), sum(useds), sum(totals), min(totals))


class GpuWatch:
    """Looks at the GPUs every few seconds, beside the sweep.

    Attributes:
        sight: what was seen last; None: nothing, as where there is no `nvidia-smi`.
    """

    def __init__(self) -> None:
        self.sight: GpuSight | None = None
        self._ended = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Looks, inside this block."""
        if shutil.which(_QUESTION[0]) is None:
            yield
            return
        self._look()
        thread = threading.Thread(target=self._follow, name="gpu watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(timeout=_PATIENCE_S)

    def _follow(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        try:
            done = subprocess.run(_QUESTION, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            self.sight = None
        else:
            self.sight = sight_of(done.stdout) if done.returncode == 0 else None
