"""Is the mean of the weights of the last epochs worth more than the best epoch, and does cosine still gain then?

`python -m benchmarks.averaging KIND --data DIR [--weights FILE] [--model NAME] [--resolution 48] [--seeds 3]`

Trains each seed at a constant learning rate and along a cosine, with the usual values (`trainables/image/usual.py`) and
no augmentation, and prints the accuracy on unseen photos, in percent, mean of the seeds: of the epoch that is best by
val, of the last epoch, of the mean of the last five epochs' weights with batch-norm statistics taken anew on train, and
of the epoch whose mean is best by val, which is what `average_weights: 5` publishes. Then how far the last of these is
ahead of the first in the same runs, and its standard error. DIR has one folder of pictures per class; each seed splits
it anew. Heads train on features that are computed once.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.models.factory import normalization, starting_model
from trainables.image.models.freezing import frozen_norms
from trainables.image.models.head import Head
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.schedule import learning_rate
from trainables.image.usual import usual_values

AVERAGED = 5
State = dict[str, torch.Tensor]
Found = tuple[float, float, float, float]


def pictures(folder: Path, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, size, size) in 0 to 1, and the classes (N,)."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    images, labels = [], []
    for label, path in enumerate(classes):
        for file in sorted(path.iterdir()):
            with Image.open(file) as image:
                small = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
            images.append(np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255)
            labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


@torch.inference_mode()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(256), labels.split(256), strict=True))
    return 100 * right / len(labels)


def mean_of(states: list[State]) -> State:
    """Numbers that are no floats (how many batches a normalisation saw) are the last one's."""
    return {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }


def averaged(model: nn.Module, states: list[State], images: torch.Tensor, batch_size: int, frozen: bool) -> nn.Module:
    """A copy with the mean of these weights; with a frozen backbone its statistics stay as they are."""
    mean = copy.deepcopy(model)
    mean.load_state_dict(mean_of(states))
    if not frozen:
        torch.optim.swa_utils.update_bn(images.split(batch_size), mean)
    return mean


def train(
    config: ImageConfig, weights: Path | None, data: dict[str, tuple[torch.Tensor, torch.Tensor]], seed: int
) -> Found:
    """Unseen accuracy in percent of: the epoch best by val, the last, its averaged weights, the best average by val."""
    torch.manual_seed(seed)
    images, labels = data["train"]
    num_classes = int(labels.max()) + 1
    if images.ndim == 2:
        model: nn.Module = Head(images.shape[1], num_classes, config.dropout)
    else:
        model = starting_model(config, num_classes, weights).to(memory_format=torch.channels_last)
    held = frozen_norms(model)
    optimizer = make_optimizer(config, model)
    steps = len(images) // config.batch_size
    seen, unseen, seen_averaged, unseen_averaged, states = [], [], [], [], []
    for epoch in range(config.epochs):
        model.train()
        for norm in held:
            norm.eval()
        order = torch.randperm(len(images))[: steps * config.batch_size].split(config.batch_size)
        for number, batch in enumerate(order):
            at = epoch * steps + number
            lr = learning_rate(at, peak=config.lr, num_steps=config.epochs * steps, schedule=config.schedule)
            set_learning_rate(optimizer, lr)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        seen.append(accuracy(model, *data["val"]))
        unseen.append(accuracy(model, *data["unseen"]))
        states = [*states, {key: value.clone() for key, value in model.state_dict().items()}][-AVERAGED:]
        mean = averaged(model, states, images, config.batch_size, bool(held))
        seen_averaged.append(accuracy(mean, *data["val"]))
        unseen_averaged.append(accuracy(mean, *data["unseen"]))
    best, best_averaged = (values.index(max(values)) for values in (seen, seen_averaged))
    return unseen[best], unseen[-1], unseen_averaged[-1], unseen_averaged[best_averaged]


@torch.inference_mode()
def features(config: ImageConfig, weights: Path | None, images: torch.Tensor) -> torch.Tensor:
    """What the frozen network gives its classifier, (N, D)."""
    model: Any = starting_model(config, 2, weights).eval()
    return torch.cat(
        [model.forward_head(model.forward_features(some), pre_logits=True).flatten(1) for some in images.split(64)]
    ).clone()


def line(schedule: str, found: list[Found]) -> str:
    columns = [f"{statistics.mean(column):.1f}" for column in zip(*found, strict=True)]
    gains = [last - first for first, *_, last in found]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return f"| {schedule} | {' | '.join(columns)} | {statistics.mean(gains):+.1f} ± {error:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["head", "full", "scratch"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--val", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    fixed = {"model": given.model, "finetune": given.kind, "pretrained": given.kind != "scratch", "optimizer": "adamw"}
    usual = {key: value for key, value in usual_values(fixed).items() if key in ("lr", "weight_decay", "batch_size")}
    config = ImageConfig(**fixed, **usual, input_resolution=given.resolution, epochs=given.epochs)
    images, labels = pictures(given.data, given.resolution)
    mean, std = normalization(starting_model(config, 2, given.weights))
    images = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    images = images.contiguous(memory_format=torch.channels_last)
    if given.kind == "head":
        images = features(config, given.weights, images)
    results: dict[str, list[Found]] = {"constant": [], "cosine": []}
    for seed in range(given.seeds):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
        parts = order.tensor_split([given.train, given.train + given.val])
        data = {
            name: (images[rows], labels[rows]) for name, rows in zip(("train", "val", "unseen"), parts, strict=True)
        }
        for schedule, found in results.items():
            found.append(train(config.model_copy(update={"schedule": schedule}), given.weights, data, seed))
    heads = ["best by val", "last", f"mean of last {AVERAGED}", "best mean by val", "gain of it over the first"]
    print(f"| {given.data.name}, {given.kind}, {given.model} | {' | '.join(heads)} |")
    for schedule, found in results.items():
        print(line(schedule, found))
    both = zip(results["constant"], results["cosine"], strict=True)
    print(line("constant, averaged, against cosine, best by val", [(b[0], b[1], a[2], a[3]) for a, b in both]))


if __name__ == "__main__":
    main()
