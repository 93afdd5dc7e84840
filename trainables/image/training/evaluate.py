"""The final evaluation of a checkpoint on a split."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from trainables.contract import Evaluation
from trainables.image.batches.feed import Feed, Source
from trainables.image.compute.device import compute_device
from trainables.image.compute.threads import threads
from trainables.image.config import ImageConfig
from trainables.image.data.folds import fold_view
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.features.store import find_features
from trainables.image.features.stored import FeatureFeed
from trainables.image.index import ImageIndex
from trainables.image.measures.scores import score
from trainables.image.measures.thresholds import Threshold, tune_thresholds
from trainables.image.models.factory import normalization
from trainables.image.models.layout import channels_last
from trainables.image.package import THRESHOLD
from trainables.image.pixels.examples import open_pixels
from trainables.image.training.checkpoint import (
    backbone_weights,
    fold_folders,
    is_head_only,
    load_head_alone,
    load_trained,
)
from trainables.image.training.folds import mean_over_folds
from trainables.image.training.graph import GraphRun
from trainables.image.training.members import members_of
from trainables.image.training.predicting import predict
from trainables.image.training.refit import threshold_in
from trainables.image.training.step import judged_raw

BATCH_SIZE = 64
_AT_ONCE = 1024 * BATCH_SIZE
"""Examples whose outputs stay on the device until they are fetched together."""
TUNED_ON = "val"
"""The split whose labels may decide on thresholds; the test split never does."""


def evaluate_checkpoint(
    config: ImageConfig, data: DataConfig, folder: Path, checkpoint: Path, split: str, num_threads: int = 1
) -> Evaluation | None:
    """Scores a checkpoint's model on one split, on the GPU if there is one.

    Args:
        config: that it was trained with.
        data: as in the sweep file.
        folder: where `prepare` left the index.
        checkpoint: the folder that the trial wrote.
        split: `train`, `val` or `test`.
        num_threads: CPU threads to use.

    Returns:
        None when the split has no example. With folds val is every example that is not test, each judged by the model
        that has not seen it: `predictions` says by which, in the column `fold`.
    """
    index = ImageIndex.load(folder / INDEX_FILE)
    if split == "val" and fold_folders(checkpoint):
        return evaluate_folds(config, index, data, checkpoint, num_threads)
    rows = index.rows(split)
    if not len(rows):
        return None
    examples, groups = (index.table[name].take(rows).to_pylist() for name in ("example", "group"))
    if split == TUNED_ON and (known := logits_of_features(config, index, data, checkpoint, rows)) is not None:
        return score(
            split, examples, index.targets[rows], known, index.classes, index.multilabel, config.threshold, groups
        )
    model = load_trained(config, len(index.classes), checkpoint)
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
    with contextlib.closing(pixels), threads(num_threads):
        logits = compute_logits(model, pixels, rows, graph=config.graph == "on")
        # On val itself `tuned` stays: there each example is decided with what the others say.
        threshold: Threshold | torch.Tensor = config.threshold
        if split != TUNED_ON:
            threshold = chosen_threshold(config, index, model, pixels, checkpoint)
    return score(split, examples, index.targets[rows], logits, index.classes, index.multilabel, threshold, groups)


def logits_of_features(
    config: ImageConfig, index: ImageIndex, data: DataConfig, checkpoint: Path, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32] | None:
    """The outputs of a trained head for examples of val, (N, classes), from the features that it was judged on.

    Returns:
        None where the checkpoint holds a whole model, its features are not stored any more, or they were computed in
        half precision, in which the model is not published.

    Raises:
        WeightsError: the weights of the backbone are gone, or others.
    """
    if members_of(checkpoint)[0] or not is_head_only(checkpoint):
        return None
    weights = backbone_weights(checkpoint)
    features = find_features(config, index, data, weights)
    if features is None:
        return None
    with contextlib.closing(features):
        if features.backbone.precision != "no":
            return None
        head = load_head_alone(config, len(index.classes), checkpoint, features)
        return predict(head, FeatureFeed(features, torch.device("cpu")), rows, _AT_ONCE).numpy()


def evaluate_folds(
    config: ImageConfig, index: ImageIndex, data: DataConfig, checkpoint: Path, num_threads: int
) -> Evaluation:
    """Scores each model of a trial with folds on its own val.

    Metrics are means over all models, with their spread, as while training. Predictions, classes and confusions are of
    the first way of cutting: there each example is once.
    """
    truth, found = index.targets, out_of_fold(config, index, data, checkpoint, num_threads)
    each = [
        score("val", [""] * len(rows), truth[rows], logits, index.classes, index.multilabel, config.threshold).metrics
        for rows, logits in found
    ]
    first = found[: len(found) // index.num_repeats]
    rows, logits = (np.concatenate(parts) for parts in zip(*first, strict=True))
    fold = np.concatenate([np.full(len(part), number) for number, (part, _) in enumerate(first, start=1)])
    order = np.argsort(rows)
    rows = rows[order]
    examples, groups = (index.table[name].take(rows).to_pylist() for name in ("example", "group"))
    whole = score(
        "val", examples, truth[rows], logits[order], index.classes, index.multilabel, config.threshold, groups
    )
    predictions = whole.predictions.append_column("fold", pa.array(fold[order], pa.int64()))
    return replace(whole, metrics=mean_over_folds(each), predictions=predictions)


def out_of_fold(
    config: ImageConfig, index: ImageIndex, data: DataConfig, checkpoint: Path, num_threads: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """For each model of a trial with folds, the rows of its val (n,) and its outputs for them (n, classes)."""
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
    found = []
    with contextlib.closing(pixels), threads(num_threads):
        for number, folder in enumerate(fold_folders(checkpoint)):
            rows = fold_view(index, number, data).rows("val")
            model = load_trained(config, len(index.classes), folder)
            found.append((rows, compute_logits(model, pixels, rows, graph=config.graph == "on")))
    return found


def threshold_on_val(
    config: ImageConfig, index: ImageIndex, data: DataConfig, checkpoint: Path, num_threads: int
) -> float | tuple[float, ...]:
    """From which probability a label counts, as `chosen_threshold` says for a trial's checkpoint; in plain numbers."""
    if not index.multilabel:
        return THRESHOLD
    if not isinstance(config.threshold, str):
        return config.threshold
    if fold_folders(checkpoint):
        found = out_of_fold(config, index, data, checkpoint, num_threads)[: index.num_folds // index.num_repeats]
        rows, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
        tuned = tune_thresholds(torch.from_numpy(logits).sigmoid(), torch.from_numpy(index.targets[rows]))
        return tuple(tuned.tolist())
    model = load_trained(config, len(index.classes), checkpoint)
    pixels = open_pixels(index, data, config.input_resolution, config.num_channels, num_threads, fit=config.fit)
    with contextlib.closing(pixels), threads(num_threads):
        threshold = chosen_threshold(config, index, model, pixels, checkpoint)
    return threshold if isinstance(threshold, float) else tuple(threshold.tolist())


def chosen_threshold(
    config: ImageConfig, index: ImageIndex, model: nn.Module, pixels: Source, checkpoint: Path
) -> float | torch.Tensor:
    """From which probability a label counts: as the config says, or tuned on val for each label, (classes,).

    Args:
        config: that it was trained with.
        index: of the data that it was trained on.
        model: in evaluation mode.
        pixels: of the index.
        checkpoint: of the model. One that was trained anew on val, too, names the thresholds that were tuned before.
    """
    if (known := threshold_in(checkpoint)) is not None:
        return known if isinstance(known, float) else torch.tensor(known, dtype=torch.float64)
    if not isinstance(config.threshold, str):
        return config.threshold
    rows = index.rows(TUNED_ON)
    if not index.multilabel or not len(rows):
        return THRESHOLD
    probabilities = torch.from_numpy(compute_logits(model, pixels, rows, graph=config.graph == "on")).sigmoid()
    return tune_thresholds(probabilities, torch.from_numpy(index.targets[rows]))


def compute_logits(
    model: nn.Module,
    pixels: Source,
    rows: npt.NDArray[np.int64],
    device: torch.device | None = None,
    graph: bool = False,
) -> npt.NDArray[np.float32]:
    """The outputs of a trained model, (N, classes), in float32.

    Args:
        model: in evaluation mode.
        pixels: of the dataset.
        rows: N of them.
        device: where to compute; by default the GPU if there is one.
        graph: on a GPU full batches are one launch each, after a few: see `training.graph`.
    """
    device = device or compute_device()
    model = channels_last(model.to(device))
    feed = Feed(pixels, device, *normalization(model))
    run = None
    if graph and device.type == "cuda":
        # Where it cannot be captured the trial has said so: its own passes over val are the same.
        run = GraphRun(partial(judged_raw, model, feed), warn=lambda text: None)
    starts = range(0, len(rows), _AT_ONCE)
    logits = [predict(model, feed, rows[start : start + _AT_ONCE], BATCH_SIZE, run).cpu() for start in starts]
    return torch.cat(logits).numpy()


class GivenImages:
    """Images in memory, (N, H, W, C), as a source of pixels."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images = images

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self._images[rows]
