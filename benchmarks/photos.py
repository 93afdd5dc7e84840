"""Photos to measure with: generated ones of VOC's size (500×375 JPEG), an image folder with train/ and val/."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")
WIDTH, HEIGHT = 500, 375


def photos(folder: Path, num_train: int = 600, num_val: int = 150, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """The folder of `BENCH_DATA`, if that is set (train/<class>/, val/<class>/); else generated photos.

    Each is smooth noise with fine grain, about as long a file as a photo, with a tint of its class: learnt in an
    epoch or two, so that both sides can be seen to learn the same.
    """
    if given := os.environ.get("BENCH_DATA"):
        return Path(given)
    width, height = size
    jobs = [(split, number) for split, num in (("train", num_train), ("val", num_val)) for number in range(num)]

    def write(job: tuple[str, int]) -> None:
        split, number = job
        label = number % len(CLASSES)
        random = np.random.default_rng([split == "val", number])
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = pixels + random.integers(-12, 13, (height, width, 1), dtype=np.int16)
        pixels[:, :, 2 - label] += 60
        target = folder / split / CLASSES[label] / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target, quality=90)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, jobs))
    return folder
