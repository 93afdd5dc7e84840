"""A trial that several processes train together learns what one alone would have learnt. Real processes, over gloo."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.support.alike import assert_alike
from tests.support.parallel import Job, OnFeatures, Outcome, together
from tests.support.trials import TIMES, bright_corners
from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.config import ImageConfig
from trainables.image.parallel.draws import Part
from trainables.image.training.checkpoint import MODEL_FILE

# Adam divides by the size of gradients, so that where these are zero but for rounding (of a bias before batch norm)
# two runs part ways; sgd adds what is there.
SMALL = {"input_resolution": 16, "pretrained": False, "finetune": "scratch", "mixed_precision": "no"}
SMALL |= {"optimizer": "sgd", "lr": 0.02}
NORMALISED = {"model": "simple_cnn3", "batch_norm": True}
NUM_VAL = 12
BATCHES = {
    # 36 to train on and 12 to validate on; nothing divides evenly.
    "with batch norm, augmented": {**NORMALISED, "batch_size": 7, "augment": "light", "rotation_degrees": 10.0},
    "without batch norm, augmented": {"model": "simple_cnn3", "batch_size": 7, "augment": "trivialaugment"},
    "mixed images, averaged weights": {**NORMALISED, "batch_size": 9, "mixup": 0.4, "cutmix": 1.0, "ema_decay": 0.9},
    "mean of the last epochs": {**NORMALISED, "batch_size": 9, "average_weights": 2, "epochs": 3},
    "residual net of timm": {"model": "resnet10t", "batch_size": 12},
    "erased and cropped": {"model": "mlp6", "batch_size": 5, "random_erasing": 0.5, "crop_scale": 0.6, "hflip": 0.5},
    "a batch of fewer examples than workers": {"model": "simple_cnn3", "batch_size": 1, "epochs": 1},
    "plateau": {"model": "mlp6", "batch_size": 8, "schedule": "plateau", "plateau_patience": 0, "epochs": 3},
    "stopped early": {"model": "mlp6", "batch_size": 8, "lr": 0.3, "early_stopping_patience": 1, "epochs": 6},
}


CONSTANT = {**NORMALISED, "batch_size": 8, "schedule": "constant"}


def job(folder: Path, options: dict[str, Any] | None = None, multilabel: bool = False, **values: Any) -> Job:
    config = ImageConfig.model_validate({**SMALL, "epochs": 2, **values})
    return Job(partial(bright_corners, 48, 16, multilabel), config, folder, options or {})


def on_features(folder: Path) -> Job:
    torch.manual_seed(1)
    weights = folder / "weights.pth"
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), weights)
    values = {"model": "resnet10t", "pretrained": str(weights), "finetune": "head", "features": "auto"}
    config = ImageConfig.model_validate({**SMALL, **values, "input_resolution": 32, "batch_size": 7, "epochs": 2})
    return Job(partial(OnFeatures, bright_corners(48, 32), folder / "cache"), config, folder / "head")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Outcome]], Callable[[str], Job]]:
    """Every job done by two processes: these are started once."""
    folder = tmp_path_factory.mktemp("together")
    jobs = {what: job(folder / what, **values) for what, values in BATCHES.items()}
    jobs["several labels"] = job(folder / "labels", multilabel=True, **NORMALISED, batch_size=7, pos_weight=2.0)
    jobs["diverges"] = job(folder / "diverges", model="simple_cnn3", lr=100.0, epochs=6)
    jobs["head on features"] = on_features(folder)
    jobs["by two, then by one"] = job(folder / "two-one", **CONSTANT, epochs=1)
    begun = job(folder / "one-two", **CONSTANT, epochs=1)
    begun.run()  # by one
    jobs["by one, then by two"] = job(begun.folder, {"attempt": 2}, **CONSTANT, epochs=3)
    outcomes = dict(zip(jobs, together(list(jobs.values()), 2), strict=True))
    return outcomes, lambda what: jobs[what]


@pytest.mark.parametrize("what", [*BATCHES, "several labels", "head on features"])
def test_two_workers_report_what_one_reports(
    what: str, trained: tuple[dict[str, list[Outcome]], Callable[[str], Job]], tmp_path: Path
) -> None:
    outcomes, job_of = trained
    first, second = outcomes[what]
    done = job_of(what)
    alone = Job(done.make_case, done.config, tmp_path / "alone").run()
    assert not isinstance(first, str), first
    assert not isinstance(alone, str), alone
    assert_alike(first, alone, NUM_VAL, without=(*TIMES, "micro_batch_size"))
    assert [{**report} for report in second] == first, (
        "and both workers have the same figures, so that both decide alike"
    )


@pytest.mark.parametrize("what", ["with batch norm, augmented", "a batch of fewer examples than workers"])
def test_two_workers_take_the_examples_in_the_order_of_one(
    what: str, trained: tuple[dict[str, list[Outcome]], Callable[[str], Job]], tmp_path: Path
) -> None:
    done = trained[1](what)
    alone = Job(done.make_case, done.config, tmp_path / "alone")
    assert not isinstance(alone.run(), str)
    asked = rows_of(alone.seen())
    parts = [rows_of(done.seen(rank)) for rank in range(2)]
    size = done.config.batch_size
    epochs = [request for request in asked if len(request) == 36 // size * size]  # without a last batch of one
    assert len(epochs) == done.config.epochs
    assert epochs[0] != sorted(epochs[0]), "shuffled"
    if len(epochs) > 1:
        assert epochs[0] != epochs[1], "anew in each epoch"
    for number, whole in enumerate(asked):
        first, second = (part[number] for part in parts)
        if len(whole) == 1 < max(map(len, asked)):
            assert first == second == whole, "each of them looks how large an example is"
            continue
        assert sorted(first + second) == sorted(whole)
        assert [row for row in whole if row in first] == first
        assert [row for row in whole if row in second] == second
        if whole in epochs:
            of_batches = [whole[start : start + size] for start in range(0, len(whole), size)]
            assert all(abs(sum(row in first for row in batch) * 2 - len(batch)) <= 1 for batch in of_batches)


def rows_of(path: Path) -> list[list[int]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_workers_see_a_diverging_loss(
    trained: tuple[dict[str, list[Outcome]], Callable[[str], Job]],
) -> None:
    first, second = trained[0]["diverges"]
    assert isinstance(first, str)
    assert first.startswith("Diverged: ")
    assert second == first


def test_a_checkpoint_is_gone_on_from_by_another_number_of_workers(
    trained: tuple[dict[str, list[Outcome]], Callable[[str], Job]], tmp_path: Path
) -> None:
    outcomes, job_of = trained
    begun = job_of("by two, then by one")
    (checkpoint,) = begun.folder.glob("attempt-*/checkpoints/*")
    assert (checkpoint / MODEL_FILE).is_file(), "one, of rank 0"
    by_one = job(begun.folder, {"attempt": 2}, **CONSTANT, epochs=3).run()
    by_two = outcomes["by one, then by two"][0]
    straight = job(tmp_path / "straight", **CONSTANT, epochs=3).run()
    assert not isinstance(straight, str), straight
    for resumed in (by_one, by_two):
        assert not isinstance(resumed, str), resumed
        assert_alike(resumed, straight[1:], NUM_VAL, first_epoch=2, without=(*TIMES, "micro_batch_size"))


@pytest.mark.parametrize("augment", ["light", "randaugment", "trivialaugment"])
def test_a_part_of_a_batch_is_changed_as_it_would_be_within_the_whole(augment: str) -> None:
    config = ImageConfig.model_validate(
        {"augment": augment, "hflip": 0.5, "vflip": 0.5, "crop_scale": 0.5, "rotation_degrees": 20.0}
        | {"color_jitter": 0.3, "invert": 0.5, "random_erasing": 0.5}
    )
    images = torch.randint(0, 256, (9, 3, 12, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    whole = with_generator(make_augmentation(config), torch.Generator().manual_seed(2))
    part = with_generator(make_augmentation(config), torch.Generator().manual_seed(2))
    assert whole is not None
    assert part is not None
    rows = torch.tensor([2, 3, 7])
    torch.testing.assert_close(part(images[rows], Part(9, rows)), whole(images)[rows], rtol=0, atol=1e-3)
