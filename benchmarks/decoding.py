"""Reading photos of 500×375 into the pixel cache at 128 px; against the fastest ways to decode and resize the same.

Ours is all of a sweep's preparation: listing, checking, checksums, hashes for near duplicates, decoding, writing the
cache. A peer only decodes, resizes and writes, with as many threads. Each peer's pixels are held against a resize in
floating point of the completely decoded photo, bilinear with antialiasing, which is what the exported model computes: a
peer that decodes a smaller picture (DCT scaling, Pillow's `draft`) is quicker, and further from it.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import functional as F

from benchmarks.harness import Figure, paired
from benchmarks.photos import photos, said
from trainables.cpus import num_cpus
from trainables.image.data_config import DataConfig
from trainables.image.trainable import ImageClassifier

RESOLUTION, NUM_PHOTOS = 128, 4000
_COMPARED = 50

Pixels = npt.NDArray[np.uint8]
Open = Callable[[Path], Pixels]


def measure(pairs: int = 5) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = photos(folder / "photos", NUM_PHOTOS * 9 // 10, NUM_PHOTOS // 10)
        files = sorted(path for path in found.rglob("*") if path.is_file())
        torch.set_num_threads(1)
        runs = itertools.count()
        figures = []
        for peer, open_photo in PEERS.items():
            apart = f"{_psnr(open_photo, files):.1f} dB from the exact resize, ours {_psnr(_ours, files):.1f} dB"
            print(f"  {peer}: {apart}", file=sys.stderr)
            figures.append(
                paired(
                    lambda: _prepare(found, folder / f"ours-{next(runs)}", len(files)),
                    partial(_read, open_photo, files, folder / "theirs.npy"),
                    pairs=pairs,
                    ratio=lambda our, their: our / their,
                    what=f"preparing {said()} for {RESOLUTION} px: listing, checks, hashes, pixel cache",
                    against=f"{peer}; {apart}",
                    unit="images/s",
                    ratio_of="as fast",
                    aim="≥ 1.0× of those with equal pixels",
                    command="python -m benchmarks decoding",
                )
            )
        return figures


def _prepare(found: Path, work: Path, num: int) -> float:
    """Images/s."""
    data = DataConfig.model_validate({"dataset": "image_folder", "root": str(found), "cache_dir": str(work / "cache")})
    trainable = ImageClassifier(data, work / "data")
    began = time.perf_counter()
    trainable.prepare({"input_resolution": [RESOLUTION], "finetune": ["scratch"], "pretrained": [False]})
    return num / (time.perf_counter() - began)


def _read(open_photo: Open, files: list[Path], target: Path) -> float:
    """Images/s."""
    shape = (len(files), RESOLUTION, RESOLUTION, 3)
    began = time.perf_counter()
    pixels = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)

    def read(row: int) -> None:
        pixels[row] = open_photo(files[row])

    with ThreadPoolExecutor(num_cpus()) as pool:
        list(pool.map(read, range(len(files))))
    pixels.flush()
    return len(files) / (time.perf_counter() - began)


def _torchvision(file: Path) -> Pixels:
    image = decode_jpeg(read_file(str(file)), mode=ImageReadMode.RGB)
    resized: torch.Tensor = F.resize(image, [RESOLUTION, RESOLUTION], antialias=True)
    return resized.permute(1, 2, 0).numpy()


def _pillow(file: Path, *, draft: bool) -> Pixels:
    with Image.open(file) as image:
        if draft:
            image.draft("RGB", (RESOLUTION, RESOLUTION))
        return np.asarray(image.convert("RGB").resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR))


def _ours(file: Path) -> Pixels:
    from trainables.image.pixels.decode import decode

    return decode(file, resolution=RESOLUTION)


PEERS: dict[str, Open] = {
    "torchvision.io": _torchvision,
    "Pillow": partial(_pillow, draft=False),
    "Pillow with DCT scaling (draft)": partial(_pillow, draft=True),
}


def _psnr(open_photo: Open, files: list[Path]) -> float:
    """How near pixels are to those of the resize in floating point, in decibels; the mean over a few photos."""
    found = []
    for file in files[:: max(1, len(files) // _COMPARED)]:
        with Image.open(file) as image:
            whole = torch.from_numpy(np.asarray(image.convert("RGB"))).permute(2, 0, 1).double()
        exact = F.resize(whole, [RESOLUTION, RESOLUTION], antialias=True).permute(1, 2, 0).numpy()
        error = float(((open_photo(file) - exact) ** 2).mean())
        found.append(10.0 * math.log10(255.0**2 / error))
    return sum(found) / len(found)


if __name__ == "__main__":
    print([figure.row("now") for figure in measure()])
