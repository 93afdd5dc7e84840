"""Full training from scratch on the CPU, images/s, against a timm-style loop.

Against the loop with channels last both sides compute in float32: the same settings. Against its defaults ours are the
defaults, too: the precision chosen by model family (`trainables/image/compute/precision.py`).

Images/s of a core: each side has one CPU for all of its threads and processes, so that decoding ahead costs what it
costs. Ours are the defaults; the peer has channels last, and bfloat16, a worker, or neither, whatever is fastest.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import image_side
from benchmarks.harness import Figure, paired, process_of_its_own
from benchmarks.peers import folder_loop
from benchmarks.photos import photos
from trainables.image.compute.precision import cpu_has_bf16

MODELS = (("resnet18", 128), ("mobilenetv3_large_100", 96), ("resnet10t", 64))
OF_A_CORE = (("mobilenetv2_100", 96), ("resnet18", 96), ("vit_tiny_patch16_224", 96))
EPOCHS, BATCH, LR = 2, 32, 1e-3
_MOST_APART = 0.35  # of accuracies after two epochs from scratch on 60 photos: only a broken side is further off


def measure(pairs: int = 2) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", 192, 60)
        for (model, resolution), channels_last in itertools.product(MODELS, (True, False)):
            figures.append(_figure(found, Path(folder), model, resolution, channels_last, pairs))
        figures += [_of_a_core(found, Path(folder), *each, pairs) for each in OF_A_CORE]
    return figures


def _figure(found: Path, folder: Path, model: str, resolution: int, channels_last: bool, pairs: int) -> Figure:
    runs = itertools.count()
    accuracies: dict[str, list[float]] = {"ours": [], "theirs": []}
    values = {"model": model, "input_resolution": resolution, "batch_size": BATCH, "lr": LR}

    def ours() -> float:
        training = sides["ours"].submit(
            image_side.train, found, folder / f"{model}-{channels_last}-{next(runs)}", threads=1, epochs=EPOCHS,
            mixed_precision="no" if channels_last else "auto", schedule="constant", **values,
        )  # fmt: skip
        seen = training.result()
        accuracies["ours"].append(seen.reports[-1].metrics["val_accuracy"])
        return seen.num_images[-1] / seen.train_s[-1]

    def theirs() -> float:
        training = sides["theirs"].submit(
            folder_loop.train_new, found, values, resolution=resolution, epochs=EPOCHS, batch_size=BATCH,
            lr=LR, workers=1, channels_last=channels_last,
        )  # fmt: skip
        seen = training.result()
        accuracies["theirs"].append(seen[-1].accuracy)
        return seen[-1].num_images / seen[-1].seconds

    with process_of_its_own() as one, process_of_its_own() as other:
        sides = {"ours": one, "theirs": other}
        figure = paired(
            ours,
            theirs,
            pairs=pairs,
            ratio=lambda our, their: our / their,
            what=f"full training, {model} at {resolution} px from scratch, images/s, 1 thread + 1 worker",
            against=f"timm-style loop, {'channels last' if channels_last else 'its defaults'}",
            unit="images/s",
            ratio_of="faster",
            aim="≥ 1.0×" if channels_last else "≥ 1.3×",
            command="python -m benchmarks full_training",
        )
    _check_same_work(accuracies)
    return figure


def _of_a_core(found: Path, folder: Path, model: str, resolution: int, pairs: int) -> Figure:
    runs = itertools.count()
    accuracies: dict[str, list[float]] = {"ours": [], "theirs": []}
    values = {"model": model, "input_resolution": resolution, "batch_size": BATCH, "lr": LR}
    ways = list(itertools.product((False, True) if cpu_has_bf16() else (False,), (0, 1)))

    def ours() -> float:
        work = folder / f"{model}-core-{next(runs)}"
        seen = sides["ours"].submit(
            image_side.train, found, work, threads=1, epochs=EPOCHS, schedule="constant", **values
        )
        reports = seen.result()
        accuracies["ours"].append(reports.reports[-1].metrics["val_accuracy"])
        return reports.num_images[-1] / reports.train_s[-1]

    def theirs() -> float:
        return max(their_speed(bf16, workers) for bf16, workers in ways)

    def their_speed(bf16: bool, workers: int) -> float:
        seen = sides["theirs"].submit(
            folder_loop.train_new, found, values, resolution=resolution, epochs=EPOCHS, batch_size=BATCH,
            lr=LR, workers=workers, channels_last=True, bf16=bf16,
        ).result()  # fmt: skip
        accuracies["theirs"].append(seen[-1].accuracy)
        return seen[-1].num_images / seen[-1].seconds

    with process_of_its_own() as one, process_of_its_own() as other:
        sides = {"ours": one, "theirs": other}
        for side in sides.values():
            side.submit(_stay_on_one_cpu).result()
        figure = paired(
            ours,
            theirs,
            pairs=pairs,
            ratio=lambda our, their: our / their,
            what=f"full training, {model} at {resolution} px from scratch, images/s of a core",
            against="timm-style loop, channels last, the fastest of bfloat16 or not, 0 or 1 workers",
            unit="images/s",
            ratio_of="faster",
            aim="≥ 1.15×",
            command="python -m benchmarks full_training",
        )
    _check_same_work(accuracies)
    return figure


def _stay_on_one_cpu() -> None:
    """This process, and those that it starts."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _check_same_work(accuracies: dict[str, list[float]]) -> None:
    medians = {side: statistics.median(each) for side, each in accuracies.items()}
    print(f"  val accuracy: {medians}", file=sys.stderr)
    assert abs(medians["ours"] - medians["theirs"]) <= _MOST_APART, f"not the same work: {medians}"
