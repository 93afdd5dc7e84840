"""Every format of annotated objects gives the same pictures, objects and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.image.annotated_sets import BOXES, CLASSES, FORMATS
from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets import dataset_class
from trainables.image.datasets.base import Listing
from trainables.image.datasets.recognition import recognise

ALL = pytest.mark.parametrize("form", FORMATS)


def written(form: str, root: Path) -> Path:
    FORMATS[form][1](root)
    return root


def listed(form: str, root: Path, **values: Any) -> Listing:
    dataset = FORMATS[form][0]
    return dataset_class(dataset)(DataConfig(dataset=dataset, root=root, **values)).examples()


def short(name: str) -> str:
    """`images/train/a.jpg#0` as `train/a`."""
    return "/".join(name.partition("#")[0].removesuffix(".jpg").split("/")[-2:])


@ALL
def test_recognised_and_read_without_a_word_of_it(form: str, tmp_path: Path) -> None:
    found = recognise(written(form, tmp_path))
    assert found.dataset == FORMATS[form][0]
    assert DataConfig(root=tmp_path).dataset == FORMATS[form][0]


@ALL
def test_pictures_have_the_classes_of_their_objects(form: str, tmp_path: Path) -> None:
    listing = listed(form, written(form, tmp_path))
    assert listing.multilabel
    assert listing.classes == CLASSES
    labels = zip(map(short, listing.table["example"].to_pylist()), listing.table["labels"].to_pylist(), strict=True)
    assert dict(labels) == {name: sorted({label for label, _ in boxes}) for name, boxes in BOXES.items()}
    assert listing.defects == ()
    assert "1 photos without an object (no label)" in listing.notes


@ALL
def test_crops_are_the_boxes(form: str, tmp_path: Path) -> None:
    listing = listed(form, written(form, tmp_path), view="crops")
    rows = listing.table.to_pylist()
    assert {(short(row["example"]), row["labels"][0], tuple(row["box"])) for row in rows} == {
        (name, label, box) for name, boxes in BOXES.items() for label, box in boxes
    }
    assert {row["group"] for row in rows} == {row["example"].partition("#")[0] for row in rows}


@ALL
def test_splits_are_kept_or_pooled(form: str, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    splits = listed(form, root).table
    kept = dict(zip(map(short, splits["example"].to_pylist()), splits["split"].to_pylist(), strict=True))
    assert kept == {name: name.partition("/")[0] for name in BOXES}
    pooled = listed(form, root, split={"given": False})
    assert pooled.table["split"].null_count == len(BOXES)


@ALL
@pytest.mark.parametrize("content", [b"", b"{", b'{"images": 1}', b"[1, 2]", b"<annotation", b"\xff\xfe\x00"])
def test_damaged_annotation_is_named(form: str, content: bytes, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    file = FORMATS[form][2]
    (root / file).write_bytes(content)
    if form == "yolo" and content == b"":
        return  # an empty label file is a picture without an object
    try:
        listing = listed(form, root)
    except DataError as error:
        told = [str(error)]
    else:
        told = [*map(str, listing.defects), *listing.notes]
        kept = set(map(short, listing.table["example"].to_pylist()))
        # A line of YOLO's that cannot be read is a defect of its own; a picture with a damaged file is left out.
        assert form == "yolo" or short(f"{file.rpartition('.')[0]}.jpg") not in kept
    assert any(file in each or "no annotation of" in each for each in told)


@ALL
def test_pictures_that_are_missing_are_named(form: str, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    (gone,) = root.rglob("train/a.jpg")
    gone.unlink()
    listing = listed(form, root)
    assert "train/a" not in map(short, listing.table["example"].to_pylist())
    assert any("a" in Path(defect.name).stem for defect in listing.defects)


@ALL
def test_annotations_without_any_picture(form: str, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    for path in root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"none of them is in|but no image in") as caught:
        listed(form, root)
    assert "choose as data.root a folder that holds both" in str(caught.value)


@ALL
def test_foreground_needs_outlines(form: str, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    if form == "coco":
        listing = listed(form, root, view="foreground")
        assert all(mask["rle"]["width"] == 40 for mask in listing.table["mask"].to_pylist())
        return
    with pytest.raises(DataError, match="objects without an outline left out"):
        listed(form, root, view="foreground")


@ALL
def test_other_dataset_asked_for_says_what_is_there(form: str, tmp_path: Path) -> None:
    root = written(form, tmp_path)
    other = "coco" if form != "coco" else "yolo"
    with pytest.raises(DataError, match=rf"There is, however:(?s:.*)dataset: {FORMATS[form][0]}"):
        dataset_class(other)(DataConfig(dataset=other, root=root)).examples()
    with pytest.raises(ValueError, match="does not use box_origin"):
        DataConfig(dataset=FORMATS[form][0], root=root, box_origin=1)
