"""Images that stay on the device: the same batches, and the decision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.trials import bright_corners, numbers, weights_of
from trainables.image.batches import feed as feeding
from trainables.image.batches import kept_pixels
from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.batches.feed import Feed
from trainables.image.batches.kept_pixels import KeptPixels, Memory, fits, why_not_kept
from trainables.image.config import ImageConfig
from trainables.image.parallel.workers import Workers
from trainables.image.training.order import epoch_generator

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MIB = 1 << 20
BASE = {"model": "simple_cnn3", "width": 4, "pretrained": False, "input_resolution": 16, "epochs": 2, "batch_size": 7}


def configured(**values: Any) -> ImageConfig:
    return ImageConfig.model_validate(BASE | values)


@pytest.mark.parametrize("workers", [Workers(), Workers(1, 2)])
@pytest.mark.parametrize("augment", ["none", "randaugment"])
def test_batches_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, augment: str, workers: Workers) -> None:
    monkeypatch.setattr(feeding, "_PORTION_BYTES", 20_000)  # several portions
    monkeypatch.setattr(kept_pixels, "_COPIED_BYTES", 10_000)  # copied in several goes
    case = bright_corners(60)
    rows = np.random.default_rng(1).permutation(60)[:41]
    found = []
    for keeps in (False, True):
        feed = Feed(case, CPU, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
        if keeps:
            feed.kept = KeptPixels(case, np.concatenate([rows, rows[:5]]), CPU)
            assert feed.metrics == {"pixels_on_device_bytes": 41 * 16 * 16 * 3}, "each image once"
            case.images = np.zeros_like(case.images)
        change = with_generator(make_augmentation(configured(augment=augment)), epoch_generator(0, 1))
        share = None if workers.number == 1 else workers.share
        found.append([*feed.batches(rows, 7, change, share), *feed.batches(rows[::-1], 7)])
    assert len(found[0]) == len(found[1]) == 12
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_a_trial_is_the_same_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"augment": "light", "mixup": 0.2, "average_weights": 2}
    found = []
    for way in ("off", "on"):
        handle = bright_corners(48).train(configured(**values, pixels_on_device=way), tmp_path / way)
        reports = numbers(handle.reports)
        kept = [report.pop("pixels_on_device_bytes", None) for report in reports]
        found.append((reports, weights_of(handle, 2)))
        monkeypatch.setattr(kept_pixels, "why_not_kept", lambda *_, **__: None)  # as if this were a GPU
    assert kept == [48 * 16 * 16 * 3] * 2
    assert found[0] == found[1]


def test_without_a_gpu_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = bright_corners(24).train(configured(epochs=1, pixels_on_device="on"), tmp_path / "on").reports
    assert reports[0].metrics["pixels_on_device_bytes"] == 0
    assert capsys.readouterr().out.count("pixels_on_device: images are read batch by batch") == 1


def test_memory_that_is_gone_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> KeptPixels:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5 GiB\nmore")

    monkeypatch.setattr(kept_pixels, "why_not_kept", lambda *_, **__: None)
    monkeypatch.setattr(kept_pixels, "KeptPixels", full)
    reports = bright_corners(24).train(configured(epochs=1, pixels_on_device="on"), tmp_path / "on").reports
    assert reports[0].metrics["pixels_on_device_bytes"] == 0
    assert "batch by batch: CUDA out of memory. Tried to allocate 5 GiB\n" in capsys.readouterr().out


def test_what_fits() -> None:
    memory = Memory(free=1000, of_a_step=200)
    assert fits(400, memory)
    assert not fits(401, memory), "half of what a step leaves is for others"
    assert not fits(1, Memory(free=100, of_a_step=200))


def test_when_images_stay() -> None:
    config, memory = configured(), Memory(free=1000 * MIB, of_a_step=200 * MIB)
    assert why_not_kept(config, GPU, 300 * MIB, memory) is None
    assert "no GPU" in str(why_not_kept(config, CPU, 1, None))
    assert "folds" in str(why_not_kept(config, GPU, 1, memory, takes_turns=True))
    assert "in parts" in str(why_not_kept(config, GPU, 1, memory, in_parts=True))
    assert "the images take 500 MiB; of 1,000 MiB that are free a step takes 200 MiB" in str(
        why_not_kept(config, GPU, 500 * MIB, memory)
    )
