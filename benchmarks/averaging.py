"""Is the mean of the weights of the last epochs worth more than the best epoch, and does cosine still gain then?

`python -m benchmarks.averaging KIND --data DIR [--weights FILE] [--model NAME] [--resolution 48] [--seeds 3]`

Trains each seed at a constant learning rate and along a cosine, with the usual values (`trainables/image/usual.py`) and
no augmentation, and prints the accuracy on unseen photos, in percent, mean of the seeds: of the epoch that is best by
val, of the last epoch, and of the mean of the last five epochs' weights with batch-norm statistics taken anew on train.
DIR has one folder of pictures per class; each seed splits it anew.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.models.factory import normalization, starting_model
from trainables.image.models.freezing import frozen_norms
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.schedule import learning_rate
from trainables.image.usual import usual_values

AVERAGED = 5
State = dict[str, torch.Tensor]


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


def train(
    config: ImageConfig, weights: Path | None, data: dict[str, tuple[torch.Tensor, torch.Tensor]], seed: int
) -> tuple[float, float, float]:
    """Unseen accuracy in percent of: the epoch best by val, the last epoch, the averaged weights."""
    torch.manual_seed(seed)
    images, labels = data["train"]
    model = starting_model(config, int(labels.max()) + 1, weights).to(memory_format=torch.channels_last)
    held = frozen_norms(model)
    optimizer = make_optimizer(config, model)
    steps = len(images) // config.batch_size
    seen, unseen, states = [], [], []
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
        states.append({key: value.clone() for key, value in model.state_dict().items()})
    model.load_state_dict(mean_of(states[-AVERAGED:]))
    if not held:  # with a frozen backbone its statistics stay as they are
        torch.optim.swa_utils.update_bn(images.split(config.batch_size), model)
    return unseen[seen.index(max(seen))], unseen[-1], accuracy(model, *data["unseen"])


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
    results: dict[str, list[tuple[float, float, float]]] = {"constant": [], "cosine": []}
    for seed in range(given.seeds):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
        parts = order.tensor_split([given.train, given.train + given.val])
        data = {
            name: (images[rows], labels[rows]) for name, rows in zip(("train", "val", "unseen"), parts, strict=True)
        }
        for schedule, found in results.items():
            found.append(train(config.model_copy(update={"schedule": schedule}), given.weights, data, seed))
    print(f"| {given.data.name}, {given.kind}, {given.model} | best by val | last | mean of last {AVERAGED} |")
    for schedule, found in results.items():
        print(f"| {schedule} | {' | '.join(f'{statistics.mean(column):.1f}' for column in zip(*found, strict=True))} |")


if __name__ == "__main__":
    main()
