from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from trainables.errors import DataError
from trainables.image.data.splits import balance, divide, limit
from trainables.image.datasets.base import Example, table_of
from trainables.image.settings.split import Split


def examples(
    labels: list[list[int]], groups: list[str] | None = None, splits: list[str | None] | None = None
) -> object:
    return table_of(
        Example(
            f"e{number:05d}",
            each,
            image=b"x",
            group=groups[number] if groups else None,
            split=splits[number] if splits else None,
        )
        for number, each in enumerate(labels)
    )


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class{number}" for number in range(count))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(5, 120), min_size=2, max_size=6), st.integers(0, 9))
def test_every_class_is_divided_by_the_fractions(counts: list[int], seed: int) -> None:
    labels = [[number] for number, count in enumerate(counts) for _ in range(count)]
    division = divide(examples(labels), names(len(counts)), Split(seed=seed))
    found = Counter(zip((label[0] for label in labels), division.splits.tolist(), strict=True))
    for number, count in enumerate(counts):
        for split, fraction in {"train": 0.64, "val": 0.16, "test": 0.20}.items():
            assert found[number, split] >= 1
            assert abs(found[number, split] - fraction * count) <= 1.5


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_group_is_on_two_sides(data: st.DataObject) -> None:
    num_classes = data.draw(st.integers(2, 4))
    some_labels = st.lists(st.integers(0, num_classes - 1), min_size=0, max_size=3, unique=True)
    labels = data.draw(st.lists(some_labels, min_size=20, max_size=80))
    labels += [[number] for number in range(num_classes)] * 3  # so that no class is too rare
    groups = [f"g{data.draw(st.integers(0, 25))}" for _ in labels[: -3 * num_classes]]
    groups += [f"own{number}" for number in range(3 * num_classes)]
    split = Split(seed=data.draw(st.integers(0, 3)), stratify=data.draw(st.booleans()))
    try:
        division = divide(examples(labels, groups), names(num_classes), split)
    except DataError:  # a few large groups can leave train without a class
        reject()
    sides: dict[str, set[str]] = {}
    for group, side in zip(groups, division.splits.tolist(), strict=True):
        sides.setdefault(group, set()).add(side)
    assert all(len(each) == 1 for each in sides.values())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_crops_of_photos_come_close_to_the_fractions(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, groups = [], []
    for photo in range(200):
        for label in random.choice(3, size=random.integers(1, 20), p=[0.85, 0.1, 0.05]):
            labels.append([int(label)])
            groups.append(f"photo{photo}")
    division = divide(examples(labels, groups), names(3), Split(seed=seed))
    flat = np.array(labels)[:, 0]
    for split, fraction in {"train": 0.64, "val": 0.16, "test": 0.20}.items():
        assert np.mean(division.splits == split) == pytest.approx(fraction, abs=0.02)
        for label in range(3):
            assert np.mean(division.splits[flat == label] == split) == pytest.approx(fraction, abs=0.06)


def test_multi_label_is_stratified_for_every_label() -> None:
    random = np.random.default_rng(0)
    labels = [[k for k, p in enumerate((0.9, 0.4, 0.05)) if random.random() < p] for _ in range(1000)]
    division = divide(examples(labels), names(3), Split())
    for k in range(3):
        has = np.array([k in each for each in labels])
        assert np.mean(division.splits[has] == "val") == pytest.approx(0.16, abs=0.02)
        assert np.mean(division.splits[has] == "test") == pytest.approx(0.20, abs=0.02)


def test_seed_decides_and_the_order_of_rows_does_not() -> None:
    labels = [[number % 2] for number in range(60)]
    table = examples(labels)
    one = divide(table, names(2), Split(seed=1)).splits
    assert (one == divide(table, names(2), Split(seed=1)).splits).all()
    assert (one != divide(table, names(2), Split(seed=2)).splits).any()
    backward = np.arange(60)[::-1]
    assert (divide(table.take(backward), names(2), Split(seed=1)).splits == one[backward]).all()  # type: ignore[attr-defined]


def test_group_by_none_divides_crop_by_crop() -> None:
    labels = [[number % 2] for number in range(50)]
    table = examples(labels, ["photo"] * 50)
    assert set(divide(table, names(2), Split(group_by="none")).splits) == {"train", "val", "test"}


def test_no_test_split_when_its_fraction_is_zero() -> None:
    labels = [[number % 2] for number in range(50)]
    division = divide(examples(labels), names(2), Split(train=0.8, val=0.2, test=0))
    assert Counter(division.splits.tolist()) == {"train": 40, "val": 10}


def test_given_splits_stay_and_missing_ones_are_cut_from_train() -> None:
    labels = [[number % 2] for number in range(200)]
    given_splits: list[str | None] = ["test" if number < 40 else "train" for number in range(200)]
    division = divide(examples(labels, splits=given_splits), names(2), Split())
    assert (division.splits[:40] == "test").all()
    assert Counter(division.splits[40:].tolist()) == {"train": 128, "val": 32}
    kept = divide(examples(labels, splits=[*given_splits[:-40], *["val"] * 40]), names(2), Split())
    assert Counter(kept.splits.tolist()) == {"train": 120, "val": 40, "test": 40}


def test_given_splits_that_tear_a_group_apart_are_told() -> None:
    labels = [[number % 2] for number in range(9)]
    table = examples(labels, ["photo"] * 9, ["train", "train", "val", "val", "test", "test", "train", "val", "test"])
    (warning,) = divide(table, names(2), Split()).warnings
    assert "1 groups on two sides, such as photo" in warning


def test_class_with_one_picture_is_refused_and_with_two_told() -> None:
    many = [[0]] * 20
    with pytest.raises(DataError, match=r"class1: only one image.*data\.classes"):
        divide(examples([*many, [1]]), names(2), Split())
    with pytest.raises(DataError, match="class1: only one image"):
        divide(examples([*many, [1], [1]], [*(f"g{k}" for k in range(20)), "same", "same"]), names(2), Split())
    division = divide(examples([*many, [1], [1]]), names(2), Split())
    assert set(division.splits[-2:]) == {"train", "val"}
    assert division.warnings == ("test has no example of class1",)


def test_too_few_examples_for_the_splits() -> None:
    with pytest.raises(DataError, match="test would be empty: 4 examples are too few"):
        divide(examples([[0], [0], [1], [1]]), names(2), Split())


def test_balance_caps_only_train_and_only_the_classes_named() -> None:
    labels = [[0]] * 100 + [[1]] * 20 + [[2]] * 30
    table = examples(labels)
    splits = np.array((["train"] * 8 + ["val"] * 2) * 15)
    before = Counter(label[0] for label, split in zip(labels, splits, strict=True) if split == "train")
    assert before == {0: 80, 1: 16, 2: 24}

    def left(caps: object) -> Counter[int]:
        stay, _ = balance(table, splits, names(3), caps, seed=0)  # type: ignore[arg-type]
        assert stay[splits != "train"].all()
        return Counter(
            label[0] for label, keep, split in zip(labels, stay, splits, strict=True) if keep and split == "train"
        )

    assert left({}) == before
    assert left({"class0": "mean"}) == {0: 40, 1: 16, 2: 24}
    assert left({"class0": "median"}) == {0: 24, 1: 16, 2: 24}
    assert left("min") == {0: 16, 1: 16, 2: 16}
    assert left({"class0": 7, "class2": 1000}) == {0: 7, 1: 16, 2: 24}
    with pytest.raises(DataError, match=r"no class 'Class0' \(did you mean class0\?\)"):
        left({"Class0": 7})


def test_balance_is_seeded() -> None:
    table, splits = examples([[0]] * 50 + [[1]] * 10), np.array(["train"] * 60)
    stays = [balance(table, splits, names(2), "min", seed)[0] for seed in (0, 0, 1)]
    assert (stays[0] == stays[1]).all()
    assert (stays[0] != stays[2]).any()


def test_balance_of_multi_label_leaves_other_labels_alone() -> None:
    table = examples([[0]] * 5 + [[0, 1]] * 5 + [[1]] * 2)
    stay, warnings = balance(table, np.array(["train"] * 12), names(2), {"class0": 3}, 0)
    assert stay.tolist() == [False] * 5 + [True] * 7
    assert "class0 stays at 5 in train, above its cap of 3" in warnings[0]


def test_limit_keeps_the_proportion_of_classes() -> None:
    labels = [[0]] * 80 + [[1]] * 20
    splits = np.array(["train"] * 40 + ["val"] * 40 + ["train"] * 10 + ["val"] * 10)
    stay = limit(examples(labels), splits, 10, seed=0)
    kept = Counter((split, label[0]) for split, label, keep in zip(splits, labels, stay, strict=True) if keep)
    assert kept == {("train", 0): 8, ("train", 1): 2, ("val", 0): 8, ("val", 1): 2}
    assert limit(examples(labels), splits, 1000, seed=0).all()
