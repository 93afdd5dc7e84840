"""Which `resize` is best on real photos: linear heads on frozen features, cross-validated, several times over.

`python -m benchmarks.resize SWEEP_FILE WEIGHTS [WEIGHTS ...] [--resolution 160] [--seeds 5]`: of the sweep file only
its `data` section is read. Each weight file is of the model whose name its own begins with, such as
`mobilenetv2_100_imagenet.pth`. Printed is the accuracy (multi-label data: the mean average precision) of five folds,
averaged over the seeds, with the standard deviation between them.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweep_runner.spec.check import load_plan
from trainables.image.batches.feed import Feed
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.index import ImageIndex
from trainables.image.models.weights import read_weights
from trainables.image.pixels.examples import open_pixels
from trainables.image.pixels.fit import Fit

FITS = {
    "squash": Fit(),
    "pad": Fit("pad"),
    "crop 1.0": Fit("crop", 1.0),
    "crop 0.95": Fit("crop", 0.95),
    "crop 0.875": Fit("crop", 0.875),
}
FOLDS = 5

Features = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    plan = load_plan(options.sweep, ())
    with tempfile.TemporaryDirectory() as folder:
        plan.trainable(plan.data, Path(folder)).check_data()
        index = ImageIndex.load(Path(folder) / INDEX_FILE)
        for path in options.weights:
            scores = {
                name: _scores(_features(index, plan.data, path, fit, options.resolution), index, options.seeds)
                for name, fit in FITS.items()
            }
            cells = (f"{name} {np.mean(found):.4f} ± {np.std(found):.4f}" for name, found in scores.items())
            print(f"{path.stem}, {options.resolution} px, {len(index.table)} photos: {', '.join(cells)}", flush=True)


def _features(index: ImageIndex, data: object, path: Path, fit: Fit, side: int) -> Features:
    """Of every example, (N, D)."""
    name = max((each for each in timm.list_models() if path.name.startswith(each)), key=len)
    model = timm.create_model(name)
    model.load_state_dict(read_weights(path))
    model.eval().to(memory_format=torch.channels_last)
    pixels = open_pixels(index, data, side, fit=fit)  # type: ignore[arg-type]
    mean, std = (tuple(model.pretrained_cfg[key]) for key in ("mean", "std"))
    with contextlib.closing(pixels), torch.inference_mode():
        feed = Feed(pixels, torch.device("cpu"), mean, std)
        batches = feed.batches(np.arange(len(index.table)), 16)
        parts = [model.forward_head(model.forward_features(images), pre_logits=True) for images in batches]
    return np.asarray(torch.cat(parts).numpy())


def _scores(features: Features, index: ImageIndex, seeds: int) -> list[float]:
    """Of each seed, the mean of its folds."""
    targets = index.targets
    scores = []
    for seed in range(seeds):
        kind = KFold if index.multilabel else StratifiedKFold
        found = []
        for seen, judged in kind(FOLDS, shuffle=True, random_state=seed).split(features, targets):
            head = LogisticRegression(C=0.01, max_iter=300)
            whole = make_pipeline(StandardScaler(), OneVsRestClassifier(head) if index.multilabel else head)
            whole.fit(features[seen], targets[seen])
            if index.multilabel:
                found.append(average_precision_score(targets[judged], whole.predict_proba(features[judged])))
            else:
                found.append(whole.score(features[judged], targets[judged]))
        scores.append(float(np.mean(found)))
    return scores


if __name__ == "__main__":
    main()
