"""What lies at a root is recognised by looking at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import DataError
from trainables.image.data.listing import list_examples
from trainables.image.data_config import DataConfig
from trainables.image.datasets.recognition import recognise
from trainables.image.datasets.tree import Tree


def test_class_folders_are_recognised(make_folder: Callable[..., Path]) -> None:
    data = DataConfig(root=make_folder({"cat": 2, "dog": 3}))
    assert data.dataset == "image_folder"
    assert "2: 'cat', 'dog'" in data.found
    assert list_examples(data).classes == ("cat", "dog")


def test_annotated_pictures_are_no_class_folders(tmp_path: Path, make_picture: Any) -> None:
    make_picture(tmp_path / "JPEGImages/a.jpg")
    make_picture(tmp_path / "SegmentationClass/a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        "</object></annotation>"
    )
    assert DataConfig(root=tmp_path).dataset == "voc"
    assert DataConfig(root=tmp_path, view="crops").dataset == "voc"
    with pytest.raises(DataError, match=r'image_folder reads one folder per class(?s:.*)"dataset": "voc"'):
        list_examples(DataConfig(dataset="image_folder", root=tmp_path))


def test_two_readings_are_a_question(tmp_path: Path, make_picture: Any) -> None:
    make_picture(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text("<annotation/>")
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,cat\n")
    with pytest.raises(DataError, match="can be read in 2 ways") as caught:
        DataConfig(root=tmp_path)
    assert '"dataset": "voc"' in str(caught.value)
    assert '"dataset": "image_table", "table": {"path": "labels.csv"}' in str(caught.value)
    assert DataConfig(root=tmp_path, table="labels.csv").dataset == "image_table"
    assert DataConfig(root=tmp_path, view="crops").dataset == "voc"


def test_nothing_known_is_refused_with_what_was_seen(tmp_path: Path, make_picture: Any) -> None:
    make_picture(tmp_path / "train_images/a.jpg")
    make_picture(tmp_path / "test_images/a.jpg")
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(DataError, match=r"2 images in 3 folders, 1 files \.md"):
        DataConfig(root=tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        DataConfig(root=tmp_path / "nowhere")


def test_lists_of_splits_alone_say_that_labels_are_missing(tmp_path: Path, make_picture: Any) -> None:
    (tmp_path / "splits").mkdir()
    for split, count in (("train", 4), ("val", 2)):
        names = [f"{split}{number}.jpg" for number in range(count)]
        for name in names:
            make_picture(tmp_path / "images" / name)
        (tmp_path / f"splits/{split}.txt").write_text("\n".join(names) + "\n")
    with pytest.raises(DataError, match=r"splits/train\.txt, splits/val\.txt say .* no label") as caught:
        DataConfig(root=tmp_path)
    assert "labels.csv: file,label,split" in str(caught.value)
    lines = [
        f"{split}{k}.jpg,{'ab'[k % 2]},{split}" for split, count in (("train", 4), ("val", 2)) for k in range(count)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    listing = list_examples(DataConfig(root=tmp_path))
    assert listing.classes == ("a", "b")
    assert listing.table["split"].to_pylist().count("val") == 2


def test_known_layout_that_nothing_reads_is_refused_by_its_name(tmp_path: Path) -> None:
    record = (20).to_bytes(8, "little") + b"\0\0\0\0" + b"\x0a" + bytes(23)
    (tmp_path / "train.tfrecord-00000-of-00001").write_bytes(record)
    with pytest.raises(DataError, match=r"TFRecord \(train\.tfrecord-00000-of-00001\) is not read"):
        DataConfig(root=tmp_path)


def test_named_dataset_is_not_recognised(make_folder: Callable[..., Path]) -> None:
    data = DataConfig(dataset="parquet_images", root=make_folder({"cat": 1, "dog": 1}))
    assert (data.dataset, data.found) == ("parquet_images", "")
    assert DataConfig().dataset == "digits"


def test_tree_follows_links_once(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 1})
    elsewhere = make_folder({"b": 1}, root=tmp_path / "elsewhere")
    (root / "b").symlink_to(elsewhere / "b")
    (root / "a/again").symlink_to(root)
    (root / "0-first").symlink_to(root / "a")
    tree = Tree(root)
    assert list(tree.pictures()) == ["a/000.png", "b/000.png"]
    assert tree.passed_over["links to folders that are read already"] == 2


def test_tree_sees_what_has_changed(make_folder: Callable[..., Path], make_picture: Any) -> None:
    root = make_folder({"a": 1})
    assert list(Tree.of(root).pictures()) == ["a/000.png"]
    make_picture(root / "a/001.png")
    assert list(Tree.of(root).pictures()) == ["a/000.png", "a/001.png"]


def test_names_are_found_whatever_their_accents_are_made_of(tmp_path: Path, make_picture: Any) -> None:
    make_picture(tmp_path / "fla\u0308che.png")
    assert Tree(tmp_path).find("fl\u00e4che") == "fla\u0308che.png"


def test_lists_and_annotations_of_a_layout_are_no_tables(tmp_path: Path, make_picture: Any) -> None:
    """VOC's lists of pictures and signs read like a table of labels, and so does a list of records."""
    for name in ("a", "b"):
        make_picture(tmp_path / f"voc/JPEGImages/{name}.jpg")
        (tmp_path / "voc/Annotations").mkdir(exist_ok=True)
        (tmp_path / f"voc/Annotations/{name}.xml").write_text("<annotation/>")
    lists = tmp_path / "voc/ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "cat_train.txt").write_text("a 1\nb -1\n")
    assert recognise(tmp_path / "voc").dataset == "voc"

    make_picture(tmp_path / "ml/a.jpg")
    (tmp_path / "ml/x.json").write_text('[{"image": "a.jpg", "annotations": [{"label": "cat"}]}]')
    assert recognise(tmp_path / "ml").dataset == "createml"


def test_tree_without_some_of_it(tmp_path: Path, make_picture: Any) -> None:
    for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg", "f/g.jpg"):
        make_picture(tmp_path / name)
    tree = Tree.of(tmp_path)
    less = tree.without(["b", "f/g.jpg"])
    assert list(less.files()) == ["a.jpg"]
    assert list(less.folders) == ["", "f"]
    assert less.suffixes == {".jpg": 1}
    assert list(tree.files()) == ["a.jpg", "b/c.jpg", "b/d/e.jpg", "f/g.jpg"]
    assert tree.without([]) is tree


def test_pictures_are_found_without_the_prefix_of_an_upload(tmp_path: Path, make_picture: Any) -> None:
    """Label Studio puts eight digits before the names of files; those who annotate keep the files as they were."""
    for name in ("photos/img0.jpg", "photos/0a1b2c3d-img1.jpg", "photos/img1.jpg"):
        make_picture(tmp_path / name)
    tree = Tree.of(tmp_path)
    assert tree.find("/data/upload/1/00000000-img0.jpg") == "photos/img0.jpg"
    assert tree.find("/data/upload/1/0a1b2c3d-img1.jpg") == "photos/0a1b2c3d-img1.jpg"
    with pytest.raises(ValueError, match="there is no such image"):
        tree.find("/data/upload/1/00000000-img2.jpg")
