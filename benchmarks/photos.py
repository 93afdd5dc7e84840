"""Photos to measure with: generated ones of VOC's size (500×375 JPEG), or any image folder; with train/ and val/."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.image.pixels.decode import SUFFIXES

CLASSES = ("blue", "green", "red")
WIDTH, HEIGHT = 500, 375
GIVEN = "BENCH_DATA"
"""The environment variable that names a folder to measure on."""
_VAL_NAMES = ("val", "valid", "validation", "test")
_EVERY = 5  # of a folder without splits, one image in five is for val


def photos(folder: Path, num_train: int = 600, num_val: int = 150, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """An image folder of the form train/<class>/, val/<class>/: of the images in `BENCH_DATA`, or generated.

    A generated photo is smooth noise with fine grain, about as long a file as a photo, with a tint of its class: learnt
    in an epoch or two, so that both sides can be seen to learn the same.

    Args:
        folder: a new one, for generated photos, and for links to given ones that are not in that form.
        num_train: of generated photos.
        num_val: of generated photos.
        size: of generated photos, in pixels: width, height.

    Raises:
        SystemExit: the given folder has fewer than two classes of images.
    """
    if given := os.environ.get(GIVEN):
        return _split(Path(given), folder)
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


def classes_of(found: Path) -> list[str]:
    """The names of its classes, in the order in which ImageFolder and we number them."""
    return sorted(path.name for path in (found / "train").iterdir() if path.is_dir())


def said(size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """What the photos are, for the row of a table."""
    given = os.environ.get(GIVEN)
    return f"the photos of {Path(given).name}" if given else f"{size[0]}×{size[1]} photos"


def _split(given: Path, folder: Path) -> Path:
    """The folder itself where it is in the form that both sides read; else links to its images that are."""
    if (given / "train").is_dir() and (given / "val").is_dir():
        return given
    train = given / "train" if (given / "train").is_dir() else given
    val = next((given / name for name in _VAL_NAMES if train != given and (given / name).is_dir()), None)
    images = {path.name: _images(path) for path in sorted(train.iterdir()) if path.is_dir() and path != val}
    images = {name: files for name, files in images.items() if files}
    if len(images) < 2:
        raise SystemExit(
            f"{given}: --data takes an image folder, CLASS/*.jpg or train/CLASS/*.jpg, with two classes or more"
        )
    for name, files in images.items():
        held_out = _images(val / name) if val is not None else files[::_EVERY]
        _link(held_out, folder / "val" / name)
        _link(
            files if val is not None else [file for file in files if file not in set(held_out)], folder / "train" / name
        )
    return folder


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _link(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        # Numbered, because two folders below a class may hold files of one name.
        (folder / f"{number:06d}{file.suffix.lower()}").symlink_to(file.absolute())
