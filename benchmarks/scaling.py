"""Images/s of two trials at the same time, a thread each, against one alone: each trial a process, as in a sweep."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks import image_side
from benchmarks.harness import Figure, paired
from benchmarks.photos import photos

EPOCHS = 6


def _images_per_s(found: Path, work: Path) -> float:
    """Of the epochs after the first, in which both trials are surely at work."""
    seen = image_side.train(found, work, threads=1, model="resnet10t", input_resolution=64, epochs=EPOCHS)
    return sum(seen.num_images[1:]) / sum(seen.train_s[1:])


def measure(pairs: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", 480, 60)
        runs = count()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

            def trials(num: int) -> float:
                works = [Path(folder) / f"run-{next(runs)}" for _ in range(num)]
                return sum(pool.map(_images_per_s, [found] * num, works))

            trials(2)  # imports
            return [
                paired(
                    lambda: trials(2),
                    lambda: trials(1),
                    pairs=pairs,
                    ratio=lambda two, one: two / one,
                    what="2 trials at the same time, a thread each (resnet10t at 64 px)",
                    against="1 trial",
                    unit="images/s",
                    ratio_of="the throughput",
                    aim="≥ 1.8×",
                    command="python -m benchmarks scaling",
                )
            ]
