"""What is particular to one format of annotated objects."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.image import annotated_sets as sets
from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets import dataset_class
from trainables.image.datasets.base import Listing
from trainables.image.datasets.recognition import recognise
from trainables.image.pixels.decode import decode
from trainables.image.pixels.pictures import iter_regions


def listed(dataset: str, root: Path, **values: Any) -> Listing:
    return dataset_class(dataset)(DataConfig(dataset=dataset, root=root, **values)).examples()


def boxes(listing: Listing) -> list[list[int]]:
    return [row["box"] for row in listing.table.to_pylist()]


def picture(path: Path, size: tuple[int, int] = sets.SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 90)).save(path)


def coco_file(root: Path, *annotations: dict[str, Any], **more: Any) -> Path:
    picture(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 3, **annotation} for annotation in annotations],
        **more,
    }
    (root / "labels.json").write_text(json.dumps(content))
    return root


# COCO


def test_coco_masks_cut_objects_out(tmp_path: Path) -> None:
    """A triangle, and a column of pixels as run lengths: what is outside of them is painted over."""
    counts = [30 * 5, 30 * 2, 30 * 33]  # the columns 5 and 6
    root = coco_file(
        tmp_path,
        {"bbox": [0, 0, 20, 20], "segmentation": [[0, 0, 20, 0, 0, 20]]},
        {"category_id": 4, "segmentation": {"counts": counts, "size": [30, 40]}},
    )
    listing = listed("coco", root, view="foreground", background="black")
    assert boxes(listing) == [[0, 0, 20, 20], [5, 0, 7, 30]]
    triangle, column = (
        decode(root / "a.png", box=region.box, mask=region.mask) for region in iter_regions(listing.table)
    )
    assert triangle[2, 2].tolist() == [10, 200, 90]
    assert triangle[18, 18].tolist() == [0, 0, 0]
    assert 150 < (triangle[..., 1] > 0).sum() < 230  # half of 20×20
    assert (column == (10, 200, 90)).all()


def test_coco_classes_of_a_picture_are_one_example_each(tmp_path: Path) -> None:
    root = coco_file(
        tmp_path,
        {"bbox": [0, 0, 10, 10], "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]]},
        {"bbox": [20, 5, 10, 10], "segmentation": [[20, 5, 30, 5, 30, 15, 20, 15]]},
        {"category_id": 4, "bbox": [0, 0, 9, 9]},
    )
    listing = listed("coco", root, view="foreground", mask="class")
    assert listing.table["example"].to_pylist() == ["a.png#cat"]
    assert boxes(listing) == [[0, 0, 30, 15]]
    (region,) = iter_regions(listing.table)
    pixels = decode(root / "a.png", box=region.box, mask=region.mask)
    assert (pixels[:, :, 1] == 200).sum() == 200
    assert "1 objects without an outline left out (view foreground)" in listing.notes


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "bbox has 3 numbers, not 4"),
        ({"bbox": [1, 2, 0, 5], "segmentation": [[0, 0, 9, 0, 9, 9]]}, "has no area"),
        ({"bbox": [50, 2, 5, 5], "segmentation": [[50, 2, 55, 2, 55, 7]]}, "lies outside the image of 40×30"),
        ({"bbox": ["x", 2, 5, 5]}, "bbox is 'x', no number"),
        ({"bbox": [1, 2, 5, 5], "segmentation": [[1, 2, 3, 4]]}, "a polygon of 4 numbers"),
        ({"bbox": [1, 2, 5, 5], "segmentation": {"counts": [5], "size": [30, 40]}}, "add up to 5, not to 40×30"),
        ({"bbox": [1, 2, 5, 5], "segmentation": {"counts": "1é", "size": [30, 40]}}, "is damaged"),
        ({"bbox": [1, 2, 5, 5], "segmentation": {"counts": "Z1", "size": [30, 40]}}, "is damaged"),
        ({"bbox": [1, 2, 5, 5], "segmentation": {"counts": [6], "size": [2, 3]}}, "its mask is 3×2"),
        ({"category_id": 9, "bbox": [1, 2, 5, 5]}, "category_id 9 is not among the categories"),
    ],
)
def test_coco_objects_that_cannot_be_used_are_named(tmp_path: Path, annotation: dict[str, Any], reason: str) -> None:
    good = {"bbox": [0, 0, 20, 20], "segmentation": [[0, 0, 20, 0, 0, 20]], "category_id": 4}
    listing = listed("coco", coco_file(tmp_path, good, annotation), view="foreground")
    assert boxes(listing) == [[0, 0, 20, 20]]
    (defect,) = listing.defects
    assert defect.name == "labels.json, a.png, object 2"
    assert reason in defect.reason


def test_coco_crowds_count_for_the_picture_only(tmp_path: Path) -> None:
    root = coco_file(tmp_path, {"bbox": [0, 0, 20, 20], "iscrowd": 1}, {"category_id": 4, "bbox": [3, 3, 9, 9]})
    assert listed("coco", root).table["labels"].to_pylist() == [[0, 1]]
    crops = listed("coco", root, view="crops")
    assert crops.classes == ("dog",)
    assert "1 regions that stand for many objects at once (crowds) left out" in crops.notes


def test_coco_annotations_without_a_box_label_the_picture(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(4)]
    annotations = [{"image_id": number, "category_id": 3 + number % 2} for number in range(3)]
    listing = listed("coco", coco_file(tmp_path, images=images, annotations=annotations))
    assert not listing.multilabel
    assert listing.table["labels"].to_pylist() == [[0], [1], [0]]
    assert "1 photos without a label left out" in listing.notes


def test_coco_instances_come_before_the_other_files_of_the_data(tmp_path: Path) -> None:
    sets.coco(tmp_path)
    text = (tmp_path / "annotations/instances_train2017.json").read_text()
    (tmp_path / "annotations/stuff_train2017.json").write_text(text.replace('"cat"', '"sky"'))
    listing = listed("coco", tmp_path)
    assert listing.classes == sets.CLASSES
    assert any("stuff_train2017.json" in note and "passed over" in note for note in listing.notes)
    chosen = listed("coco", tmp_path, annotations="annotations/stuff_train2017.json")
    assert chosen.classes == ("sky", "traffic light")


def test_coco_pictures_of_one_name_are_those_of_their_split(tmp_path: Path) -> None:
    for split, label in (("train", 3), ("val", 4)):
        picture(tmp_path / f"{split}2017/1.png")
        content = {
            "images": [{"id": 1, "file_name": "1.png"}],
            "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
            "annotations": [{"image_id": 1, "category_id": label, "bbox": [1, 1, 5, 5]}],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    rows = listed("coco", tmp_path).table.to_pylist()
    assert [(row["example"], row["labels"], row["split"]) for row in rows] == [
        ("train2017/1.png", [0], "train"),
        ("val2017/1.png", [1], "val"),
    ]


def test_coco_pictures_that_no_file_lists_are_counted(tmp_path: Path) -> None:
    root = coco_file(tmp_path, {"bbox": [0, 0, 20, 20]}, {"category_id": 4, "bbox": [3, 3, 9, 9]})
    picture(root / "test/b.png")
    assert "1 images that no annotation names were passed over" in listed("coco", root).notes


# YOLO


def yolo_file(root: Path, text: str, folder: str = "") -> Path:
    picture(root / folder / "a.png")
    (root / folder / "a.txt").write_text(text)
    return root


def test_yolo_outlines_and_confidences_and_key_points(tmp_path: Path) -> None:
    root = yolo_file(tmp_path, "0 0.5 0.5 0.5 0.2 0.93\n1 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    assert boxes(listed("yolo", root, view="crops")) == [[10, 12, 30, 18], [10, 6, 30, 24]]
    assert boxes(listed("yolo", root, view="foreground")) == [[10, 6, 30, 24]]
    (root / "a.txt").write_text("0 0.5 0.5 0.5 0.2 0.1 0.1 0.2 0.2\n")
    (root / "data.yaml").write_text("names: [cat]\nkpt_shape: [2, 2]\n")
    assert boxes(listed("yolo", root, view="crops")) == [[10, 12, 30, 18]]


def test_yolo_lines_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    root = yolo_file(tmp_path, "0 0.5 0.5 0.5 0.2\ncat 0.5 0.5 0.5 0.2\n7 0.5 0.5 0.5 0.2\n0 200 100 50 20\n")
    (root / "obj.names").write_text("cat\n")
    (root / "b.txt").write_text("0 0.5 0.5 0.5 0.2\n")
    reasons = {defect.name: defect.reason for defect in listed("yolo", root, view="crops").defects}
    assert "'cat 0.5 0.5 0.5 0.2' is no class and no box" in reasons["a.txt, line 2"]
    assert "class 7 has no name" in reasons["a.txt, line 3"]
    assert "pixels, not fractions" in reasons["a.txt, object 4"]
    assert reasons["b.txt"] == "there is no image for it"


def test_yolo_without_names_has_numbers(tmp_path: Path) -> None:
    listing = listed("yolo", yolo_file(tmp_path, "0 0.5 0.5 0.5 0.2\n3 0.5 0.5 0.1 0.2\n"))
    assert listing.classes == ("0", "3")
    assert any("their numbers are their names" in note for note in listing.notes)


def test_yolo_paths_of_another_machine(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        yolo_file(tmp_path, "0 0.5 0.5 0.5 0.2\n", f"{split}/images")
        (tmp_path / f"{split}/labels").mkdir()
        (tmp_path / f"{split}/images/a.txt").rename(tmp_path / f"{split}/labels/a.txt")
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: /home/me/set/valid/images\ntest: ../test/images\nnames: {0: cat}\n"
    )
    listing = listed("yolo", tmp_path)
    assert listing.table["split"].to_pylist() == ["train", "val"]
    assert any("'../test/images' (test) does not exist" in note for note in listing.notes)


def test_yolo_darknet_lists(tmp_path: Path) -> None:
    for name in ("a", "b c", "d"):
        picture(tmp_path / f"obj_train_data/{name}.jpg")
        (tmp_path / f"obj_train_data/{name}.txt").write_text("0 0.5 0.5 0.5 0.2\n")
    (tmp_path / "obj.names").write_text("cat\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\ndata/obj_train_data/gone.jpg\n")
    (tmp_path / "valid.txt").write_text("data/obj_train_data/b c.jpg\n")
    listing = listed("yolo", tmp_path)
    assert listing.table["split"].to_pylist() == ["train", "val"]
    assert "1 images that no list names were passed over" in listing.notes
    assert [defect.name for defect in listing.defects] == ["data/obj_train_data/gone.jpg"]


def test_yolo_without_any_object(tmp_path: Path) -> None:
    root = yolo_file(tmp_path, "")
    (root / "data.yaml").write_text("names: [cat]\n")
    assert recognise(root).dataset == "yolo"
    with pytest.raises(DataError, match=r"no usable annotated image(?s:.*)1 images with 0 objects"):
        listed("yolo", root)


# labelme, CVAT


def test_labelme_shapes(tmp_path: Path) -> None:
    sets.labelme(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 4), 255, dtype=np.uint8)).save(buffer, "PNG")
    shapes = [
        {"label": "disc", "points": [[20, 15], [20, 20]], "shape_type": "circle"},
        {
            "label": "mask",
            "points": [[5, 6], [8, 11]],
            "shape_type": "mask",
            "mask": base64.b64encode(buffer.getvalue()).decode(),
        },
        {"label": "ring", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"},
        {"label": "point", "points": [[3, 3]], "shape_type": "point"},
        {"label": "odd", "points": [[3, 3]], "shape_type": "polygon"},
        {"label": "new", "points": [], "shape_type": "spline"},
    ]
    content = {"shapes": shapes, "imagePath": "..\\x\\a.jpg", "imageHeight": 30, "imageWidth": 40}
    (tmp_path / "train/a.json").write_text(json.dumps(content))
    listing = listed("labelme", tmp_path, view="foreground")
    assert boxes(listing) == [[15, 10, 25, 20], [5, 6, 9, 12], [1, 1, 9, 9]]
    assert {defect.reason for defect in listing.defects} == {
        "a polygon of 1 points: three or more are an area",
        "shape_type 'spline' is not known",
    }
    crops = listed("labelme", tmp_path, view="crops")
    assert "1 objects without an extent (points, lines) left out" in crops.notes


def test_labelme_flags_are_classes_where_nothing_is_drawn(tmp_path: Path) -> None:
    for name, flag in (("a", "cat"), ("b", "dog"), ("c", "")):
        picture(tmp_path / f"{name}.jpg")
        flags = {"cat": flag == "cat", "dog": flag == "dog"}
        (tmp_path / f"{name}.json").write_text(json.dumps({"flags": flags, "shapes": [], "imagePath": f"{name}.jpg"}))
    listing = listed("labelme", tmp_path)
    assert not listing.multilabel
    assert listing.table["labels"].to_pylist() == [[0], [1]]


def test_cvat_tags_masks_and_turned_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "annotations.xml").write_text(
        '<annotations><image id="0" name="a.jpg" width="40" height="30"><tag label="indoor"/>'
        '<box label="flat" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90"/>'
        '<mask label="mask" rle="2, 1, 3" left="4" top="5" width="3" height="2"/>'
        '<ellipse label="disc" cx="20" cy="15" rx="8" ry="4"/><points label="spot" points="1,1"/></image></annotations>'
    )
    listing = listed("cvat", tmp_path, view="foreground")
    assert boxes(listing) == [[13, 7, 17, 17], [4, 5, 7, 7], [12, 11, 28, 19]]
    (_, mask, _) = iter_regions(listing.table)
    pixels = decode(tmp_path / "images/a.jpg", box=mask.box, mask=mask.mask)
    assert (pixels[0, 2] != pixels[0, 0]).any()
    assert (pixels[1] == pixels[0, 0]).all()  # the background
    assert listed("cvat", tmp_path).classes == ("disc", "flat", "mask", "spot")


def test_cvat_for_video_is_refused_by_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="cat"/></annotations>')
    with pytest.raises(DataError, match="CVAT for video"):
        listed("cvat", tmp_path)


# FiftyOne, Label Studio, Datumaro


def test_fiftyone_labels_by_number_and_fields_by_name(tmp_path: Path) -> None:
    for name in ("a", "b v1.2"):
        picture(tmp_path / f"data/{name}.jpg")
    labels = {"a": [{"label": 1, "bounding_box": [0.25, 0.2, 0.5, 0.4]}], "b v1.2": []}
    (tmp_path / "labels.json").write_text(json.dumps({"classes": ["cat", "dog"], "labels": labels}))
    listing = listed("fiftyone", tmp_path, view="crops")
    assert listing.classes == ("dog",)
    assert boxes(listing) == [[10, 6, 30, 18]]
    assert "1 named classes have no example: 'cat'" in listing.notes

    sets.fiftyone(tmp_path / "two")
    path = tmp_path / "two/samples.json"
    content = json.loads(path.read_text())
    for sample in content["samples"]:
        sample["other"] = {"_cls": "Detections", "detections": []}
        sample["kind"] = {"_cls": "Classification", "label": "cat" if "a.jpg" in sample["filepath"] else "dog"}
    path.write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"several fields could be meant: found, other; choose one with data\.label_column"
    ):
        listed("fiftyone", tmp_path / "two")
    assert listed("fiftyone", tmp_path / "two", label_column="kind").classes == ("cat", "dog")
    assert listed("fiftyone", tmp_path / "two", label_column="found").classes == sets.CLASSES
    with pytest.raises(DataError, match="no field 'knid' of labels"):
        listed("fiftyone", tmp_path / "two", label_column="knid")


def test_label_studio_csv_with_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "upload/1/0a1b2c3d-a.jpg")
    cell = json.dumps(
        [
            {
                "x": 25.0,
                "y": 20.0,
                "width": 50.0,
                "height": 40.0,
                "rotation": 90,
                "rectanglelabels": ["cat"],
                "original_width": 40,
                "original_height": 30,
            }
        ]
    ).replace('"', '""')
    (tmp_path / "result.csv").write_text(
        f'"annotation_id","id","image","label","lead_time"\n1,1,"/data/upload/1/0a1b2c3d-a.jpg","{cell}",3.5\n'
    )
    assert recognise(tmp_path).dataset == "label_studio"
    # 20×12 pixels at (10, 6), turned by a quarter about that corner.
    assert boxes(listed("label_studio", tmp_path, view="crops")) == [[0, 6, 10, 26]]


def test_label_studio_choices_of_several_annotators(tmp_path: Path) -> None:
    tasks = []
    for name, choices in (("a", ["cat"]), ("b", ["dog", "cat"]), ("c", [])):
        picture(tmp_path / f"{name}.jpg")
        results = [[{"type": "choices", "value": {"choices": [choice]}}] for choice in choices]
        annotations = [{"result": result} for result in results]
        tasks.append({"data": {"image": f"s3://bucket/{name}.jpg"}, "annotations": annotations})
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    listing = listed("label_studio", tmp_path)
    assert listing.table["labels"].to_pylist() == [[0], [1]]
    assert "1 annotations of an image that another annotator has done were left out" in listing.notes


def test_datumaro_labels_and_difficult_objects(tmp_path: Path) -> None:
    sets.datumaro(tmp_path)
    path = tmp_path / "annotations/train.json"
    path.write_text(path.read_text().replace('"difficult": false', '"difficult": true', 1))
    assert len(listed("datumaro", tmp_path, view="crops").table) == 3
    assert len(listed("datumaro", tmp_path, view="crops", difficult=True).table) == 4
    text = path.read_text().replace('"type": "bbox"', '"type": "label"')
    path.write_text(text)
    (tmp_path / "annotations/val.json").unlink()
    listing = listed("datumaro", tmp_path)
    assert listing.multilabel  # a has two labels
    assert listing.table["labels"].to_pylist() == [[0, 1], [1], []]


# What is known and not read


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("KITTI", {"labels/a.txt": "traffic light 0.0 0 -1 0.0 0.0 20.0 40.0 -1 -1 -1 -1 -1 -1 -1 1.0\n"}),
        (
            "KITTI",
            {"training/label_2/a.txt": "Car 0.00 0 -1.58 587.0 173.3 614.1 200.1 1.6 1.7 3.7 -0.6 1.7 46.7 -1.59"},
        ),
        ("DOTA", {"train/labelTxt/a.txt": ""}),
        ("DOTA", {"labels/a.txt": "imagesource:x\ngsd:0.1\n1.0 2.0 3.0 2.0 3.0 5.0 1.0 5.0 large-vehicle 0\n"}),
        ("MOT", {"gt/gt.txt": "1,-1,10.0,8.0,20.0,20.0,1,1,1.0\n"}),
        (
            "WIDER FACE",
            {"wider_face_split/wider_face_train_bbx_gt.txt": "0--Parade/a.jpg\n1\n449 330 122 149 0 0 0 0 0 0\n"},
        ),
        ("ICDAR", {"images/gt_a.txt": '0, 0, 20, 40, "text"\n'}),
        (
            "VGG Image Annotator",
            {"via.json": '{"a.jpg1": {"regions": [{"shape_attributes": {}, "region_attributes": {}}]}}'},
        ),
        ("Supervisely", {"ann/a.jpg.json": '{"objects": [{"classTitle": "cat", "points": {}}]}'}),
    ],
)
def test_known_formats_are_refused_by_their_name(tmp_path: Path, name: str, files: dict[str, str]) -> None:
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images2/b.jpg")
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with pytest.raises(DataError, match=rf"{name}(?s:.*)is not read"):
        recognise(tmp_path)
    with pytest.raises(DataError, match=rf"{name}(?s:.*)is not read"):
        listed("image_folder", tmp_path)


# Values of another kind than they should be


@pytest.mark.parametrize("value", [7, True, "x", {"a": 1}, [7], [[]]])
@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("coco", ["annotations"]),
        ("coco", ["annotations", 0]),
        ("coco", ["annotations", 0, "segmentation"]),
        ("coco", ["annotations", 0, "bbox"]),
        ("coco", ["images", 0, "file_name"]),
        ("labelme", ["shapes", 0]),
        ("labelme", ["shapes", 0, "points"]),
        ("labelme", ["imagePath"]),
        ("fiftyone", ["samples", 0]),
        ("fiftyone", ["samples", 0, "tags"]),
        ("fiftyone", ["samples", 0, "found", "detections"]),
        ("label_studio", [0, "annotations"]),
        ("label_studio", [0, "annotations", 0, "result"]),
        ("label_studio", [0, "annotations", 0, "result", 0, "value", "rectanglelabels"]),
        ("datumaro", ["items", 0, "annotations"]),
        ("datumaro", ["items", 0, "annotations", 0, "attributes"]),
        ("datumaro", ["items", 0, "image"]),
        ("datumaro", ["items", 0, "image", "path"]),
        ("createml", [0, "annotations"]),
        ("createml", [0, "annotations", 0, "coordinates"]),
    ],
)
def test_values_of_another_kind_never_end_in_a_traceback(
    tmp_path: Path, form: str, path: list[int | str], value: object
) -> None:
    dataset, write, file = sets.FORMATS[form]
    write(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / file).write_text(json.dumps(content))
    listing = listed(dataset, tmp_path, view="crops")
    assert len(listing.table) > 0  # the others are read
    assert len(listing.table) == 4 or listing.defects or listing.notes  # nothing is lost without a word
