"""The model to publish, trained anew on train and val: what it saw, for how long, and that it can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep_runner.execution.evaluation.finalize import FinalTask, finalize
from tests.support.trials import bright_corners
from trainables.checkpoints import checkpoint_of_epoch
from trainables.contract import Checkpoint, EpochReport
from trainables.image.config import ImageConfig
from trainables.image.data.resplit import all_to_train_on
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.package import load_package
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import MODEL_FILE
from trainables.image.training.classifier import train_classifier
from trainables.image.training.evaluate import evaluate_checkpoint
from trainables.image.training.inputs import open_inputs
from trainables.local import LocalHandle

EPOCHS, BEST = 4, 3
SMALL: dict[str, Any] = {
    "model": "mlp6", "width": 8, "pretrained": False, "finetune": "scratch", "input_resolution": 8,
    "color": "grayscale", "epochs": EPOCHS, "batch_size": 16, "dropout": 0.2, "augment": "light",
}  # fmt: skip


class Digits:
    """Digits, prepared, and one trial on them.

    Attributes:
        best: its checkpoint of epoch BEST.
    """

    def __init__(self, folder: Path, config: ImageConfig, **data: Any) -> None:
        self.folder = folder
        self.data = DataConfig(limit=60, cache_dir=folder / "cache", **data)
        self.classifier = ImageClassifier(self.data, folder / "data")
        self.classifier.prepare({key: [SMALL[key]] for key in ("model", "pretrained", "input_resolution", "color")})
        self.index = ImageIndex.load(folder / "data" / "index.arrow")
        self.config = config
        self.trial = LocalHandle(folder / "trial", seed=3)
        self.classifier.train(config, self.trial)
        history = tuple(self.trial.reports[:BEST])
        found = checkpoint_of_epoch(folder / "trial", self.trial.reports[-1].epoch)
        assert found is not None
        self.best = Checkpoint(found.folder, BEST, history)

    def refitted(self, name: str, **options: Any) -> LocalHandle:
        handle = LocalHandle(self.folder / name, **{"seed": 3, "metric": "", **options})
        self.classifier.refit(self.config, self.best, handle)
        return handle


def weights(handle: LocalHandle, epoch: int) -> bytes:
    (file,) = handle.folder.parent.glob(f"attempt-*/checkpoints/epoch-{epoch:05d}/{MODEL_FILE}")
    return file.read_bytes()


def test_it_is_the_first_epochs_of_the_trial_on_all_examples(tmp_path: Path) -> None:
    case = Digits(tmp_path, ImageConfig(**SMALL))
    handle = case.refitted("refit")
    assert [report.epoch for report in handle.reports] == [1, 2, 3]
    assert [report.metrics["lr"] for report in handle.reports] != [case.config.lr] * 3
    assert not any(name.startswith("val_") for name in handle.reports[0].metrics), "nothing is left to judge by"

    whole = all_to_train_on(case.index, case.data)
    assert len(whole.rows("train")) == len(case.index.rows("train")) + len(case.index.rows("val")) == 120
    np.testing.assert_array_equal(whole.rows("test"), case.index.rows("test"))
    by_hand = LocalHandle(tmp_path / "by-hand", seed=3, metric="")
    stop = case.config.model_copy(update={"epochs": EPOCHS})
    with open_inputs(stop, case.index, case.data, None, by_hand) as inputs:
        train_classifier(stop, whole, inputs, None, by_hand)
    assert weights(handle, BEST) == weights(by_hand, BEST)


def test_killed_in_between_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    case = Digits(tmp_path, ImageConfig(**SMALL))
    undisturbed = case.refitted("undisturbed")

    def kill(report: EpochReport) -> None:
        if report.epoch == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        case.refitted("killed", on_report=kill)
    handle = case.refitted("killed", attempt=2)
    assert [report.epoch for report in handle.reports] == [3]
    assert weights(handle, BEST) == weights(undisturbed, BEST)


def test_a_rate_that_falls_on_plateaus_falls_as_in_the_trial(tmp_path: Path) -> None:
    plateau = {"schedule": "plateau", "plateau_patience": 0, "lr": 1e-6, "monitor": "val_accuracy"}
    case = Digits(tmp_path, ImageConfig(**{**SMALL, **plateau}))
    rates = [report.metrics["lr"] for report in case.trial.reports]
    assert rates[0] != rates[BEST - 1], "it must fall for the test to say anything"
    assert [report.metrics["lr"] for report in case.refitted("refit").reports] == rates[:BEST]


def test_caps_hold_for_train_and_val_together() -> None:
    index = bright_corners(60).index
    whole = all_to_train_on(index, DataConfig(balance={"class 0": 7, "class 1": "mean"}))
    counts = np.bincount(whole.targets[whole.rows("train")].astype(int))
    assert counts.tolist() == [7, 20, 20]
    assert not len(whole.rows("val"))


def test_val_is_the_trials_and_test_and_package_are_of_the_model_trained_anew(tmp_path: Path) -> None:
    config = ImageConfig(**SMALL)
    case = Digits(tmp_path, config)
    (checkpoint,) = (tmp_path / "trial").glob(f"attempt-1/checkpoints/epoch-{EPOCHS:05d}")
    staging = tmp_path / "staging"
    staging.mkdir()
    task = FinalTask(
        trainable="image_classifier",
        data=case.data.model_dump(mode="json"),
        data_folder=str(tmp_path / "data"),
        config=SMALL,
        checkpoint=str(checkpoint),
        staging=str(staging),
        splits=("val", "test"),
        export=True,
        info={"sweep": "s", "trial": 0, "name": None, "seed": 3, "refit": {"splits": ["train", "val"], "epochs": 4}},
        num_threads=1,
        refit_folder=str(tmp_path / "refit"),
    )
    result = finalize(task)
    assert result.error == ""
    anew = checkpoint_of_epoch(tmp_path / "refit", EPOCHS)
    assert anew is not None
    for split, folder in (("val", checkpoint), ("test", anew.folder)):
        evaluation = evaluate_checkpoint(config, case.data, tmp_path / "data", folder, split)
        assert evaluation is not None
        assert result.metrics[split] == pytest.approx(dict(evaluation.metrics))
    assert (anew.folder / MODEL_FILE).read_bytes() != (checkpoint / MODEL_FILE).read_bytes()
    card = json.loads((staging / "package" / "model.json").read_text())
    assert card["origin"]["refit"] == {"splits": ["train", "val"], "epochs": 4}
    assert load_package(staging / "package").facts.origin["refit"]["epochs"] == 4
    assert (
        "retrained on all 120 examples of train and val, for 4 epochs"
        in (staging / "package" / "README.md").read_text()
    )
