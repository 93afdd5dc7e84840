"""A trainable of one's own: a small net on scikit-learn's digits, in plain PyTorch, that can be interrupted.

sweep trial examples/own_trainable.yaml    one trial in this process, for debugging
sweep run examples/own_trainable.yaml      the sweep
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from trainables.contract import (
    ConfigProblem,
    EpochReport,
    Evaluation,
    Mode,
    Preparation,
    Progress,
    Trainable,
    TrialHandle,
    no_progress,
)
from trainables.errors import Diverged

if TYPE_CHECKING:
    import torch


class NetConfig(BaseModel):
    """The hyperparameters: what `fixed` and `space` may name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(10, ge=1, description="Passes over the training data.")
    hidden: int = Field(32, ge=1, le=1024, description="Units of the hidden layer.")
    lr: float = Field(0.1, gt=0, description="Learning rate.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum.")
    nesterov: bool = Field(False, description="Nesterov's momentum.")
    batch_size: int = Field(32, ge=1, description="Examples in one step.")


class DigitsData(BaseModel):
    """The sweep file's `data` section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(0.2, gt=0, lt=0.5, description="Fraction for validation: the search sees its metrics.")
    test: float = Field(0.2, gt=0, lt=0.5, description="Fraction kept for the one final test.")


class DigitsNet(Trainable[NetConfig, DigitsData]):
    """One hidden layer, trained with SGD."""

    config_class = NetConfig
    data_class = DigitsData
    metrics: ClassVar[Mapping[str, Mode]] = {"val_accuracy": "max", "train_loss": "min"}
    check_keys = ("momentum", "nesterov")

    @classmethod
    def check(cls, config: NetConfig) -> list[ConfigProblem]:
        if config.nesterov and config.momentum == 0:
            return [ConfigProblem("nesterov", "nesterov needs a momentum above 0")]
        return []

    def prepare(self, candidates: Mapping[str, Sequence[Any]], progress: Progress = no_progress) -> Preparation:
        import numpy as np
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        images = (images / 16).astype(np.float32)
        rest, test = train_test_split(range(len(labels)), test_size=self.data.test, stratify=labels, random_state=0)
        val_size = self.data.val / (1 - self.data.test)
        train, val = train_test_split(rest, test_size=val_size, stratify=labels[rest], random_state=0)
        split = np.full(len(labels), "train", dtype="<U5")
        split[val], split[test] = "val", "test"

        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez(self.folder / "digits.npz", images=images, labels=labels, split=split)
        state = hashlib.sha256(images.tobytes() + labels.tobytes() + split.tobytes())
        summary = {"digits": f"{len(train)} to train on, {len(val)} to validate on, {len(test)} to test on"}
        return Preparation(fingerprint=state.hexdigest()[:32], summary=summary)

    def train(self, config: NetConfig, handle: TrialHandle) -> None:
        import torch
        from torch.nn.functional import cross_entropy

        torch.set_num_threads(handle.num_threads)
        torch.manual_seed(handle.seed)
        net = make_net(config)
        optimizer = torch.optim.SGD(net.parameters(), config.lr, config.momentum, nesterov=config.nesterov)
        images, labels = self.examples("train")
        val_images, val_labels = self.examples("val")

        last_epoch = 0
        if handle.resumed is not None:
            state = torch.load(handle.resumed.folder / "state.pt", weights_only=True)
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
            last_epoch = handle.resumed.epoch

        def save(folder: Path) -> None:
            torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, folder / "state.pt")

        for epoch in range(last_epoch + 1, config.epochs + 1):
            # Seeded by the epoch, so that a resumed trial goes through the examples as an undisturbed one does.
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(handle.seed + epoch))
            total_loss = 0.0
            for rows in order.split(config.batch_size):
                loss = cross_entropy(net(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total_loss += loss.item() * len(rows)
            train_loss = total_loss / len(labels)
            if not math.isfinite(train_loss):
                raise Diverged(f"train_loss is {train_loss} in epoch {epoch}")
            with torch.inference_mode():
                accuracy = (net(val_images).argmax(1) == val_labels).double().mean().item()
            handle.report(EpochReport(epoch, {"train_loss": train_loss, "val_accuracy": accuracy}), save)

    def evaluate(self, config: NetConfig, checkpoint: Path, split: str, num_threads: int = 1) -> Evaluation | None:
        import pyarrow as pa
        import torch
        from sklearn.metrics import precision_recall_fscore_support

        torch.set_num_threads(num_threads)
        net = make_net(config)
        net.load_state_dict(torch.load(checkpoint / "state.pt", weights_only=True)["net"])
        images, labels = self.examples(split)
        with torch.inference_mode():
            probabilities = net(images).softmax(1).numpy()
        predicted, wanted = probabilities.argmax(1), labels.numpy()

        names = [str(digit) for digit in range(10)]
        predictions = {
            "split": [split] * len(wanted),
            "example": [f"{split}-{row}" for row in range(len(wanted))],
            "labels": [[names[label]] for label in wanted],
            "predicted": [[names[label]] for label in predicted],
            **{f"p_{name}": probabilities[:, number] for number, name in enumerate(names)},
        }
        precision, recall, f1, support = precision_recall_fscore_support(
            wanted, predicted, labels=range(10), zero_division=0
        )
        classes = {
            "split": [split] * 10,
            "class": names,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": support,
        }
        accuracy = float((predicted == wanted).mean())
        return Evaluation({f"{split}_accuracy": accuracy}, len(wanted), pa.table(predictions), pa.table(classes))

    def examples(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images `(N, 64)` from 0 to 1 and labels `(N,)` of a split, as `prepare` left them."""
        import numpy as np
        import torch

        with np.load(self.folder / "digits.npz") as data:
            rows = data["split"] == split
            return torch.from_numpy(data["images"][rows]), torch.from_numpy(data["labels"][rows]).long()


def make_net(config: NetConfig) -> torch.nn.Module:
    """Images `(N, 64)` → logits `(N, 10)`."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 10))
