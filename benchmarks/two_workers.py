"""One trial with two workers, a thread each, against one worker with a thread: images/s, and seconds until it trains.

Each side is a `sweep run` of one trial; images/s are those that the trial reports, of the epochs after the first.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep, wall_s
from benchmarks.photos import photos

SPEC = """\
name: workers
data: {dataset: image_folder, root: PHOTOS, cache_dir: CACHE}
fixed:
  {model: MODEL, input_resolution: 64, batch_size: 32, epochs: 6, finetune: scratch, pretrained: false,
   mixed_precision: no}
space: {lr: [0.001]}
search: {sampler: grid, trials: 1}
resources: {cpus: 1, workers: WORKERS}
export: {formats: []}
dashboard: false
"""
MODELS = ("resnet10t", "resnet18")


def measure(pairs: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = photos(folder / "photos", 480, 60)
        runs = count()
        starts: dict[int, list[float]] = {1: [], 2: []}

        def images_per_s(model: str, workers: int) -> float:
            file, results = folder / "workers.yaml", folder / f"run-{next(runs)}"
            values = {"PHOTOS": found, "CACHE": folder / "cache", "MODEL": model, "WORKERS": workers}
            text = SPEC
            for key, value in values.items():
                text = text.replace(key, str(value))
            file.write_text(text)
            wall_s(sweep("run", str(file), "--results", str(results), "--quiet"), name)
            events = [json.loads(line) for line in (results / "workers" / "log.jsonl").read_text().splitlines()]
            (start,) = [event for event in events if event["kind"] == "start"]
            epochs = [event for event in events if event["kind"] == "epoch"]
            starts[workers].append(epochs[0]["time"] - start["time"] - epochs[0]["metrics"]["epoch_s"])
            return statistics.mean(epoch["metrics"]["images_per_s"] for epoch in epochs[1:])

        images_per_s(MODELS[0], 1)  # decodes the photos
        starts[1].clear()
        figures = [
            paired(
                lambda model=model: images_per_s(model, 2),  # type: ignore[misc]
                lambda model=model: images_per_s(model, 1),  # type: ignore[misc]
                pairs=pairs,
                ratio=lambda two, one: two / one,
                what=f"1 trial with 2 workers, a thread each ({model} at 64 px, batches of 32)",
                against="1 worker with 1 thread",
                unit="images/s",
                ratio_of="the throughput",
                aim="≥ 1.6×",
                command="python -m benchmarks two_workers",
            )
            for model in MODELS
        ]
        return [*figures, _start_up(starts)]


def _start_up(starts: dict[int, list[float]]) -> Figure:
    ratios = [two / one for two, one in zip(starts[2], starts[1], strict=True)]
    return Figure(
        what="2 workers: from the hand-out of the first trial until it trains",
        against="1 worker",
        ours=statistics.median(starts[2]),
        theirs=statistics.median(starts[1]),
        unit="s",
        ratio=statistics.median(ratios),
        spread=(min(ratios), max(ratios)),
        pairs=len(ratios),
        ratio_of="as long",
        aim="+ 5 s",
        command="python -m benchmarks two_workers",
    )
