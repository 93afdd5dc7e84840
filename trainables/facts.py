"""Facts of a model that need no training: its parameters, its size, its latency. Less is better.

A fact is a number under a name. The names of latencies carry how they were measured, so that each is a column of its
own: `onnx_latency_ms` is the median of one picture on one thread, `onnx_latency_batch32_all_threads_p95_ms` the 95th
percentile of 32 pictures at a time on all CPUs that the process may use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Threads = int | Literal["all"]

NUM_PARAMETERS = "num_parameters"
NUM_FLOPS = "num_flops"
ONNX_BYTES = "onnx_bytes"
ONNX_LATENCY = "onnx_latency_ms"
ONNX_LATENCY_P95 = "onnx_latency_p95_ms"

MEANINGS: Mapping[str, str] = {
    NUM_PARAMETERS: "number of parameters of the model",
    NUM_FLOPS: "floating-point operations per image",
    ONNX_BYTES: "bytes of the ONNX file",
    ONNX_LATENCY: "milliseconds in ONNX Runtime, median",
}
"""The built-in facts, in words."""


_LATENCY = re.compile(r"onnx_latency(?:_batch(?P<batch>\d+))?(?:_(?P<threads>\d+|all)_threads)?(?:_p95)?_ms")


@dataclass(frozen=True)
class LatencySetting:
    """How a latency is measured.

    Attributes:
        batch: pictures at a time.
        threads: CPU threads; `all`: as many as the process may use.
        device: empty for the CPU, else the device's name; then `threads` is 1.
    """

    batch: int = 1
    threads: Threads = 1
    device: str = ""

    @property
    def fact(self) -> str:
        """The name of the median, in milliseconds for the whole batch."""
        return self._name("")

    @property
    def p95_fact(self) -> str:
        """The name of the 95th percentile."""
        return self._name("_p95")

    def _name(self, which: str) -> str:
        batch = "" if self.batch == 1 else f"_batch{self.batch}"
        threads = "" if self.threads == 1 else f"_{self.threads}_threads"
        device = f"_{self.device}" if self.device else ""
        return f"onnx_latency{device}{batch}{threads}{which}_ms"

    def __str__(self) -> str:
        pictures = "one image" if self.batch == 1 else f"{self.batch} images at a time"
        threads = {1: "one thread", "all": "all threads"}.get(self.threads, f"{self.threads} threads")
        return f"{pictures}, {threads}"


STANDARD: tuple[LatencySetting, ...] = (
    LatencySetting(),
    LatencySetting(threads="all"),
    LatencySetting(batch=32),
    LatencySetting(batch=32, threads="all"),
)
"""What is measured of every model, so that models of different sweeps compare."""


def setting_of(fact: str) -> LatencySetting | None:
    """How a latency of this name is measured; None: it is no latency, or one of another device than the CPU."""
    match = _LATENCY.fullmatch(fact)
    if match is None:
        return None
    threads = match["threads"] or "1"
    return LatencySetting(int(match["batch"] or 1), "all" if threads == "all" else int(threads))


def is_costly(fact: str) -> bool:
    """Whether a fact takes an export and more: seconds, not moments."""
    return fact == ONNX_BYTES or fact.startswith("onnx_latency")


def settings_of(facts: Iterable[str]) -> tuple[LatencySetting, ...]:
    """The settings that facts of these names are measured in, each once."""
    return tuple(dict.fromkeys(setting for fact in facts if (setting := setting_of(fact)) is not None))


def standard_facts(known: Iterable[str]) -> tuple[str, ...]:
    """What is measured of every model of a trainable, of the facts that it knows."""
    names: list[str] = []
    for fact in known:
        names += [each.fact for each in STANDARD] if fact == ONNX_LATENCY else [fact]
    return tuple(names)


@dataclass(frozen=True)
class Latency:
    """How long a model takes.

    Attributes:
        device: `CPU`, or the name of ONNX Runtime's provider for another device.
        batch: pictures at a time.
        threads: CPU threads that it had; 0 on another device.
        median_ms, p95_ms: of the whole batch, in milliseconds.
        num_runs: how many runs these are of, after a warm-up.
    """

    device: str
    batch: int
    threads: int
    median_ms: float
    p95_ms: float
    num_runs: int

    @property
    def images_per_s(self) -> float:
        """Pictures per second at the median."""
        return 1000 * self.batch / self.median_ms

    def to_json(self) -> dict[str, Any]:
        """As the card of a package has it."""
        return {**vars(self), "images_per_s": round(self.images_per_s, 1)}
