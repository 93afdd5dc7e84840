"""VOC's XML in the folders, encodings and numbers that tools really write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.recognition import recognise
from trainables.image.datasets.voc import Voc

Objects = list[tuple[str, tuple[float, float, float, float]]]
CAT: Objects = [("cat", (11, 9, 30, 20))]
DOG: Objects = [("dog", (5, 5, 20, 25))]


def picture(path: Path, size: tuple[int, int] = (40, 30), orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (90, 120, 40)).save(path, exif=exif)


def annotation(
    path: Path,
    objects: Objects,
    size: tuple[int, int] | None = (40, 30),
    *,
    file: str = "",
    head: str = "",
    more: str = "",
    attribute: str = "",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = "".join(
        f"<object><name>{name}</name>{more}<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    named = f"<filename>{file}</filename>" if file else ""
    path.write_text(f"<annotation{attribute}>{named}{head}{shape}{parts}</annotation>")


def voc(root: Path, **objects: Objects) -> Path:
    for name, marked in objects.items():
        picture(root / f"JPEGImages/{name}.jpg")
        annotation(root / f"Annotations/{name}.xml", marked)
    return root


def listed(root: Path, **values: Any) -> Listing:
    return Voc(DataConfig(dataset="voc", root=root, **values)).examples()


def boxes(listing: Listing) -> dict[str, list[int]]:
    return dict(zip(listing.table["example"].to_pylist(), listing.table["box"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("pictures", "annotations"),
    [
        (".", "."),  # LabelImg
        ("images", "annotations"),  # Kaggle
        ("data", "labels"),  # FiftyOne
        ("fotos", "kasten"),
    ],
)
def test_any_two_folders(tmp_path: Path, pictures: str, annotations: str) -> None:
    for name, objects in (("a", CAT), ("b b", DOG)):
        picture(tmp_path / pictures / f"{name}.jpg")
        annotation(tmp_path / annotations / f"{name}.XML", objects)
    assert recognise(tmp_path).dataset == "voc"
    listing = listed(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert listing.table["labels"].to_pylist() == [[0], [1]]


def test_folders_by_setting(tmp_path: Path) -> None:
    picture(tmp_path / "small/a.jpg", (20, 15))
    picture(tmp_path / "large/a.jpg", (40, 30))
    annotation(tmp_path / "old/a.xml", DOG)
    annotation(tmp_path / "new/a.xml", CAT)
    listing = listed(tmp_path, images="large", annotations="new", view="crops")
    assert boxes(listing) == {"large/a.jpg#0": [10, 8, 30, 20]}
    with pytest.raises(DataError, match=r"data\.annotations: there is no folder olt"):
        listed(tmp_path, annotations="olt")
    (defect,) = listed(tmp_path, images="large").defects
    assert "annotated in" in defect.reason


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    for place, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        picture(tmp_path / place / "x_jpg.rf.1.jpg")
        annotation(tmp_path / place / "x_jpg.rf.1.xml", CAT if split == "train" else DOG)
    assert listed(tmp_path).table["split"].to_pylist() == ["test", "train", "val"]
    pooled = listed(tmp_path, split={"given": False})
    assert pooled.table["split"].null_count == 3
    assert "test, train, val: pooled, and divided again (data.split.given)" in pooled.notes


def test_nested_folders_correspond(tmp_path: Path) -> None:
    for camera, objects in (("cam1", CAT), ("cam2", DOG)):
        picture(tmp_path / f"JPEGImages/{camera}/f0.jpg")
        annotation(tmp_path / f"Annotations/{camera}/f0.xml", objects, file="f0.jpg")
    listing = listed(tmp_path)
    assert listing.table["example"].to_pylist() == ["JPEGImages/cam1/f0.jpg", "JPEGImages/cam2/f0.jpg"]
    assert listing.table["labels"].to_pylist() == [[0], [1]]


def test_filename_decides_where_the_name_does_not(tmp_path: Path) -> None:
    root = voc(tmp_path, a=CAT)
    Image.new("L", (40, 30)).save(root / "JPEGImages/a.png")
    picture(root / "JPEGImages/IMG_7.jpg")
    annotation(root / "Annotations/a.xml", CAT, file="a.jpg")
    annotation(root / "Annotations/7.xml", DOG, file="C:\\photos\\IMG_7.jpg")
    listing = listed(root)
    assert listing.table["example"].to_pylist() == ["JPEGImages/IMG_7.jpg", "JPEGImages/a.jpg"]
    assert "1 images that share the name of an annotated one were passed over" in listing.notes
    annotation(root / "Annotations/a.xml", CAT)
    (defect,) = listed(root).defects
    assert "several images could be meant" in defect.reason


def test_names_with_blanks_and_suffixes_and_columns_in_lists(tmp_path: Path) -> None:
    root = voc(tmp_path, **{"img (1)": CAT, "img": DOG, "c.v2": CAT, "d": DOG, "e": CAT})
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "Train.txt").write_text("img (1)\r\nimg\nc.v2.jpg\n")
    (lists / "Validation.txt").write_text("JPEGImages/d.jpg Annotations/d.xml\n")
    (lists / "test.txt").write_text("e 1\nimg (2)\n")
    listing = listed(root, split={"given": True})
    assert dict(zip(listing.table["example"].to_pylist(), listing.table["split"].to_pylist(), strict=True)) == {
        "JPEGImages/img (1).jpg": "train",
        "JPEGImages/img.jpg": "train",
        "JPEGImages/c.v2.jpg": "train",
        "JPEGImages/d.jpg": "val",
        "JPEGImages/e.jpg": "test",
    }
    assert [defect.name for defect in listing.defects] == ["img (2)"]
    (note,) = (note for note in listed(root).notes if "not kept" in note)
    assert "Train.txt (3), Validation.txt (1), test.txt (2)" in note


def test_list_of_any_name_counts_but_is_no_split(tmp_path: Path) -> None:
    root = voc(tmp_path, a=CAT, b=DOG)
    picture(root / "JPEGImages/neg.jpg")
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/default.txt").write_text("a\nneg\n")
    listing = listed(root)
    assert listing.table["example"].to_pylist() == ["JPEGImages/a.jpg", "JPEGImages/neg.jpg"]
    assert listing.table["labels"].to_pylist() == [[0], []]
    assert listing.defects == ()
    assert "1 annotations that no list of ImageSets/Main names were passed over" in listing.notes
    with pytest.raises(DataError, match=r"no train\.txt, val\.txt or test\.txt in .* \(there is default\.txt\)"):
        listed(root, split={"given": True})


def test_pictures_without_an_annotation_are_counted_and_kept(tmp_path: Path) -> None:
    root = voc(tmp_path, a=CAT, b=DOG)
    picture(root / "JPEGImages/neg.jpg")
    (root / "Annotations/b.xml").write_text("<annotation><object>")
    listing = listed(root)
    assert listing.table["example"].to_pylist() == ["JPEGImages/a.jpg", "JPEGImages/neg.jpg"]  # not b: it has one
    assert any(note.startswith("1 images have no annotation") for note in listing.notes)


def test_lists_of_classes_label_pictures_where_there_is_no_annotation(tmp_path: Path) -> None:
    for name in ("a 1", "b", "c"):
        picture(tmp_path / f"JPEGImages/{name}.jpg")
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a 1\nb\nc\n")
    (lists / "cat_train.txt").write_text("a 1  1\nb  -1\nc -1\n")
    (lists / "traffic light_train.txt").write_text("a 1 -1\nb  1\nc 1\n")
    listing = listed(tmp_path)
    assert not listing.multilabel
    assert listing.classes == ("cat", "traffic light")
    assert listing.table["labels"].to_pylist() == [[0], [1], [1]]
    with pytest.raises(DataError, match="labels of whole images are for the view images"):
        listed(tmp_path, view="crops")


@pytest.mark.parametrize(
    ("objects", "head", "origin", "why"),
    [
        ([("cat", (0, 8, 30, 20))], "", 0, "there is a 0 in Annotations/a.xml"),
        ([("cat", (11, 8, 40, 20)), ("dog", (1, 1, 9, 9))], "", 1, "one is the width"),
        ([("cat", (0, 8, 40, 20))], "", 0, "there is a 0"),
        ([("cat", (0, 0, 0, 0)), ("dog", (5, 5, 9, 9))], "", 1, "nothing in them says otherwise"),
        (CAT, "<owner><name>Label Studio</name></owner>", 0, "as the tool does"),
        (CAT, "<source><database>Unknown</database></source>", 1, "nothing in them says otherwise"),
        (CAT, "<source><database>roboflow.ai</database></source>", 1, "as the tool does"),
    ],
)
def test_origin_of_boxes(tmp_path: Path, objects: Objects, head: str, origin: int, why: str) -> None:
    root = voc(tmp_path, z=DOG)
    picture(root / "JPEGImages/a.jpg")
    annotation(root / "Annotations/a.xml", objects, head=head)
    listing = listed(root, view="crops")
    assert boxes(listing)["JPEGImages/z.jpg#0"] == [5 - origin, 5 - origin, 20, 25]
    assert any(why in note and f"count from {origin}" in note for note in listing.notes)


@pytest.mark.parametrize("setting", [0, 1, "0"])
def test_origin_by_setting(tmp_path: Path, setting: int | str) -> None:
    listing = listed(voc(tmp_path, a=DOG), view="crops", box_origin=setting)
    edge = 5 - int(setting)
    assert boxes(listing) == {"JPEGImages/a.jpg#0": [edge, edge, 20, 25]}


def test_boxes_as_fractions(tmp_path: Path) -> None:
    root = voc(tmp_path, a=[("cat", (0.25, 0.5, 0.75, 1.0))], b=[("dog", (0.5, 0.2, 1.0, 0.6))])
    listing = listed(root, view="crops")
    assert boxes(listing) == {"JPEGImages/a.jpg#0": [10, 15, 30, 30], "JPEGImages/b.jpg#0": [20, 6, 40, 18]}
    assert "all 2 boxes are fractions of their image, not pixels" in listing.notes
    annotation(root / "Annotations/b.xml", DOG)
    mixed = listed(root, view="crops")
    assert list(boxes(mixed)) == ["JPEGImages/b.jpg#0"]
    assert "is a fraction of the image" in mixed.defects[0].reason


def test_resized_pictures_have_their_boxes_scaled(tmp_path: Path) -> None:
    root = voc(tmp_path)
    picture(root / "JPEGImages/a.jpg", (20, 15))
    annotation(root / "Annotations/a.xml", [("cat", (10, 8, 30, 20))], (40, 30))
    listing = listed(root, view="crops", box_origin=0)
    assert boxes(listing) == {"JPEGImages/a.jpg#0": [5, 4, 15, 10]}
    assert any("resized after they had been annotated" in note for note in listing.notes)


def test_wrong_size_is_passed_over_where_boxes_say_so(tmp_path: Path) -> None:
    root = voc(tmp_path, a=[("cat", (10, 8, 38, 28))], b=[("dog", (3, 3, 9, 9))])
    for name in "ab":
        path = root / f"Annotations/{name}.xml"
        path.write_text(path.read_text().replace("<width>40</width><height>30", "<width>25</width><height>25"))
    listing = listed(root, view="crops", box_origin=0)
    # The first reaches beyond 25×25, so that the second, which fits both, counts in the picture, too.
    assert boxes(listing) == {"JPEGImages/a.jpg#0": [10, 8, 38, 28], "JPEGImages/b.jpg#0": [3, 3, 9, 9]}
    assert any(note.startswith("2 annotations give a wrong size") for note in listing.notes)
    (root / "Annotations/a.xml").unlink()
    with pytest.raises(DataError, match="the annotation is of an image of 25×25, but it is 40×30"):
        listed(root, view="crops", box_origin=0)
    assert len(listed(root).table) == 2  # the view images needs no box


def test_pictures_turned_by_exif(tmp_path: Path) -> None:
    """Orientation 6: what is stored as 40×30 is seen as 30×40, its left side on top."""
    root = voc(tmp_path)
    for name in ("seen", "stored"):
        picture(root / f"JPEGImages/{name}.jpg", (40, 30), orientation=6)
    annotation(root / "Annotations/seen.xml", [("cat", (10, 20, 20, 38))], (30, 40))
    annotation(root / "Annotations/stored.xml", [("dog", (0, 0, 38, 10))], (40, 30))
    assert boxes(listed(root, view="crops")) == {
        "JPEGImages/seen.jpg#0": [10, 20, 20, 38],
        "JPEGImages/stored.jpg#0": [20, 0, 30, 38],
    }


@pytest.mark.parametrize("value", ["1", "True", "yes"])
def test_difficult_and_deleted_as_tools_write_them(tmp_path: Path, value: str) -> None:
    root = voc(tmp_path, a=CAT, b=DOG)
    annotation(root / "Annotations/b.xml", DOG, more=f"<difficult>{value}</difficult>")
    assert listed(root).classes == ("cat",)
    annotation(root / "Annotations/b.xml", DOG, more=f"<deleted>{value}</deleted>")
    assert "1 objects marked as deleted left out" in listed(root, difficult=True).notes


def test_namespace(tmp_path: Path) -> None:
    root = voc(tmp_path)
    picture(root / "JPEGImages/a.jpg")
    annotation(root / "Annotations/a.xml", CAT, attribute=' xmlns="http://example.org/voc"')
    assert listed(root, view="crops").classes == ("cat",)


def test_encodings(tmp_path: Path) -> None:
    root = voc(tmp_path, a=CAT)
    text = "<annotation><object><name>猫</name></object></annotation>"
    for name, content in {
        "declared": b'<?xml version="1.0" encoding="GB2312"?>' + text.encode("gb2312"),
        "marked": text.encode("utf-16"),
        "unknown": b'<?xml version="1.0" encoding="klingon"?>' + text.encode(),
        "undeclared": text.replace("猫", "狗").encode("gbk"),
        "lucky": text.encode("gbk"),  # these two bytes are a letter of UTF-8, too
    }.items():
        picture(root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_bytes(content)
    listing = listed(root)
    assert listing.classes == ("cat", "猫")
    assert {defect.name: defect.reason for defect in listing.defects}.keys() == {
        "Annotations/unknown.xml",
        "Annotations/undeclared.xml",
        "Annotations/lucky.xml",
    }


def test_other_layouts_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"no annotations in VOC's form(?s:.*)dataset: yolo"):
        listed(tmp_path)


def test_masks_alone_say_what_is_in_a_picture(tmp_path: Path) -> None:
    """What labelme2voc writes for instances: no XML."""
    for name, value in (("a", 1), ("b", 2)):
        picture(tmp_path / f"JPEGImages/{name}.jpg")
        for kind in ("SegmentationObject", "SegmentationClass"):
            (tmp_path / kind).mkdir(exist_ok=True)
            mask = Image.new("P", (40, 30))
            mask.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
            mask.paste(1 if kind == "SegmentationObject" else value, (5, 6, 15, 26))
            mask.save(tmp_path / kind / f"{name}.png")
    (tmp_path / "class_names.txt").write_text("_background_\ncat\ntraffic light\n")
    assert recognise(tmp_path).dataset == "voc"
    assert listed(tmp_path).table["labels"].to_pylist() == [[0], [1]]
    assert boxes(listed(tmp_path, view="crops")) == {
        "JPEGImages/a.jpg#object-1": [5, 6, 15, 26],
        "JPEGImages/b.jpg#object-1": [5, 6, 15, 26],
    }
