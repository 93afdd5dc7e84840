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
from pathlib import Path

import torch

from benchmarks import image_side
from benchmarks.harness import Figure, paired, process_of_its_own
from benchmarks.peers import folder_loop
from benchmarks.photos import photos
from trainables.image.compute.precision import cpu_has_bf16

EPOCHS, BATCH, LR = 3, 32, 1e-3
_MOST_APART = 0.25
_EPOCHS_AT_ONCE = 4
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
            figures.append(_against_memory(found, Path(folder) / f"memory-{resolution}", resolution, 4 * pairs))
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
            what=f"small CNN on 500×375 photos at {resolution} px after the first epoch, {_IN_WORDS[precision]}, "
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


def _against_memory(found: Path, work: Path, resolution: int, pairs: int) -> Figure:
    """The same steps on batches from the cache's map, and on normalised tensors that lie in memory already."""
    import numpy as np
    from torch import nn

    from trainables.image.batches.feed import Feed
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
    rows = index.rows("train")
    targets = torch.from_numpy(index.targets)
    tensors = torch.cat(list(feed.batches(np.arange(len(index.targets)), BATCH)))
    # Several epochs in one: a single one takes half a second, and the noise of the machine is larger than that.
    draws = [np.random.default_rng(number) for number in range(pairs)]
    orders = [np.concatenate([draw.permutation(rows) for _ in range(_EPOCHS_AT_ONCE)]) for draw in draws]
    turn = {"ours": itertools.count(), "theirs": itertools.count()}

    def steps(from_memory: bool) -> float:
        order = orders[next(turn["theirs" if from_memory else "ours"])]
        model = image_side.model_of(**values).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
        began = time.perf_counter()
        parts = torch.from_numpy(order).split(BATCH)
        batches = (tensors[part] for part in parts) if from_memory else feed.batches(order, BATCH)
        for images, part in zip(batches, parts, strict=True):
            nn.functional.cross_entropy(model(images), targets[part]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return len(order) / (time.perf_counter() - began)

    try:
        return paired(
            lambda: steps(False),
            lambda: steps(True),
            pairs=pairs,
            ratio=lambda our, their: our / their,
            what=f"the same small CNN at {resolution} px, pixels from the cache",
            against="the same loop on tensors in memory",
            unit="images/s",
            ratio_of="as fast",
            aim="≥ 0.95×",
            command="python -m benchmarks input_pipeline",
        )
    finally:
        pixels.close()
