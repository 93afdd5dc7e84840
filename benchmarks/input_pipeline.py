"""Images/s of a small CNN from photos at 64 and 128 px after the first epoch; against ImageFolder and DataLoader.

Both sides compute in the same precision with one thread, and the peer has one worker beside it: what is compared is
the way of the pixels. Ours needs no worker: on the same two CPUs it has two threads, a comparison of its own. bfloat16
is what a trial takes by itself on a CPU that has it, and what PyTorch's autocast gives the peer. The second peer is our
own loop on the same pixels as an array in memory: what reading them costs.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks import image_side
from benchmarks.harness import Figure, paired, process_of_its_own
from benchmarks.peers import folder_loop
from benchmarks.photos import classes_of, photos, said
from trainables.image.compute.precision import cpu_has_bf16

if TYPE_CHECKING:
    from trainables.image.batches.augment import Augmentation
    from trainables.image.batches.feed import Feed

EPOCHS, BATCH, LR = 3, 32, 1e-3
_MOST_APART = 0.25
_EPOCHS_AT_ONCE = 4
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "light augmentation": {"augment": "light"},
    "RandAugment": {"augment": "randaugment"},
    "TrivialAugment": {"augment": "trivialaugment"},
    "mirrored": {"hflip": 0.5, "vflip": 0.5},
    "random crops": {"crop_scale": 0.5},
    "rotated": {"rotation_degrees": 15},
    "colour jitter": {"color_jitter": 0.2},
    "inverted": {"invert": 0.5},
    "random erasing": {"random_erasing": 0.5},
}
_IN_WORDS = {"no": "float32", "bf16": "bfloat16"}


def measure(pairs: int = 2) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos")
        torch.set_num_threads(1)
        for resolution in (64, 128):
            precisions = ("no", "bf16") if cpu_has_bf16() else ("no",)
            figures += [_against_folder(found, Path(folder), resolution, each, 1, pairs) for each in precisions]
            figures.append(_against_folder(found, Path(folder), resolution, "no", 2, pairs))
            figures += _against_memory(found, Path(folder) / f"memory-{resolution}", resolution, 4 * pairs)
    return figures


def _against_folder(
    found: Path, folder: Path, resolution: int, precision: str, most_threads: int, pairs: int
) -> Figure:
    """Ours with that many threads; the peer with one worker and as many threads as suits it best."""
    runs = itertools.count()
    accuracies: dict[str, list[float]] = {"ours": [], "theirs": []}
    values = {"model": "simple_cnn3", "width": 8, "input_resolution": resolution, "batch_size": BATCH, "lr": LR}

    def ours() -> float:
        work = folder / f"{resolution}-{precision}-{most_threads}-{next(runs)}"
        settings = {"epochs": EPOCHS, "schedule": "constant", "mixed_precision": precision, **values}
        seen = sides["ours"].submit(image_side.train, found, work, threads=most_threads, **settings).result()
        accuracies["ours"].append(seen.reports[-1].metrics["val_accuracy"])
        return statistics.median(n / s for n, s in zip(seen.num_images[1:], seen.train_s[1:], strict=True))

    def theirs() -> float:
        return max(their_speed(threads) for threads in range(1, most_threads + 1))

    def their_speed(threads: int) -> float:
        options = {"resolution": resolution, "epochs": EPOCHS, "batch_size": BATCH, "lr": LR, "workers": 1}
        options |= {"threads": threads, "bf16": precision == "bf16"}
        seen = sides["theirs"].submit(folder_loop.train_new, found, values, **options).result()
        accuracies["theirs"].append(seen[-1].accuracy)
        return statistics.median(each.num_images / each.seconds for each in seen[1:])

    with process_of_its_own() as one, process_of_its_own() as other:
        sides = {"ours": one, "theirs": other}
        figure = paired(
            ours,
            theirs,
            pairs=pairs,
            ratio=lambda our, their: our / their,
            what=f"small CNN on {said()} at {resolution} px after the first epoch, {_IN_WORDS[precision]}, "
            + ("1 thread" if most_threads == 1 else f"{most_threads} threads"),
            against="ImageFolder + DataLoader, 1 worker, " + ("1 thread" if most_threads == 1 else "1 or 2 threads"),
            unit="images/s",
            ratio_of="faster",
            aim="≥ 3×",
            command="python -m benchmarks input_pipeline",
        )
    medians = {side: statistics.median(each) for side, each in accuracies.items()}
    print(f"  val accuracy: {medians}", file=sys.stderr)
    assert abs(medians["ours"] - medians["theirs"]) <= _MOST_APART, f"not the same work: {medians}"
    return figure


def _against_memory(found: Path, work: Path, resolution: int, pairs: int) -> list[Figure]:
    """The same steps on batches from the cache's map, and on images that lie in memory already.

    Without augmentation those are normalised tensors; with each of the tool's, uint8 that are changed by the same
    functions and normalised batch by batch.
    """
    from trainables.image.batches.augment import make_augmentation
    from trainables.image.batches.feed import Feed
    from trainables.image.config import ImageConfig
    from trainables.image.data.prepare import INDEX_FILE
    from trainables.image.data_config import DataConfig
    from trainables.image.index import ImageIndex
    from trainables.image.pixels.examples import open_pixels

    values = {"model": "simple_cnn3", "width": 8, "input_resolution": resolution}
    image_side.train(found, work, threads=1, epochs=1, mixed_precision="no", **values)
    index = ImageIndex.load(work / "data" / INDEX_FILE)
    data = DataConfig.model_validate({"dataset": "image_folder", "root": str(found), "cache_dir": str(work / "cache")})
    pixels = open_pixels(index, data, resolution)
    feed = Feed(pixels, torch.device("cpu"), folder_loop.MEAN, folder_loop.STD)
    loop = _Loop(feed, torch.from_numpy(index.targets), len(classes_of(found)), values)
    every = np.arange(len(index.targets))
    normalised, plain = torch.cat(list(feed.batches(every, BATCH))), torch.from_numpy(pixels.gather(every))
    try:
        figures = []
        for name, settings in {"": {}, **AUGMENTATIONS}.items():
            augmentation = make_augmentation(ImageConfig.model_validate({**values, **settings}))
            memory = (
                _Normalised(normalised) if augmentation is None else _Changed(plain.permute(0, 3, 1, 2), augmentation)
            )
            rows, draw = index.rows("train"), np.random.default_rng(0)
            # Several epochs in one: a single one takes half a second, and the noise of the machine is larger than that.
            orders = [np.concatenate([draw.permutation(rows) for _ in range(_EPOCHS_AT_ONCE)]) for _ in range(pairs)]
            # Both sides see the same orders.
            ours, theirs = iter(orders), iter(orders)
            figures.append(
                paired(
                    lambda ours=ours, augmentation=augmentation: loop.ours(next(ours), augmentation),  # type: ignore[misc]
                    lambda theirs=theirs, memory=memory: loop.theirs(next(theirs), memory),  # type: ignore[misc]
                    pairs=pairs,
                    ratio=lambda our, their: our / their,
                    what=f"the same small CNN at {resolution} px, pixels from the cache{name and f', {name}'}",
                    against="the same loop on "
                    + ("uint8 tensors in memory, changed by the same functions" if name else "tensors in memory"),
                    unit="images/s",
                    ratio_of="as fast",
                    aim="≥ 0.97×" if name else "≥ 0.95×",
                    command="python -m benchmarks input_pipeline",
                )
            )
        return figures
    finally:
        pixels.close()


class _Normalised:
    """Images in memory that need nothing more."""

    def __init__(self, images: torch.Tensor) -> None:
        self._images = images

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        return self._images[rows]


class _Changed:
    """Images in memory as uint8: augmented and normalised when they are needed, as a loop of one's own does it."""

    def __init__(self, images: torch.Tensor, augmentation: Augmentation) -> None:
        self._images, self._augmentation = images, augmentation
        self._generator = torch.Generator().manual_seed(0)
        self._mean, self._std = (torch.tensor(each).view(-1, 1, 1) for each in (folder_loop.MEAN, folder_loop.STD))

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        changed = self._augmentation(self._images[rows], self._generator)
        return changed.float().div(255).sub(self._mean).div(self._std).contiguous(memory_format=torch.channels_last)


class _Loop:
    """Training steps, the same for both sides."""

    def __init__(self, feed: Feed, targets: torch.Tensor, num_classes: int, values: dict[str, Any]) -> None:
        self._feed, self._targets, self._num_classes, self._values = feed, targets, num_classes, values

    def ours(self, order: npt.NDArray[np.int64], augmentation: Augmentation | None) -> float:
        """Images/s."""
        from trainables.image.batches.augment import with_generator

        change = with_generator(augmentation, torch.Generator().manual_seed(0))
        return self._steps(order, lambda parts: self._feed.batches(order, BATCH, change))

    def theirs(self, order: npt.NDArray[np.int64], memory: _Normalised | _Changed) -> float:
        """Images/s."""
        return self._steps(order, lambda parts: (memory.batch(part) for part in parts))

    def _steps(
        self, order: npt.NDArray[np.int64], batches: Callable[[Sequence[torch.Tensor]], Iterator[torch.Tensor]]
    ) -> float:
        model = image_side.model_of(self._num_classes, **self._values).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
        began = time.perf_counter()
        parts = torch.from_numpy(order).split(BATCH)
        for images, part in zip(batches(parts), parts, strict=True):
            nn.functional.cross_entropy(model(images), self._targets[part]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return len(order) / (time.perf_counter() - began)
