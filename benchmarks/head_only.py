"""A head-only sweep of 20 trials × 10 epochs, against the same trials with their frozen backbone in every epoch.

Ours and the peer are this project with `features: auto` and `features: none`: the same configurations, seeds, order of
examples and metrics, which is checked. Once the trials alone, one after another in this process, the pass that
computes the features included; once the whole command, with its start and its end. The peer runs two of the trials, and
its time for 20 is worked out from those. The command is that of a usual data set, 2,000 photos: on a few hundred both
sides mostly start.

`BENCH_WEIGHTS` names a file of MobileNetV2's weights; without it random ones cost the same.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Figure, paired, sweep, wall_s
from benchmarks.photos import photos
from benchmarks.time_of_a_sweep import trials_of
from trainables.contract import EpochReport
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.trainable import ImageClassifier
from trainables.local import LocalHandle

MODEL, RESOLUTION = "mobilenetv2_100", 128
TRIALS, EPOCHS, PEERS = 20, 10, 2
COMMAND = "python -m benchmarks head_only"
_SPACE: dict[str, list[Any]] = {
    "optimizer": ["adam", "sgd"],
    "weight_decay": [0.0, 1e-4, 1e-2],
    "pooling": ["avg", "max"],
    "batch_size": [32, 64],
}
_LR = (1e-4, 1e-2)
_AGAINST = f"the same trials, backbone in each epoch ({PEERS} of {TRIALS} run, the rest worked out)"


def measure(num_train: int = 1600, num_val: int = 400) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", num_train, num_val)
        weights = _weights(Path(folder))
        torch.set_num_threads(1)
        return [_trials(found, weights, Path(folder)), _command(found, weights, Path(folder))]


def _weights(folder: Path) -> Path:
    if given := os.environ.get("BENCH_WEIGHTS"):
        return Path(given).absolute()
    import timm

    torch.manual_seed(0)
    path = folder / f"{MODEL}.pth"
    torch.save(timm.create_model(MODEL).state_dict(), path)
    return path


def _fixed(weights: Path, features: str) -> dict[str, Any]:
    return {
        "model": MODEL, "pretrained": str(weights), "finetune": "head", "features": features, "epochs": EPOCHS,
        "input_resolution": RESOLUTION, "momentum": 0.9,
    }  # fmt: skip


def _trials(found: Path, weights: Path, folder: Path) -> Figure:
    draw = random.Random(0)
    chosen = [
        {"lr": math.exp(draw.uniform(*map(math.log, _LR)))} | {key: draw.choice(of) for key, of in _SPACE.items()}
        for _ in range(TRIALS)
    ]
    data = {"dataset": "image_folder", "root": str(found), "cache_dir": str(folder / "cache")}
    trainable = ImageClassifier(DataConfig.model_validate(data), folder / "data")
    trainable.prepare({key: [value] for key, value in _fixed(weights, "auto").items()})
    last: dict[str, list[EpochReport]] = {}

    def seconds(features: str, num: int) -> float:
        last[features] = []
        began = time.perf_counter()
        for number, params in enumerate(chosen[:num]):
            handle = LocalHandle(folder / "trials" / features / str(number), seed=number, num_threads=1)
            trainable.train(ImageConfig.model_validate(_fixed(weights, features) | params), handle)
            last[features].append(handle.reports[-1])
        return time.perf_counter() - began

    figure = paired(
        lambda: seconds("auto", TRIALS),
        lambda: seconds("none", PEERS) * TRIALS / PEERS,
        pairs=1,
        ratio=lambda our, their: their / our,
        what=f"{TRIALS} head-only trials × {EPOCHS} epochs ({MODEL}, {RESOLUTION} px), features computed in the first",
        against=_AGAINST,
        unit="s",
        ratio_of="less",
        aim="100× less",
        command=COMMAND,
    )
    for one, other in zip(last["auto"], last["none"], strict=False):
        _same(one.metrics["val_accuracy"], other.metrics["val_accuracy"])
        _same(one.metrics["val_loss"], other.metrics["val_loss"])
    return figure


def _command(found: Path, weights: Path, folder: Path) -> Figure:
    runs = count()
    accuracies: dict[str, dict[int, float]] = {}

    def run(features: str, trials: int) -> tuple[float, float]:
        """Seconds of the command, and of a trial's epochs."""
        results = folder / f"results-{next(runs)}"
        spec = {
            "name": "heads",
            "data": {"dataset": "image_folder", "root": str(found), "cache_dir": str(results / "cache")},
            "trainable": "image_classifier",
            "fixed": _fixed(weights, features),
            "space": {"lr": {"low": _LR[0], "high": _LR[1], "log": True}, **_SPACE},
            "search": {"sampler": "random", "trials": trials, "seed": 0},
            "resources": {"cpus": 1, "max_concurrent": 2},
        }
        file = folder / "heads.yaml"
        file.write_text(json.dumps(spec))
        began = time.time()
        took = wall_s(sweep("run", str(file), "--results", str(results), "--quiet"), str(folder))
        log = results / "heads" / "log.jsonl"
        events = [event for event in map(json.loads, log.read_text().splitlines()) if event["kind"] == "epoch"]
        accuracies[features] = {event["trial"]: event["metrics"]["val_accuracy"] for event in events}
        ran = trials_of(log, began)
        assert len(ran) == trials, f"{len(ran)} trials ended instead of {trials}"
        return took, sum(trial.epochs_s for trial in ran) / trials

    def theirs() -> float:
        took, epochs_s = run("none", PEERS)
        return took + epochs_s * (TRIALS - PEERS) / 2

    figure = paired(
        lambda: run("auto", TRIALS)[0],
        theirs,
        pairs=1,
        ratio=lambda our, their: their / our,
        what=f"`sweep run` of {TRIALS} such trials, 2 at a time, from start to export",
        against=_AGAINST,
        unit="s",
        ratio_of="less",
        aim="20× less",
        command=COMMAND,
    )
    for number, value in accuracies["none"].items():
        _same(accuracies["auto"][number], value)
    return figure


def _same(one: float, other: float) -> None:
    print(f"  with features {one:.4f}, with the backbone {other:.4f}", file=sys.stderr)
    assert math.isclose(one, other, rel_tol=0.02, abs_tol=0.01), f"not the same work: {one} and {other}"
