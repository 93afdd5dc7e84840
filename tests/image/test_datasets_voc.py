from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.voc import Voc

PHOTOS = {
    "p1": [("dog", (1, 1, 10, 10)), ("cat", (11, 5, 40, 30)), ("dog", (20, 1, 30, 9))],
    "p2": [("cat", (2, 3, 20, 20))],
    "p3": [],
}


def listed(root: Path, **values: Any) -> Listing:
    return Voc(DataConfig(dataset="voc", root=root, **values)).examples()


def write_list(root: Path, name: str, photos: list[str]) -> None:
    folder = root / "ImageSets/Main"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{photo}\n" for photo in photos))


def test_images_have_every_class_that_is_in_them(make_voc: Callable[..., Path]) -> None:
    listing = listed(make_voc(PHOTOS))
    assert listing.multilabel
    assert listing.classes == ("cat", "dog")
    assert listing.table["labels"].to_pylist() == [[0, 1], [0], []]
    assert listing.table["example"].to_pylist() == [f"JPEGImages/p{k}.jpg" for k in (1, 2, 3)]
    assert "1 photos without an object (no label)" in listing.notes


def test_crops_are_one_object_each_and_grouped_by_photo(make_voc: Callable[..., Path]) -> None:
    listing = listed(make_voc(PHOTOS), view="crops")
    assert not listing.multilabel
    assert listing.table["labels"].to_pylist() == [[1], [0], [1], [0]]
    # VOC counts pixels from 1 and includes the last; ours count from 0 and stop before it.
    assert listing.table["box"].to_pylist() == [[0, 0, 10, 10], [10, 4, 40, 30], [19, 0, 30, 9], [1, 2, 20, 20]]
    assert listing.table["group"].to_pylist() == ["JPEGImages/p1.jpg"] * 3 + ["JPEGImages/p2.jpg"]
    assert listing.table["example"][2].as_py() == "JPEGImages/p1.jpg#2"


def test_boxes_beyond_the_picture_are_clipped_and_bad_ones_named(make_voc: Callable[..., Path]) -> None:
    photos = {
        "p": [
            ("a", (0, 0, 50, 50)),
            ("a", (5, 5, 5, 5)),
            ("a", (9, 5, 3, 20)),
            ("a", (41, 1, 60, 20)),
            ("a", ("x", 1, 6, 7)),
            ("a", ("nan", 1, 6, 7)),
            ("b", (1.5, 2.25, 9.5, 10.25)),
        ]
    }
    listing = listed(make_voc(photos), view="crops", box_origin=1)
    assert listing.table["box"].to_pylist() == [[0, 0, 40, 30], [2, 4, 9, 20], [0, 1, 10, 11]]
    assert listing.table["example"].to_pylist() == [f"JPEGImages/p.jpg#{number}" for number in (0, 2, 6)]
    assert "1 boxes that reached beyond their image were clipped" in listing.notes
    assert "1 boxes whose sides are written in reverse were read as if they were not" in listing.notes
    assert [str(defect) for defect in listing.defects] == [
        "Annotations/p.xml, object 2: the box (5, 5)–(5, 5) has no area",
        "Annotations/p.xml, object 4: the box (40, 0)–(60, 20) lies outside the image of 40×30",
        "Annotations/p.xml, object 5: xmin is 'x', no number",
        "Annotations/p.xml, object 6: xmin is nan, no place in an image",
    ]
    assert listed(make_voc(photos)).defects == ()  # images need no boxes


def test_margin_widens_crops_within_the_picture(make_voc: Callable[..., Path]) -> None:
    root = make_voc({"p": [("a", (11, 11, 20, 20)), ("b", (1, 1, 10, 10))]})
    assert listed(root, view="crops", margin=0.5).table["box"].to_pylist() == [[5, 5, 25, 25], [0, 0, 15, 15]]


def test_smallest_size_of_crops_is_that_of_the_box(make_voc: Callable[..., Path]) -> None:
    root = make_voc({"p": [("a", (11, 11, 20, 20)), ("b", (1, 1, 10, 9))]})
    listing = listed(root, view="crops", min_size=10, margin=1)
    assert listing.table["example"].to_pylist() == ["JPEGImages/p.jpg#0"]
    assert "1 objects smaller than data.min_size: 10 left out" in listing.notes


def test_difficult_objects_by_the_setting(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    annotation = root / "Annotations/p1.xml"
    annotation.write_text(annotation.read_text().replace("<difficult>0", "<difficult>1", 1))
    listing = listed(root, view="crops")
    assert len(listing.table) == 3
    assert "1 objects marked as difficult left out (data.difficult)" in listing.notes
    assert len(listed(root, view="crops", difficult=True).table) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation><object>", "malformed XML"),
        ("", "malformed XML"),
        ("<html></html>", "its root is <html>, not <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "refused: EntitiesForbidden"),
    ],
)
def test_malformed_annotation_is_named_and_the_rest_used(make_voc: Callable[..., Path], text: str, reason: str) -> None:
    root = make_voc(PHOTOS)
    (root / "Annotations/p2.xml").write_text(text)
    listing = listed(root)
    assert len(listing.table) == 2
    (defect,) = listing.defects
    assert defect.name == "Annotations/p2.xml"
    assert reason in defect.reason


def test_parts_of_objects_are_no_objects(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    annotation = root / "Annotations/p2.xml"
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>"
    annotation.write_text(annotation.read_text().replace("</object>", f"{part}</object>"))
    assert listed(root, view="crops").classes == ("cat", "dog")


def test_picture_size_that_is_not_written_is_no_obstacle(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    for path in (root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<width>40</width>", "<width>0</width>"))
    assert len(listed(root, view="crops").table) == 4


def test_missing_pictures_and_other_suffixes(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    (root / "JPEGImages/p1.jpg").rename(root / "JPEGImages/p1.JPEG")
    (root / "JPEGImages/p2.jpg").unlink()
    listing = listed(root)
    assert listing.table["example"].to_pylist() == ["JPEGImages/p1.JPEG", "JPEGImages/p3.jpg"]
    assert [str(defect) for defect in listing.defects] == ["Annotations/p2.xml: the image is missing"]


def test_lists_say_which_photos_count(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    write_list(root, "trainval", ["p1", "p2", "gone"])
    write_list(root, "dog_train", ["p3  1"])  # VOC's lists a class are no lists of photos
    listing = listed(root)
    assert listing.table["example"].to_pylist() == ["JPEGImages/p1.jpg", "JPEGImages/p2.jpg"]
    assert "1 annotations that no list of ImageSets/Main names were passed over" in listing.notes
    assert [str(each) for each in listing.defects] == [
        "gone: listed in ImageSets/Main, but there is neither an image nor an annotation of this name"
    ]


def test_given_splits_when_asked_for(make_voc: Callable[..., Path]) -> None:
    root = make_voc(PHOTOS)
    with pytest.raises(DataError, match=r"split\.given: no train\.txt"):
        listed(root, split={"given": True})
    write_list(root, "train", ["p1"])
    write_list(root, "val", ["p2"])
    write_list(root, "trainval", ["p1", "p2", "p3"])
    assert listed(root).table["split"].null_count == 3
    assert listed(root, split={"given": True}).table["split"].to_pylist() == ["train", "val", None]


@pytest.mark.parametrize(
    ("place", "root"),
    [
        ("VOC2012", "VOC2012"),
        ("VOCdevkit/VOC2012", "."),
        ("VOCdevkit/VOC2012", "VOCdevkit"),
        ("VOCdevkit/VOC2009", "."),
        ("TrainVal/VOCdevkit/VOC2011", "TrainVal/VOCdevkit/VOC2011"),
    ],
)
def test_folder_is_found_from_its_parents(make_voc: Callable[..., Path], tmp_path: Path, place: str, root: str) -> None:
    make_voc(PHOTOS, root=tmp_path / "sets" / place)
    assert len(listed(tmp_path / "sets" / root).table) == 3


def test_year_must_be_chosen_among_several(make_voc: Callable[..., Path], tmp_path: Path) -> None:
    make_voc(PHOTOS, root=tmp_path / "VOCdevkit/VOC2008")
    make_voc({"q": PHOTOS["p1"]}, root=tmp_path / "VOCdevkit/VOC2009")
    with pytest.raises(DataError, match=r"holds VOC 2008, 2009, not 2012: choose with data\.year"):
        listed(tmp_path)
    assert len(listed(tmp_path, year="2009").table) == 1


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path / "VOCdevkit/VOC2012")
    text = str(caught.value)
    assert f"{tmp_path}/VOCdevkit/VOC2012  (does not exist)" in text
    assert "--set data.download=true" in text
    assert "VOCtrainval_11-May-2012.tar" in text
    assert f"unpack it in {tmp_path}, so that" in text
    assert f"{tmp_path}/VOCdevkit/VOC2012/Annotations/*.xml" in text
    assert "--set data.root=FOLDER" in text


def test_folder_without_a_usable_annotation(make_voc: Callable[..., Path]) -> None:
    root = make_voc({"p": [("", (1, 1, 5, 5))]})
    with pytest.raises(DataError, match=r"no usable annotated image(?s:.*)object 1: it has no name"):
        listed(root)
