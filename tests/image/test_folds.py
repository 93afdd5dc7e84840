"""Folds: how examples are cut, what each model sees, what a trial of several models reports, and kills."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from sklearn.model_selection import StratifiedGroupKFold

from tests.support.trials import TIMES
from trainables.checkpoints import checkpoint_of_epoch
from trainables.contract import EpochReport
from trainables.errors import DataError, TrainableError
from trainables.image.config import ImageConfig
from trainables.image.data.balancing import class_weights
from trainables.image.data.folds import cut_into_folds, fold_view
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Example, table_of
from trainables.image.index import ImageIndex
from trainables.image.settings.split import Split
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import MODEL_FILE, fold_folder, load_trained
from trainables.image.training.classifier import train_classifier
from trainables.image.training.folds import mean_over_folds, seed_of_fold
from trainables.image.training.inputs import open_inputs
from trainables.local import LocalHandle
from trainables.outcomes import unpacked

SMALL: dict[str, Any] = {
    "model": "mlp6", "width": 8, "pretrained": False, "finetune": "scratch", "input_resolution": 8,
    "color": "grayscale", "epochs": 3, "batch_size": 16, "dropout": 0.2, "augment": "light", "lr": 0.01,
}  # fmt: skip


def table(labels: list[list[int]], groups: list[str] | None = None, test: int = 0) -> pa.Table:
    """Examples, the last of them in test."""
    return table_of(
        Example(
            f"e{number:05d}",
            each,
            image=b"x",
            group=groups[number] if groups else None,
            split="test" if number >= len(labels) - test else "train",
        )
        for number, each in enumerate(labels)
    )


def cut(labels: list[list[int]], groups: list[str] | None = None, test: int = 0, **split: Any) -> npt.NDArray[np.int64]:
    names = tuple(f"class{number}" for number in range(1 + max(max(each, default=0) for each in labels)))
    return cut_into_folds(table(labels, groups, test), names, Split(**{"folds": 5, **split})).numbers


def shares(numbers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many examples of each class each fold has, (folds, classes)."""
    return np.array([np.bincount(labels[numbers == fold], minlength=labels.max() + 1) for fold in range(5)])


@pytest.mark.parametrize("seed", range(6))
def test_they_are_as_even_as_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = np.sort(random.integers(0, 60, 300))
    leaning = random.integers(0, 4, 60)  # a group's examples are mostly of one class
    labels = np.where(random.random(300) < 0.7, leaning[groups], random.integers(0, 4, 300))
    ours = cut([[label] for label in labels.tolist()], [f"g{group}" for group in groups], seed=seed)[:, 0]
    theirs = np.empty(300, dtype=np.int64)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, held) in enumerate(splitter.split(labels, labels, groups)):
        theirs[held] = fold
    for group in range(60):
        assert len(set(ours[groups == group].tolist())) <= 1, "no group is in two folds"
    assert set(ours.tolist()) == {0, 1, 2, 3, 4}
    spread, other = (np.ptp(shares(numbers, labels), axis=0) for numbers in (ours, theirs))
    assert spread.sum() <= other.sum() + 4, "class shares are about as even"
    assert np.ptp(np.bincount(ours)) <= np.ptp(np.bincount(theirs)) + 2


def test_single_examples_are_shared_out_to_within_one() -> None:
    labels = np.repeat([0, 1, 2], [53, 21, 7])
    numbers = cut([[label] for label in labels.tolist()])[:, 0]
    assert (np.ptp(shares(numbers, labels), axis=0) <= 1).all()
    assert np.ptp(np.bincount(numbers)) <= 2


def test_several_labels_are_shared_out_too() -> None:
    random = np.random.default_rng(0)
    labels = [sorted(set(random.integers(0, 5, random.integers(0, 4)).tolist())) for _ in range(200)]
    numbers = cut(labels)[:, 0]
    for label in range(5):
        counts = np.bincount(numbers[[label in row for row in labels]], minlength=5)
        assert np.ptp(counts) <= 3, counts
    assert np.ptp(np.bincount(numbers)) <= 3


def test_test_stays_out_and_repetitions_differ() -> None:
    numbers = cut([[number % 3] for number in range(90)], test=15, repeats=3)
    assert (numbers[-15:] == -1).all()
    assert (numbers[:-15] >= 0).all()
    assert len({tuple(column) for column in numbers.T.tolist()}) == 3
    np.testing.assert_array_equal(numbers, cut([[number % 3] for number in range(90)], test=15, repeats=3))


def test_a_class_of_two_is_told_and_every_model_learns_it() -> None:
    labels = [[0]] * 20 + [[1]] * 20 + [[2]] * 2
    found = cut_into_folds(table(labels), ("a", "b", "rare"), Split(folds=5))
    (warning,) = found.warnings
    assert "rare 2" in warning
    assert "5 folds" in warning
    assert len(set(found.numbers[-2:, 0].tolist())) == 2, "each is trained on where the other is val"


@pytest.mark.parametrize(
    ("labels", "groups", "words"),
    [
        ([[0]] * 20 + [[1]], None, ["class rare", "one image"]),
        ([[0]] * 20 + [[1]] * 4, [*map(str, range(20)), *"pppp"], ["class rare", "one image (or group)"]),
        ([[0], [1]] * 6, [*"aaaabbbbcccc"], ["3 groups", "at most 3"]),
    ],
)
def test_what_cannot_be_cut_is_refused(labels: list[list[int]], groups: list[str] | None, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        cut_into_folds(table(labels, groups), ("usual", "rare"), Split(folds=5))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"folds": 5, "val": 0.3}, "val 0.3 with folds 5"),
        ({"folds": 4, "train": 0.5}, "train 0.5 with folds 4"),
        ({"repeats": 2}, "repeats 2 is for folds"),
        ({"folds": 1}, "folds"),
    ],
)
def test_what_means_nothing_is_refused(split: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Split(**split)


def test_fractions_follow_from_the_test_split() -> None:
    split = Split(folds=4, test=0.2)
    assert split.fractions == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2})
    assert Split(**split.model_dump()) == split, "as a resolved sweep file may have it"


def test_figures_are_numpys_means_and_deviations() -> None:
    values = [0.5, 0.75, 0.9]
    folds = [
        {"val_accuracy": value, "train_loss": value, "epoch_s": 2.0, "images_per_s": rate, "peak_memory_bytes": size}
        for value, rate, size in zip(values, (100.0, 50.0, 100.0), (7, 9, 8), strict=True)
    ]
    found = mean_over_folds(folds)
    assert found == pytest.approx(
        {
            "val_accuracy": np.mean(values), "val_accuracy_std": np.std(values, ddof=1), "train_loss": np.mean(values),
            "epoch_s": 6.0, "images_per_s": 75.0, "peak_memory_bytes": 9,
        }
    )  # fmt: skip


def test_a_figure_that_a_fold_cannot_have_is_of_the_others() -> None:
    found = mean_over_folds([{"val_auroc": 0.5}, {"val_auroc": math.nan}, {"val_auroc": 0.75}, {}])
    assert found == pytest.approx({"val_auroc": 0.625, "val_auroc_std": np.std([0.5, 0.75], ddof=1)})
    undefined = mean_over_folds([{"val_auroc": math.nan}, {"val_auroc": math.nan}])
    assert math.isnan(undefined["val_auroc"])


class Digits:
    """Digits with folds, prepared."""

    def __init__(self, folder: Path, limit: int = 90, balance: Any = None, **split: Any) -> None:
        self.folder = folder
        given = {} if balance is None else {"balance": balance}
        self.data = DataConfig(limit=limit, cache_dir=folder / "cache", split={"folds": 3, **split}, **given)
        self.classifier = ImageClassifier(self.data, folder / "data")
        self.preparation = self.classifier.prepare(
            {key: [SMALL[key]] for key in ("model", "pretrained", "input_resolution", "color")}
        )
        self.index = ImageIndex.load(folder / "data" / "index.arrow")

    def train(self, name: str, **options: Any) -> LocalHandle:
        handle = LocalHandle(self.folder / name, **{"seed": 3, **options})
        self.classifier.train(ImageConfig(**SMALL), handle)
        return handle


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(tmp_path_factory.mktemp("digits"))


def without_times(report: EpochReport) -> dict[str, float]:
    return {name: value for name, value in report.metrics.items() if name not in TIMES}


def weights(folder: Path, epoch: int) -> list[bytes]:
    return [
        file.read_bytes() for file in sorted(folder.glob(f"attempt-*/checkpoints/epoch-{epoch:05d}/*/{MODEL_FILE}"))
    ]


def test_each_model_is_the_one_that_its_split_alone_would_give(digits: Digits, tmp_path: Path) -> None:
    trial = digits.train("trial")
    config = ImageConfig(**SMALL)
    alone = []
    for number in range(3):
        view = fold_view(digits.index, number, digits.data)
        handle = LocalHandle(tmp_path / f"{number}", seed=seed_of_fold(3, number))
        with open_inputs(config, view, digits.data, None, handle) as inputs:
            train_classifier(config, view, inputs, None, handle)
        alone.append(handle)
    for epoch in range(3):
        parts = [without_times(handle.reports[epoch]) for handle in alone]
        found = without_times(trial.reports[epoch])
        for name in parts[0]:
            values = [part[name] for part in parts]
            assert found[name] == pytest.approx(np.mean(values), abs=1e-12), name
            if name.startswith("val_"):
                assert found[f"{name}_std"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    last = [(handle.folder / "checkpoints" / "epoch-00003" / MODEL_FILE).read_bytes() for handle in alone]
    assert weights(digits.folder / "trial", 3) == last


def test_killed_in_between_it_ends_with_the_same_models_and_figures(digits: Digits) -> None:
    whole = digits.train("whole")

    def kill(report: EpochReport) -> None:
        if report.epoch == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        digits.train("killed", on_report=kill)
    rest = digits.train("killed", attempt=2)
    assert [report.epoch for report in rest.reports] == [3]
    assert without_times(rest.reports[0]) == without_times(whole.reports[2])
    assert weights(digits.folder / "killed", 3) == weights(digits.folder / "whole", 3)


def test_every_example_is_judged_once_by_a_model_that_has_not_seen_it(digits: Digits) -> None:
    trial = digits.train("judged")
    checkpoint = checkpoint_of_epoch(digits.folder / "judged", 3)
    assert checkpoint is not None
    config = ImageConfig(**SMALL)
    found = digits.classifier.evaluate(config, checkpoint.folder, "val")
    assert found is not None
    assert found.num_examples == 90
    rows = found.predictions.to_pylist()
    expected = {}
    for number in range(3):
        view = fold_view(digits.index, number, digits.data)
        expected |= {view.table["example"][int(row)].as_py(): number + 1 for row in view.rows("val")}
    assert {row["example"]: row["fold"] for row in rows} == expected
    right = [[row["labels"] == row["predicted"] for row in rows if row["fold"] == fold] for fold in (1, 2, 3)]
    assert found.metrics["val_accuracy"] == pytest.approx(np.mean([np.mean(each) for each in right]))
    for name in ("val_accuracy", "val_accuracy_std", "val_loss", "val_macro_f1"):
        assert found.metrics[name] == pytest.approx(trial.reports[2].metrics[name], abs=1e-5), "as it was reported"
    told = unpacked(trial.reports[2].outcomes)
    assert told.tolist() == [float(row["labels"] == row["predicted"]) for row in rows], "in the same order"
    with pytest.raises(TrainableError, match="3 models"):
        load_trained(config, 10, checkpoint.folder)


def test_the_model_to_publish_learns_from_all_and_is_one(digits: Digits) -> None:
    digits.train("trial")
    best = checkpoint_of_epoch(digits.folder / "trial", 3)
    assert best is not None
    handle = LocalHandle(digits.folder / "refit", seed=3, metric="")
    digits.classifier.refit(ImageConfig(**SMALL), best, handle)
    made = checkpoint_of_epoch(digits.folder / "refit", 3)
    assert made is not None
    evaluation = digits.classifier.evaluate(ImageConfig(**SMALL), made.folder, "test")
    assert evaluation is not None
    assert evaluation.num_examples == len(digits.index.rows("test")) == 90
    assert not fold_folder(made.folder, 0).exists()


def test_the_data_says_how_it_is_cut(digits: Digits) -> None:
    assert digits.preparation.details["folds"] == [[30, 30, 30]]
    assert "a trial trains 3 models" in digits.preparation.summary["folds"]
    assert digits.classifier.num_models(digits.data) == 3
    assert digits.index.num_folds == 3
    again = DataConfig(**{**digits.data.model_dump(), "split": {"folds": 3, "seed": 1}})
    other = ImageClassifier(again, digits.folder / "other")
    assert other.check_data().fingerprint != digits.preparation.fingerprint


def test_what_is_learnt_from_data_is_learnt_from_a_folds_own_train_part(tmp_path: Path) -> None:
    case = Digits(tmp_path, balance={"strategy": "class_weights", "caps": {"0": 4}})
    index = case.index
    for number in range(3):
        view = fold_view(index, number, case.data)
        counts = np.bincount(view.targets[view.rows("train")].astype(int), minlength=10)
        held = np.bincount(view.targets[view.rows("val")].astype(int), minlength=10)
        assert counts[0] == 4
        assert held[0] == 3, "a cap leaves val as it is"
        assert (counts[1:] + held[1:] == 9).all()
        expected = (counts.sum() / (10 * counts)) / np.average(counts.sum() / (10 * counts), weights=counts)
        np.testing.assert_allclose(class_weights(view), expected, rtol=1e-5)
        assert not set(view.rows("train")) & set(view.rows("val"))
        assert not set(view.rows("test")) & {*view.rows("train"), *view.rows("val")}


def test_repetitions_are_further_models_and_predictions_are_of_the_first(tmp_path: Path) -> None:
    case = Digits(tmp_path, limit=60, folds=2, repeats=2)
    assert case.index.num_folds == 4
    held = Counter(int(row) for number in range(4) for row in fold_view(case.index, number, case.data).rows("val"))
    assert set(held.values()) == {2}
    trial = case.train("trial")
    checkpoint = checkpoint_of_epoch(tmp_path / "trial", 3)
    assert checkpoint is not None
    found = case.classifier.evaluate(ImageConfig(**SMALL), checkpoint.folder, "val")
    assert found is not None
    assert sorted(Counter(found.predictions["fold"].to_pylist()).items()) == [(1, 30), (2, 30)]
    assert found.metrics["val_accuracy"] == pytest.approx(trial.reports[-1].metrics["val_accuracy"], abs=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_models_that_take_turns_are_what_each_alone_would_be(tmp_path: Path) -> None:
    case = Digits(tmp_path)
    config = ImageConfig(**{**SMALL, "ema_decay": 0.9, "mixed_precision": "no", "optimizer": "adamw"})
    trial = LocalHandle(tmp_path / "trial", seed=3)
    case.classifier.train(config, trial)
    for number in range(3):
        view = fold_view(case.index, number, case.data)
        handle = LocalHandle(tmp_path / f"{number}", seed=seed_of_fold(3, number))
        with open_inputs(config, view, case.data, None, handle) as inputs:
            train_classifier(config, view, inputs, None, handle)
        alone = load_file(handle.folder / "checkpoints" / "epoch-00003" / MODEL_FILE)
        checkpoint = checkpoint_of_epoch(tmp_path / "trial", 3)
        assert checkpoint is not None
        for name, value in load_file(fold_folder(checkpoint.folder, number) / MODEL_FILE).items():
            torch.testing.assert_close(value, alone[name])
