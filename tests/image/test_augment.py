"""Random changes to training images."""

from __future__ import annotations

import pytest
import torch

from trainables.image.augment import jitter_color, make_augmentation, mirror_and_shift


def pictures(num: int = 64, channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (num, channels, size, size), generator=seeded(5), dtype=torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_none_is_none() -> None:
    assert make_augmentation("none") is None


@pytest.mark.parametrize("kind", ["light", "randaugment"])
@pytest.mark.parametrize("channels", [1, 3])
def test_range_shape_and_seed(kind: str, channels: int) -> None:
    change = make_augmentation(kind)  # type: ignore[arg-type]
    assert change is not None
    images = pictures(channels=channels)
    before = images.clone()
    changed = change(images, seeded(1))
    assert torch.equal(images, before), "the source is left alone"
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(changed, change(images, seeded(1)))
    assert not torch.equal(changed, change(images, seeded(2)))


@pytest.mark.parametrize("kind", ["light", "randaugment"])
def test_each_example_is_drawn_for_itself(kind: str) -> None:
    change = make_augmentation(kind)  # type: ignore[arg-type]
    assert change is not None
    same = pictures(1).repeat(64, 1, 1, 1)
    assert len(change(same, seeded(1)).float().unique(dim=0)) > 20


def test_half_is_mirrored() -> None:
    images = pictures(400)
    changed = mirror_and_shift(images, 0.0, seeded(1))
    mirrored = torch.tensor([torch.equal(one, other.flip(2)) for one, other in zip(changed, images, strict=True)])
    plain = torch.tensor([torch.equal(one, other) for one, other in zip(changed, images, strict=True)])
    assert bool((mirrored ^ plain).all())
    assert 150 < int(mirrored.sum()) < 250


def test_shifts_stay_within_their_fraction_and_repeat_the_edge() -> None:
    row = torch.arange(20, dtype=torch.uint8).view(1, 1, 1, 20).expand(200, 1, 20, 20)
    changed = mirror_and_shift(row, 0.1, seeded(1))[:, 0, 0]
    ascending = changed[changed[:, -1] > changed[:, 0]].long()
    shifts = ascending[:, 10] - 10
    assert set(shifts.tolist()) == {-2, -1, 0, 1, 2}
    expected = (torch.arange(20) + shifts[:, None]).clamp(0, 19)
    assert torch.equal(ascending, expected)


def test_colours_vary_within_their_amount() -> None:
    gray = torch.full((300, 3, 4, 4), 100, dtype=torch.uint8)
    changed = jitter_color(gray, 0.2, seeded(1))[:, 0, 0, 0]
    assert 80.0 <= changed.min() < 85.0
    assert 115.0 < changed.max() <= 120.0
