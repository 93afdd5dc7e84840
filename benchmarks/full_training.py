"""Full training from scratch on the CPU, images/s, against a timm-style loop.

Against the loop with channels last both sides compute in float32: the same settings. Against its defaults ours are the
defaults, too: the precision chosen by model family (`trainables/image/compute/precision.py`).
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import image_side
from benchmarks.harness import Figure, paired, process_of_its_own
from benchmarks.peers import folder_loop
from benchmarks.photos import photos

MODELS = (("resnet18", 128), ("mobilenetv3_large_100", 96), ("resnet10t", 64))
EPOCHS, BATCH, LR = 2, 32, 1e-3
_MOST_APART = 0.35  # of accuracies after two epochs from scratch on 60 photos: only a broken side is further off


def measure(pairs: int = 2) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", 192, 60)
        for (model, resolution), channels_last in itertools.product(MODELS, (True, False)):
            figures.append(_figure(found, Path(folder), model, resolution, channels_last, pairs))
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
    medians = {side: statistics.median(each) for side, each in accuracies.items()}
    print(f"  val accuracy: {medians}", file=sys.stderr)
    assert abs(medians["ours"] - medians["theirs"]) <= _MOST_APART, f"not the same work: {medians}"
    return figure
