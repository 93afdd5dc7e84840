from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.image_folder import ImageFolder


def listed(root: Path, **values: Any) -> Listing:
    return ImageFolder(DataConfig(dataset="image_folder", root=root, **values)).examples()


def names(listing: Listing) -> list[str]:
    return list(listing.table["example"].to_pylist())


def test_class_folders_alone(make_folder: Callable[..., Path]) -> None:
    root = make_folder({"dog": 2, "cat": 1})
    listing = listed(root)
    assert listing.classes == ("cat", "dog")
    assert names(listing) == ["cat/000.png", "dog/000.png", "dog/001.png"]
    assert listing.table["labels"].to_pylist() == [[0], [1], [1]]
    assert listing.table["split"].null_count == 3
    assert listing.table["path"][0].as_py() == str(root / "cat/000.png")


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val", "test"), {"train", "val", "test"}),
        (("Training", "validation"), {"train", "val"}),
        (("train", "TEST"), {"train", "test"}),
        (("train",), {"train"}),
    ],
)
def test_given_splits_are_kept(make_folder: Callable[..., Path], folders: tuple[str, ...], splits: set[str]) -> None:
    listing = listed(make_folder({f"{folder}/{name}": 2 for folder in folders for name in ("a", "b")}))
    assert listing.classes == ("a", "b")
    assert set(listing.table["split"].to_pylist()) == splits
    for name, split in zip(names(listing), listing.table["split"].to_pylist(), strict=True):
        assert name.lower().startswith(split)
    told = [note for note in listing.notes if "is cut from train" in note]
    assert len(told) == 3 - len(splits)


def test_upper_case_nested_hidden_and_foreign_files(make_folder: Callable[..., Path], make_picture: Any) -> None:
    root = make_folder({"a": 1, "b": 1})
    make_picture(root / "a/deep/er/PHOTO.JPG")
    make_picture(root / "a/.hidden.png")
    make_picture(root / "a/.cache/x.png")
    make_picture(root / "__MACOSX/a/x.png")
    make_picture(root / ".git/x.png")
    make_picture(root / "stray.png")
    (root / "b/notes.txt").write_text("x")
    (root / "b/Thumbs.db").write_text("x")
    (root / "README").write_text("x")
    listing = listed(root)
    assert names(listing) == ["a/000.png", "a/deep/er/PHOTO.JPG", "b/000.png"]
    notes = " | ".join(listing.notes)
    for what in (
        "1 × hidden files",
        "3 × hidden folders",
        "1 × files of type .txt",
        "1 × files of type .db",
        "1 × images outside of class folders",
    ):
        assert what in notes


def test_empty_class_folder_is_told_and_no_class(make_folder: Callable[..., Path]) -> None:
    listing = listed(make_folder({"a": 1, "b": 1, "empty": 0}))
    assert listing.classes == ("a", "b")
    assert "no image in empty/: not a class" in listing.notes


def test_folder_beside_train_is_told(make_folder: Callable[..., Path]) -> None:
    listing = listed(make_folder({"train/a": 1, "train/b": 1, "masks": 1}))
    assert any("folder masks/ beside train/" in note for note in listing.notes)
    assert len(names(listing)) == 2


def test_classes_of_the_splits_must_agree(make_folder: Callable[..., Path]) -> None:
    root = make_folder({"train/a": 1, "train/b": 1, "test/a": 1, "test/c": 1})
    with pytest.raises(DataError, match=r"(?s)'c' not among the classes of train \('a', 'b'\).*test/c/000\.png"):
        listed(root)


def test_folders_that_are_called_like_splits_can_be_classes(make_folder: Callable[..., Path]) -> None:
    root = make_folder({"test": 1, "val": 1})
    with pytest.raises(DataError, match=r"has no class folders(?s:.*)data\.class_from=folder"):
        listed(root)
    assert listed(root, split={"given": False}).classes == ("test", "val")
    assert listed(root, class_from="folder").classes == ("test", "val")
    with pytest.raises(DataError, match=r"test, val but no train(?s:.*)data\.class_from=folder"):
        listed(make_folder({"test/a": 1, "test/b": 1, "val/a": 1}))


def test_missing_empty_and_wrong_roots(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist(?s:.*)<class>/\*\.jpg"):
        listed(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="file is not a folder"):
        listed(tmp_path / "file")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"no image in .*bare"):
        listed(tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare")
    twice = make_folder({"train/a": 1, "Train/a": 1})
    with pytest.raises(DataError, match="two folders for one split"):
        listed(twice)


def test_symbolic_links_are_followed_and_circles_left(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 1, "b": 1})
    elsewhere = make_folder({"more": 2}, root=tmp_path / "elsewhere")
    (root / "a/linked").symlink_to(elsewhere / "more")
    (root / "a/circle").symlink_to(root / "a")
    assert Counter(name.split("/")[0] for name in names(listed(root))) == {"a": 3, "b": 1}


def test_file_name_that_is_no_text_is_named(make_folder: Callable[..., Path]) -> None:
    root = make_folder({"a": 1, "b": 1})
    strange = os.fsencode(root / "a") + b"/\xff.png"
    shutil.copy(root / "a/000.png", strange)
    (defect,) = listed(root).defects
    assert "udcff" in defect.name
    assert "not UTF-8" in defect.reason


def test_files_whose_names_differ_in_case_only_are_two(make_folder: Callable[..., Path]) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    (root / "cat/000.png").rename(root / "cat/a.png")
    (root / "cat/001.png").rename(root / "cat/A.PNG")
    names = ImageFolder(DataConfig(dataset="image_folder", root=root)).examples().table["example"].to_pylist()
    assert names[:2] == ["cat/A.PNG", "cat/a.png"]


def test_given_splits_can_be_pooled_and_divided_anew(make_folder: Callable[..., Path]) -> None:
    root = make_folder({f"{split}/{name}": 2 for split in ("train", "val") for name in ("cat", "dog")})
    listing = listed(root, split={"given": False})
    assert listing.classes == ("cat", "dog")
    assert listing.table["split"].null_count == len(listing.table) == 8
    assert "train/, val/: pooled, and divided again" in listing.notes


def test_a_class_that_is_called_train_is_a_class_when_splits_are_not_given(make_folder: Callable[..., Path]) -> None:
    assert listed(make_folder({"train": 2, "val": 2}), split={"given": False}).classes == ("train", "val")
    mixed = make_folder({"vehicles/train/old": 1, "vehicles/bus/old": 1}) / "vehicles"
    assert listed(mixed, split={"given": False}).classes == ("bus", "train")
