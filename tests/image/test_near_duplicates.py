from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagehash import phash
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from trainables.image.data.near_duplicates import NearDuplicates, close_pairs, find_near_duplicates
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets import dataset_class
from trainables.image.index import ImageIndex
from trainables.image.pixels.perceptual_hash import HASH_SIZE, hashes_of

Change = Callable[[Image.Image], Image.Image]
CHANGES: dict[str, Change] = {
    "same": lambda image: image,
    "quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "half": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "three": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "mirror": ImageOps.mirror,
    "flip": ImageOps.flip,
    "invert": ImageOps.invert,
    "both": lambda image: ImageOps.invert(image).transpose(Image.Transpose.TRANSVERSE),
    "small": lambda image: image.resize((image.width // 2, image.height // 2)),
    "grey": lambda image: image.convert("L"),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "poor": lambda image: Image.open(io.BytesIO(encoded(image, 20))),
}


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Something with structures of all sizes, as photos have them."""
    random = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3))
    for scale in (3, 6, 12, 40):
        noise = Image.fromarray(random.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        picture += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), dtype=float) / (scale**0.5)
    picture = 230 * (picture - picture.min()) / (picture.max() - picture.min())
    return Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty photos in two classes; each of the first twelve once more, changed."""
    for seed in range(30):
        folder = tmp_path / "set" / ("cat" if seed % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed:02d}.jpg").write_bytes(encoded(photo(seed)))
    for seed, (name, change) in enumerate(CHANGES.items()):
        folder = tmp_path / "set" / ("cat" if seed % 2 else "dog")
        (folder / f"{seed:02d}-{name}.jpg").write_bytes(encoded(change(photo(seed)), 85))
    return tmp_path / "set"


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "image_folder", "root": root, **values})


def find(data: DataConfig) -> NearDuplicates:
    return find_near_duplicates(dataset_class(data.dataset)(data).examples().table, data, num_threads=2)


def test_every_copy_is_found_and_nothing_else(root: Path) -> None:
    found = find(config(root))
    assert sorted(found.pictures) == sorted(
        (
            f"{'cat' if seed % 2 else 'dog'}/{seed:02d}-{name}.jpg",
            f"{'cat' if seed % 2 else 'dog'}/{seed:02d}.jpg",
        )
        for seed, name in enumerate(CHANGES)
    )
    assert len(set(found.groups)) == 30
    assert len(found.groups) == 42


def test_the_hashes_are_those_of_imagehash_in_every_orientation() -> None:
    """By one cosine transform instead of eight."""
    image = photo(3).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    theirs = [_theirs(image), *(_theirs(image.transpose(each)) for each in Image.Transpose)]
    ours = [each.tobytes() for each in hashes_of(image)]
    assert len(set(theirs)) == 8
    assert ours[0] == theirs[0]
    assert set(ours) == set(theirs)


def _theirs(image: Image.Image) -> bytes:
    bits = phash(image, hash_size=HASH_SIZE).hash
    bits[0, 0] = False  # the mean brightness
    low = np.zeros_like(bits)
    low[:8, :8] = True  # the lowest frequencies come first
    return np.packbits(np.concatenate([bits[low], bits[~low]])).tobytes()


@pytest.mark.parametrize("num_pictures", [0, 1, 300])
def test_pairs_are_those_of_all_comparisons(num_pictures: int) -> None:
    """Blocks, words and the look at low frequencies first change nothing."""
    random = np.random.default_rng(0)
    words = random.integers(0, 2**63, (num_pictures, 8, 4), dtype=np.int64).astype(np.uint64)
    for one, two in [(3, 250), (7, 8), (130, 299)] if num_pictures else []:
        if two < num_pictures:
            words[two, 5] = words[one, 0] ^ np.uint64(0b1011)
    if num_pictures > 200:
        words[199, 2] = ~words[20, 0]
        words[199, 2, 0] ^= np.uint64(1 << 7)  # the first bit of the first byte is unused
    expected = {
        (one, two)
        for one, two in combinations(range(num_pictures), 2)
        for orientation in range(8)
        if (lambda bits: min(bits, 255 - bits) <= 40)(
            int(np.bitwise_count(words[one, 0] ^ words[two, orientation]).sum())
        )
    }
    assert {(one, two) for one, two in close_pairs(words).tolist()} == expected
    assert len(expected) == (4 if num_pictures > 200 else 0)


def test_splits_keep_copies_together(root: Path, tmp_path: Path) -> None:
    preparation = prepare_images(config(root, split={"group_by": "near_duplicates", "seed": 3}), tmp_path, [])
    table = ImageIndex.load(tmp_path / "index.arrow").table
    splits = dict(zip(table["example"].to_pylist(), table["split"].to_pylist(), strict=True))
    for group in preparation.details["near_duplicates"]:
        assert len({splits[name] for name in group}) == 1
    assert len(preparation.details["near_duplicates"]) == 12
    assert re.match(r"24 of \d+ images, in 12 groups, such as", preparation.summary["near-duplicates"])
    assert not [text for text in preparation.warnings if "leak" in text]


def test_splits_that_leak_are_told(root: Path, tmp_path: Path) -> None:
    alone = prepare_images(config(root), tmp_path, [])
    assert "near_duplicates" not in alone.details  # nobody asked
    preparation = prepare_images(config(root), tmp_path, [], look_for_duplicates="yes")
    (leak,) = (text for text in preparation.warnings if "leak" in text)
    assert "data.split.group_by: near_duplicates" in leak
    assert preparation.fingerprint == alone.fingerprint


@pytest.mark.parametrize("group_by", ["image", "near_duplicates"])
def test_official_splits_stay_and_their_leak_is_told(tmp_path: Path, group_by: str) -> None:
    for seed in range(24):
        folder = tmp_path / "set" / ("test" if seed < 6 else "train") / ("cat" if seed % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.jpg").write_bytes(encoded(photo(seed)))
    (tmp_path / "set/train/cat/copy.jpg").write_bytes(encoded(ImageOps.invert(photo(1))))
    data = config(tmp_path / "set", split={"group_by": group_by})
    preparation = prepare_images(data, tmp_path, [], look_for_duplicates="yes")
    assert preparation.details["examples"]["test"] == 6
    (leak,) = (text for text in preparation.warnings if "leak" in text)
    assert "the dataset's own splits leak: 1 group of near-duplicates" in leak
    assert "test/cat/1.jpg (test)" in leak


def test_copies_with_different_labels_are_told(root: Path, tmp_path: Path) -> None:
    (root / "cat/other.jpg").write_bytes(encoded(ImageOps.mirror(photo(20))))  # 20 is a dog
    preparation = prepare_images(config(root), tmp_path, [], look_for_duplicates="yes")
    (warning,) = (text for text in preparation.warnings if "different labels" in text)
    assert "1 group" in warning
    assert "cat/other.jpg, dog/20.jpg" in warning


def test_crops_of_copies_stay_together(make_voc: Callable[..., Path], tmp_path: Path) -> None:
    root = make_voc(
        {f"p{seed}": [("dog", (1, 1, 60, 60)), ("cat", (70, 30, 150, 110))] for seed in range(12)}, size=(160, 120)
    )
    for seed in range(12):
        (root / f"JPEGImages/p{seed}.jpg").write_bytes(encoded(photo(seed % 6)))
    data = DataConfig.model_validate(
        {"dataset": "voc", "root": root, "view": "crops", "split": {"group_by": "near_duplicates"}}
    )
    found = find(data)
    assert sorted(found.pictures)[0] == ("JPEGImages/p0.jpg", "JPEGImages/p6.jpg")
    assert len(set(found.groups)) == 6
    assert len(found.groups) == 24
    preparation = prepare_images(data, tmp_path, [])
    assert sum(preparation.details["examples"].values()) == 24


def test_hashes_are_remembered_and_unreadable_pictures_passed_over(root: Path) -> None:
    (root / "cat/broken.jpg").write_bytes(b"\xff\xd8\xff")
    data = config(root)
    first = find(data)
    looked_at = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "hashing images" and done == total:
            looked_at.append(total)

    table = dataset_class("image_folder")(data).examples().table
    assert find_near_duplicates(table, data, 1, progress) == first
    assert looked_at == [1]  # the broken one is tried again
    (kept,) = (data.cache_folder / "scans").glob("*-hashes.feather")
    kept.write_bytes(b"damaged")
    assert find_near_duplicates(table, data, 1) == first


def test_groups_of_thousands_are_joined_by_as_many_pairs_as_they_have_pictures() -> None:
    """Not by the square of it: 8 million pairs of 4,000 pictures that are all alike are 128 MB, of 100,000 too many."""
    generator = np.random.default_rng(0)
    blank = np.zeros((4000, 8, 4), dtype=np.uint64)
    one_bit = blank.copy()
    numbers = np.arange(4000)
    one_bit[numbers, :, 1 + numbers % 3] = (np.uint64(1) << (numbers % 64).astype(np.uint64))[:, np.newaxis]
    alike = one_bit.copy()
    alike[:, :, 0] = generator.integers(0, 8, (4000, 8), dtype=np.uint64)
    for words in (blank, one_bit, alike):
        assert close_pairs(words, num_threads=2).tolist() == [[0, number] for number in range(1, 4000)]


def test_a_chain_is_one_group() -> None:
    """Each is close to the next, the first and the last are not."""
    words = np.full((3, 8, 4), 0, dtype=np.uint64)
    words[:, :, 1] = [[0]] * 3
    words[1, :, 1], words[2, :, 1], words[2, :, 2] = 2**30 - 1, 2**30 - 1, 2**30 - 1
    assert close_pairs(words).tolist() == [[0, 1], [0, 2]]


def test_blank_pictures_are_copies_of_each_other_only() -> None:
    words = np.stack([hashes_of(each) for each in (Image.new("L", (9, 9)), Image.new("RGB", (50, 5), "red"), photo(1))])
    assert close_pairs(words).tolist() == [[0, 1]]
