"""Which folders are classes, which are splits, wrappers, masks or parts of other layouts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import DataError
from trainables.image.data.listing import list_examples
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.split_words import split_and_rest

MakeFolder = Callable[..., Path]


def listed(root: Path, **values: Any) -> Listing:
    """What is read at a root where nothing else is said; it must be the same where the dataset is named."""
    found = list_examples(DataConfig(root=root, **values))
    assert found.classes == list_examples(DataConfig(dataset="image_folder", root=root, **values)).classes
    return found


def counts(listing: Listing) -> dict[str | None, int]:
    return dict(Counter(listing.table["split"].to_pylist()))


def refusal(root: Path, **values: Any) -> str:
    with pytest.raises(DataError) as caught:
        list_examples(DataConfig(root=root, **values))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("train", ("train", frozenset())),
        ("train2017", ("train", frozenset())),
        ("training_set", ("train", frozenset())),
        ("TestImages", ("test", frozenset())),
        ("seg_train", ("train", frozenset({"seg"}))),
        ("trainval", None),
        ("train_test", None),
        ("trained", None),
        ("cat", None),
    ],
)
def test_words_for_splits(name: str, found: object) -> None:
    assert split_and_rest(name) == found


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        ({"seg_train/seg_train/{}": 2, "seg_test/seg_test/{}": 1}, {"train": 4, "test": 2}),
        ({"training_set/{}": 2, "test_set/{}": 1}, {"train": 4, "test": 2}),
        ({"dataset/train/{}": 2, "dataset/test/{}": 1}, {"train": 4, "test": 2}),
        ({"archive/flowers/{}": 2}, {None: 4}),
        ({"train/images/{}": 2, "val/images/{}": 1}, {"train": 4, "val": 2}),
        ({"images/{}": 2, "masks/{}": 2}, {None: 4}),
        ({"part_1/{}": 2, "part_2/{}": 1}, {None: 6}),
        ({"dev/{}": 1, "train/{}": 2}, {"train": 4, "val": 2}),
    ],
)
def test_wrappers_and_splits_are_no_classes(
    make_folder: MakeFolder, folders: dict[str, int], splits: dict[str | None, int]
) -> None:
    root = make_folder({path.format(name): count for path, count in folders.items() for name in ("cat", "dog")})
    listing = listed(root)
    assert listing.classes == ("cat", "dog")
    assert counts(listing) == splits


@pytest.mark.parametrize(
    "folders",
    [
        {"train_images": 2, "test_images": 2},
        {"train2017": 2, "val2017": 2},
        {"images": 2, "annotations": 1},
        {"images_001": 2, "images_002": 2},
        {"part_1": 2, "part_2": 2},
        {"train/images": 2, "train/labels": 2, "val/images": 2},
        {"train": 2, "val": 2},
    ],
)
def test_parts_of_other_layouts_are_never_classes(make_folder: MakeFolder, folders: dict[str, int]) -> None:
    root = make_folder(folders)
    assert "no dataset is recognised" in refusal(root)
    assert "has no class folders" in refusal(root, dataset="image_folder")


def test_classes_with_the_name_of_a_split(make_folder: MakeFolder) -> None:
    assert listed(make_folder({"bus": 1, "car": 1, "train": 2})).classes == ("bus", "car", "train")


def test_test_folder_without_class_folders_is_no_split(make_folder: MakeFolder) -> None:
    listing = listed(make_folder({"train/a": 2, "train/b": 2, "test": 3}))
    assert counts(listing) == {"train": 4}
    notes = " | ".join(listing.notes)
    assert "test/ has no class folders: its 3 images are left out" in notes
    assert "test is cut from train" in notes


@pytest.mark.parametrize(
    ("file", "line"),
    [("val/val_annotations.txt", "{}\t{}\t0\t0\t62\t62\n"), ("LOC_val_solution.csv", "{},{} 1 2 3 4\n")],
)
def test_labels_of_a_flat_val_come_from_the_list(make_folder: MakeFolder, file: str, line: str) -> None:
    root = make_folder({"train/n01": 2, "train/n02": 2, "val/images": 3})
    labels = {"000.png": "n02", "001.png": "n01", "002.png": "n02"}
    (root / file).write_text("".join(line.format(name, label) for name, label in labels.items()))
    listing = listed(root)
    found = dict(zip(listing.table["example"].to_pylist(), listing.table["labels"].to_pylist(), strict=True))
    assert {name: listing.classes[found[f"val/images/{name}"][0]] for name in labels} == labels
    assert any(f"3 labels from {file}" in note for note in listing.notes)


def test_masks_are_no_pictures_of_the_class(make_folder: MakeFolder, make_picture: Any) -> None:
    root = make_folder({"cat/images": 2, "cat/masks": 2, "dog": 2})
    make_picture(root / "dog/000_mask.png")
    make_picture(root / "dog/000_mask_1.png")
    make_picture(root / "dog/a_mask.png")  # of nothing: a picture of a mask
    listing = listed(root)
    assert listing.table["example"].to_pylist() == [
        *("cat/images/000.png", "cat/images/001.png"),
        *("dog/000.png", "dog/001.png", "dog/a_mask.png"),
    ]
    notes = " | ".join(listing.notes)
    assert "2 × masks in folders masks/" in notes
    assert "2 × masks, named as another image" in notes


def test_two_levels_of_folders_are_a_question(make_folder: MakeFolder) -> None:
    root = make_folder({f"{site}/{name}": 2 for site in ("north", "south") for name in ("cat", "dog")})
    for section in ({}, {"dataset": "image_folder"}):
        message = refusal(root, **section)
        assert "the outer folders are the classes: 'north', 'south'" in message
        assert '{"dataset": "image_folder", "class_from": "parent"}' in message
    assert listed(root, class_from="folder").classes == ("north", "south")
    assert listed(root, class_from="parent").classes == ("cat", "dog")


def test_class_in_the_names_of_pictures(make_folder: MakeFolder, make_picture: Any) -> None:
    root = make_folder({})
    for name in ("Abyssinian_1", "Abyssinian_12", "great_pyrenees_3", "great_pyrenees_4"):
        make_picture(root / f"images/{name}.jpg")
    message = refusal(root)
    assert "'Abyssinian', 'great_pyrenees'" in message
    pattern = message.partition("class_from: '")[2].partition("'}")[0]
    assert listed(root, class_from=pattern).classes == ("Abyssinian", "great_pyrenees")
    with pytest.raises(ValueError, match="one group"):
        DataConfig(root=root, class_from=r"\d+")


def test_numbered_folders_are_in_the_order_of_numbers_and_take_their_names_from_the_json(
    make_folder: MakeFolder,
) -> None:
    root = make_folder({"10": 1, "2": 1, "1": 1})
    assert listed(root).classes == ("1", "2", "10")
    (root / "cat_to_name.json").write_text(json.dumps({"1": "rose", "2": "tulip", "10": "lily"}))
    assert listed(root).classes == ("rose", "tulip", "lily")
    (root / "cat_to_name.json").write_text(json.dumps({"1": "rose", "2": "rose", "10": "lily"}))
    assert listed(root).classes == ("1", "2", "10")


def test_unlabelled_folder_is_no_class(make_folder: MakeFolder) -> None:
    listing = listed(make_folder({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/_unlabeled": 2}))
    assert listing.classes == ("a", "b")
    assert "2 images in val/_unlabeled/ left out: they have no label" in listing.notes


def test_class_of_files_that_are_not_read_is_lost_with_a_warning(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 1, "dog": 1, "empty": 0})
    (root / "horse").mkdir()
    (root / "horse/1.xyz").write_bytes(b"x")
    listing = listed(root)
    assert listing.lost_classes == ("horse",)
    assert "'horse' is lost" in listing.warnings[0]
    assert listing.classes == ("cat", "dog")


def test_pictures_without_suffix_are_read(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 2, "dog": 1})
    for path in list(root.rglob("*.png")):
        path.rename(path.with_suffix(""))
    assert len(listed(root).table) == 3


@pytest.mark.parametrize("other", ["cafe\u0301", "caf\u00e9 ", "caf\u00e9\u200b", " caf\u00e9"])
def test_names_that_look_the_same_are_one_class(make_folder: MakeFolder, other: str) -> None:
    listing = listed(make_folder({"train/caf\u00e9": 2, "train/tea": 2, f"val/{other}": 1, "val/tea": 1}))
    assert listing.classes == ("caf\u00e9", "tea")
    assert any("written in 2 ways" in note for note in listing.notes)


def test_names_that_differ_in_capitals_are_a_question(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 2, "Cat": 2, "dog": 2})
    assert "'Cat' (2), 'cat' (2) differ in capitals only" in (message := refusal(root))
    assert "merge them: data.rename_classes: {cat: Cat}" in message
    assert listed(root, classes=["Cat", "cat", "dog"]).classes == ("Cat", "cat", "dog")
    assert listed(root, classes=["cat", "dog"]).classes == ("cat", "dog")


def test_classes_that_get_one_name_are_one_and_counted(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cat": 5, "train/Cat": 2, "train/dog": 3, "val/cats": 2, "val/dog": 1})
    assert "'cats' not among the classes of train" in refusal(root, rename_classes={"Cat": "cat"})
    listing = listed(root, rename_classes={"Cat": "cat", "cats": "cat"})
    assert listing.classes == ("cat", "dog")
    labels = listing.table["labels"].to_pylist()
    assert (labels.count([0]), labels.count([1])) == (9, 4)
    assert "class 'cat' merges 'Cat' (2), 'cat' (5), 'cats' (2)" in listing.notes
    assert not any("alike" in warning for warning in listing.warnings)
    listing = listed(root, rename_classes={"Cat": "a b", "cats": "a b", "cat": "a b"}, classes=["dog", "a b"])
    assert listing.classes == ("dog", "a b"), "other settings take the new names"


def test_renaming_a_class_that_does_not_exist_is_refused(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    assert "data.rename_classes: no class 'dogs' (did you mean dog?)" in refusal(root, rename_classes={"dogs": "cat"})
    assert listed(root, rename_classes={"dog": "hound"}).classes == ("cat", "hound")


@pytest.mark.parametrize(("one", "other"), [("cat", "cats"), ("red tulip", "Red_Tulips"), ("top hat", "top-hat")])
def test_names_that_are_alike_are_warned_of_with_the_setting_that_merges(
    make_folder: MakeFolder, one: str, other: str
) -> None:
    root = make_folder({one: 3, other: 2, "dog": 2})
    (warning,) = (each for each in listed(root).warnings if "alike" in each)
    assert f"data.rename_classes: {{{other}: {one}}}" in warning, "into the larger one"
    assert not listed(root, classes=[one, other, "dog"]).warnings, "whoever lists them means them"


def test_columns_of_labels_are_merged(make_folder: MakeFolder) -> None:
    root = make_folder({"pics": 6})
    names = sorted(path.name for path in root.glob("pics/*"))
    rows = [f"{name},{k % 2},{int(k % 3 == 0)},{int(k > 3)}" for k, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["file,cat,Cat,dog", *rows]) + "\n")
    listing = list_examples(DataConfig(root=root, rename_classes={"Cat": "cat"}, classes=("dog", "cat")))
    assert listing.classes == ("dog", "cat")
    labels = [sorted(row) for row in listing.table["labels"].to_pylist()]
    assert labels == [[1], [1], [], [1], [0], [0, 1]], "a label counts once per image"
    assert "class 'cat' merges 'Cat' (2), 'cat' (3)" in listing.notes


def test_table_that_says_something_else_than_class_folders_is_a_question(make_folder: MakeFolder) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    (root / "labels.csv").write_text("file,label\ncat/000.png,cat\ndog/000.png,dog\n")
    assert DataConfig(root=root).dataset == "image_table"
    for name in ("cat", "dog"):
        (root / name / "000.png").rename(root / name / f"of-{name[0]}.png")
    (root / "labels.csv").write_text("file,mood\nof-c.png,happy\nof-d.png,sad\n")
    message = refusal(root)
    assert "one folder per class (2: 'cat', 'dog')" in message
    assert "labels.csv" in message
