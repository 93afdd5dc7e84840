"""Measures the latency of an exported model in ONNX Runtime. Needs no PyTorch.

A session is made for each number of threads, warmed up, and then run until the times are many enough: the median and
the 95th percentile are of single runs, each with its copy of the pixels. The pictures are noise of the model's own
resolution: what a convolution takes does not depend on what it sees, and resizing is done before (`predict`, `serve`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.cpus import num_cpus
from trainables.facts import Latency, LatencySetting
from trainables.image.openvino_file import SUFFIX as OPENVINO_SUFFIX
from trainables.image.package import Package, load_package

OTHER_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "ROCMExecutionProvider")
"""Devices that are measured, too, where this ONNX Runtime has them; the first that loads."""

LEAST_RUNS, MOST_RUNS = 10, 100
_LONG_RUN_S = 1.0
_LEAST_LONG_RUNS = 5
"""Of runs that take longer than `_LONG_RUN_S`: 32 pictures of a large network take seconds."""
_WARM_UP_S = 0.2
_MEASURE_S = 1.0


def bench(
    package: Path, settings: Sequence[LatencySetting], progress: Callable[[str], None] | None = None
) -> list[Latency]:
    """Measures a model package on this machine: on its CPU, and on a GPU if its ONNX Runtime has one.

    Args:
        package: its folder, or the ONNX file.
        settings: what to measure; those that are the same here (all threads of one CPU) are measured once.
        progress: told what comes next.

    Raises:
        DataError: no model package.
    """
    wanted = dict.fromkeys((setting.batch, num_threads(setting)) for setting in settings)
    found = []
    for threads in dict.fromkeys(threads for _, threads in wanted):
        model = load_package(package, threads)
        found += [_measured(model, "CPU", batch, threads, progress) for batch, of in wanted if of == threads]
    if package.suffix != OPENVINO_SUFFIX and (provider := other_provider()):
        model = load_package(package, provider=provider)
        device = provider.removesuffix("ExecutionProvider")
        found += [_measured(model, device, batch, 0, progress) for batch in dict.fromkeys(batch for batch, _ in wanted)]
    return found


def latency_facts(package: Path, settings: Sequence[LatencySetting]) -> dict[str, float]:
    """The medians and 95th percentiles on this machine, under their names; of a GPU, too, where one was measured."""
    facts: dict[str, float] = {}
    for latency in bench(package, settings):
        for setting in settings:
            if latency.batch != setting.batch or latency.threads not in (0, num_threads(setting)):
                continue
            named = setting if latency.threads else replace(setting, threads=1, device=latency.device.lower())
            facts[named.fact], facts[named.p95_fact] = latency.median_ms, latency.p95_ms
    return facts


def num_threads(setting: LatencySetting) -> int:
    """How many threads a setting means on this machine."""
    return num_cpus() if setting.threads == "all" else setting.threads


def other_provider() -> str | None:
    """The device beside the CPU that this ONNX Runtime offers."""
    import onnxruntime as ort

    there = set(ort.get_available_providers())
    return next((provider for provider in OTHER_PROVIDERS if provider in there), None)


def runtime_name() -> str:
    """ONNX Runtime and its version: another one is faster or slower."""
    import onnxruntime as ort

    return f"ONNX Runtime {ort.__version__}"


def _measured(model: Package, device: str, batch: int, threads: int, progress: Callable[[str], None] | None) -> Latency:
    if progress is not None:
        progress(
            f"{device}, {batch} image{'s' if batch > 1 else ''} at a time" + (f", {threads} threads" if threads else "")
        )
    side, channels = model.facts.input_resolution, model.facts.channels
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, channels), dtype=np.uint8)
    times_ms = _times_ms(lambda: model.probabilities(images))
    median, p95 = np.percentile(times_ms, (50, 95))
    return Latency(device, batch, threads, _short(median), _short(p95), len(times_ms))


def _times_ms(run: Callable[[], object]) -> list[float]:
    warm_until = time.perf_counter() + _WARM_UP_S
    for _ in range(LEAST_RUNS):
        run()
        if time.perf_counter() > warm_until:
            break
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < MOST_RUNS:
        started = time.perf_counter()
        run()
        ended = time.perf_counter()
        times.append(1000 * (ended - started))
        least = _LEAST_LONG_RUNS if times[0] > 1000 * _LONG_RUN_S else LEAST_RUNS
        if len(times) >= least and ended - begin > _MEASURE_S:
            break
    return times


def _short(value_ms: float) -> float:
    """Four significant digits: more are noise."""
    return float(f"{value_ms:.4g}")
