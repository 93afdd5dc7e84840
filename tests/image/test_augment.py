"""Random changes to training images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainables.image.batches.augment import Augmentation, make_augmentation
from trainables.image.batches.augment_steps import crop_and_rotate, erase, flip, invert, jitter_color, mirror_and_shift
from trainables.image.batches.mixing import make_mixing
from trainables.image.config import ImageConfig


def pictures(num: int = 64, channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (num, channels, size, size), generator=seeded(5), dtype=torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(**values: Any) -> Augmentation:
    change = make_augmentation(ImageConfig.model_validate(values))
    assert change is not None
    return change


SWITCHES: list[dict[str, Any]] = [
    {"augment": "light"},
    {"augment": "randaugment"},
    {"augment": "randaugment", "randaugment_magnitude": 30, "randaugment_operations": 3},
    {"augment": "trivialaugment"},
    {"hflip": 0.5},
    {"vflip": 0.5},
    {"crop_scale": 0.3},
    {"rotation_degrees": 45},
    {"color_jitter": 0.4},
    {"invert": 0.5},
    {"random_erasing": 0.7},
    {"augment": "light", "hflip": 0.5, "crop_scale": 0.6, "rotation_degrees": 10, "invert": 0.1, "random_erasing": 0.2},
]


def test_none_is_none() -> None:
    assert make_augmentation(ImageConfig()) is None


@pytest.mark.parametrize("values", SWITCHES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_range_shape_and_seed(values: dict[str, Any], channels: int) -> None:
    change = made(**values)
    images = pictures(channels=channels)
    before = images.clone()
    changed = change(images, seeded(1))
    assert torch.equal(images, before), "the source is left alone"
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(changed, change(images, seeded(1)))
    assert not torch.equal(changed, change(images, seeded(2)))


@pytest.mark.parametrize("values", SWITCHES, ids=str)
def test_each_example_is_drawn_for_itself(values: dict[str, Any]) -> None:
    same = pictures(1).repeat(64, 1, 1, 1)
    kinds = len(made(**values)(same, seeded(1)).float().unique(dim=0))
    assert kinds == 2 if values.keys() & {"hflip", "vflip", "invert"} and len(values) == 1 else kinds > 20


def test_flips_go_where_they_say() -> None:
    images = pictures(300)
    for side, options in ((3, (0.25, 0.0)), (2, (0.0, 0.25))):
        changed = flip(*options)(images, seeded(1))
        turned = (changed == images.flip(side)).flatten(1).all(1)
        assert bool((turned ^ (changed == images).flatten(1).all(1)).all())
        assert 45 < int(turned.sum()) < 105


def test_inverting_is_the_opposite_of_each_pixel() -> None:
    images = pictures(10)
    assert torch.equal(invert(1.0)(images, seeded(1)), 255 - images)
    assert torch.equal(invert(1.0)(images.float(), seeded(1)), 255.0 - images.float())


def test_a_crop_is_a_part_of_the_image_and_keeps_enough_of_it() -> None:
    size = 32
    ramp = torch.arange(size, dtype=torch.float32).view(1, 1, 1, size).expand(500, 1, size, size)
    seen = crop_and_rotate(0.25, 0.0)(ramp, seeded(1))[:, 0, 0]
    reach = seen[:, -1] - seen[:, 0]
    assert bool((seen.diff(dim=1) >= -1e-3).all()), "neither mirrored nor turned"
    assert seen.min() >= 0.0
    assert seen.max() <= size - 1
    assert 10 < reach.min() < 20
    assert reach.max() > 28
    assert torch.equal(crop_and_rotate(1.0, 0.0)(ramp, seeded(1)).round(), ramp)


def test_a_rotation_turns_about_the_middle_in_true_proportions() -> None:
    # A bright disc beside the middle of an oblong picture stays as far from it as it was.
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((rows - 19.5) ** 2 + (columns - 51.5) ** 2) < 16).float() * 255
    turned = crop_and_rotate(1.0, 90.0)(disc.expand(200, 1, 40, 80), seeded(1))[:, 0]
    weight = turned / turned.sum(dim=(1, 2), keepdim=True)
    down, across = (weight * (rows - 19.5)).sum((1, 2)), (weight * (columns - 39.5)).sum((1, 2))
    assert torch.allclose((down**2 + across**2).sqrt(), torch.full((200,), 12.0), atol=0.3)
    assert down.min() < -11
    assert down.max() > 11
    assert across.min() > -1


def test_erasing_blanks_one_rectangle_of_the_size_it_says() -> None:
    images = pictures(400, size=32).float()
    changed = erase(1.0)(images, seeded(1))
    gone = (changed != images).any(dim=1)
    area = gone.float().mean(dim=(1, 2))
    assert 0.0 < area.min() < 0.05
    assert 0.25 < area.max() < 0.36
    for one in gone[:50]:
        high, wide = int(one.any(1).sum()), int(one.any(0).sum())
        assert int(one.sum()) >= 0.9 * high * wide, "a full rectangle, but for pixels that were of its colour"


# Mixing


def mixed(num: int = 400, **values: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images whose every pixel is the example's number, mixed; with their targets before and after."""
    targets = torch.arange(num) % 4
    images = torch.arange(num, dtype=torch.float32).view(-1, 1, 1, 1).expand(num, 1, 8, 8)
    mix = make_mixing(ImageConfig.model_validate(values), 4, seed=1, epoch=2)
    assert mix is not None
    return *mix(images, targets), targets


def test_without_mixing_there_is_none() -> None:
    assert make_mixing(ImageConfig(), 4, 1, 2) is None


def test_mixup_blends_two_images_and_their_targets_alike() -> None:
    images, shares, targets = mixed(mixup=1.0)
    assert bool((images.flatten(1).std(dim=1) < 1e-3).all())
    assert torch.allclose(shares.sum(1), torch.ones(400))
    own = shares.gather(1, targets[:, None])
    assert 0.55 < own.mean() < 0.7, "half of it, and partners of the same class"


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels() -> None:
    images, shares, targets = mixed(cutmix=1.0)
    kinds = [len(image.unique()) for image in images]
    assert set(kinds) == {1, 2}
    pasted = (images != torch.arange(400.0).view(-1, 1, 1, 1)).float().mean(dim=(1, 2, 3))
    partner = images.flatten(1).sum(1) - torch.arange(400.0) * 64 * (1 - pasted)
    other = (partner / (64 * pasted)).round().nan_to_num().long() % 4
    expected = torch.zeros(400, 4)
    expected.scatter_add_(1, targets[:, None], 1 - pasted[:, None])
    expected.scatter_add_(1, other[:, None], pasted[:, None])
    assert torch.allclose(shares, expected, atol=1e-5)


def test_both_kinds_share_the_images() -> None:
    images, _, _ = mixed(mixup=1.0, cutmix=1.0)
    blended = int((images.flatten(1).std(dim=1) < 1e-3).sum())
    assert 150 < blended < 300


def test_mixing_depends_on_seed_and_epoch_alone() -> None:
    first, again = mixed(mixup=0.5, cutmix=0.5), mixed(mixup=0.5, cutmix=0.5)
    assert torch.equal(first[0], again[0])
    config = ImageConfig(mixup=0.5)
    other = make_mixing(config, 4, seed=1, epoch=3)
    assert other is not None
    assert not torch.equal(other(first[0], first[2])[1], mixed(mixup=0.5)[1])


# The parts of the light preset


def test_half_is_mirrored() -> None:
    images = pictures(400)
    changed = mirror_and_shift(0.0)(images, seeded(1))
    mirrored = torch.tensor([torch.equal(one, other.flip(2)) for one, other in zip(changed, images, strict=True)])
    plain = torch.tensor([torch.equal(one, other) for one, other in zip(changed, images, strict=True)])
    assert bool((mirrored ^ plain).all())
    assert 150 < int(mirrored.sum()) < 250


def test_shifts_stay_within_their_fraction_and_repeat_the_edge() -> None:
    row = torch.arange(20, dtype=torch.uint8).view(1, 1, 1, 20).expand(200, 1, 20, 20)
    changed = mirror_and_shift(0.1)(row, seeded(1))[:, 0, 0]
    ascending = changed[changed[:, -1] > changed[:, 0]].long()
    shifts = ascending[:, 10] - 10
    assert set(shifts.tolist()) == {-2, -1, 0, 1, 2}
    expected = (torch.arange(20) + shifts[:, None]).clamp(0, 19)
    assert torch.equal(ascending, expected)


def test_colours_vary_within_their_amount() -> None:
    gray = torch.full((300, 3, 4, 4), 100, dtype=torch.uint8)
    changed = jitter_color(0.2)(gray, seeded(1))[:, 0, 0, 0]
    assert 80.0 <= changed.min() < 85.0
    assert 115.0 < changed.max() <= 120.0
