"""One small set of pictures and boxes, as each annotation format writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (40, 30)
CLASSES = ("cat", "traffic light")
BOXES: dict[str, list[tuple[int, tuple[int, int, int, int]]]] = {
    "train/a": [(0, (0, 0, 20, 10)), (1, (10, 5, 40, 30))],
    "train/b x": [(1, (4, 6, 14, 26))],
    "train/neg": [],
    "val/c": [(0, (8, 3, 28, 23))],
}
"""Class number and left, top, right, bottom, counted from 0, of each picture."""


def pictures(root: Path, folder: str = "images") -> Path:
    for name in BOXES:
        path = root / folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (10, 200, 90)).save(path)
    return root


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def _split(split: str) -> list[tuple[str, list[tuple[int, tuple[int, int, int, int]]]]]:
    return [(name.partition("/")[2], boxes) for name, boxes in BOXES.items() if name.startswith(split)]


def coco(root: Path) -> None:
    pictures(root)
    for split in ("train", "val"):
        images, annotations = [], []
        for number, (name, boxes) in enumerate(_split(split)):
            images.append({"id": number, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]})
            for label, (left, top, right, bottom) in boxes:
                ring = [left, top, right, top, right, bottom, left, bottom]
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "category_id": label + 7,
                        "bbox": [left, top, right - left, bottom - top],
                        "segmentation": [ring],
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": number + 7, "name": name} for number, name in enumerate(CLASSES)]
        _write(
            root / f"annotations/instances_{split}2017.json",
            {"images": images, "annotations": annotations, "categories": categories},
        )


def yolo(root: Path) -> None:
    pictures(root)
    for name, boxes in BOXES.items():
        lines = []
        for label, (left, top, right, bottom) in boxes:
            x, y = (left + right) / 2 / SIZE[0], (top + bottom) / 2 / SIZE[1]
            lines.append(f"{label} {x:.6f} {y:.6f} {(right - left) / SIZE[0]:.6f} {(bottom - top) / SIZE[1]:.6f}\n")
        _write(root / f"labels/{name}.txt", "".join(lines))
    _write(root / "data.yaml", f"path: .\ntrain: images/train\nval: images/val\nnames: {json.dumps(CLASSES)}\n")


def labelme(root: Path) -> None:
    pictures(root, "")
    for name, boxes in BOXES.items():
        shapes = [
            {"label": CLASSES[label], "points": [[box[0], box[1]], [box[2], box[3]]], "shape_type": "rectangle"}
            for label, box in boxes
        ]
        _write(
            root / f"{name}.json",
            {
                "version": "6.3.1",
                "flags": {"checked": True},
                "shapes": shapes,
                "imagePath": f"{name.partition('/')[2]}.jpg",
                "imageData": None,
                "imageHeight": SIZE[1],
                "imageWidth": SIZE[0],
            },
        )


def labelme_xml(root: Path) -> None:
    pictures(root, "Images")
    for name, boxes in BOXES.items():
        objects = ""
        for label, (left, top, right, bottom) in boxes:
            corners = ((left, top), (right, top), (right, bottom), (left, bottom))
            points = "".join(f"<pt><x>{x}.00</x><y>{y}.00</y></pt>" for x, y in corners)
            objects += (
                f"<object><name>{CLASSES[label]}</name><deleted>0</deleted><type>bounding_box</type>"
                f"<polygon>{points}</polygon><attributes>difficult=False</attributes></object>"
            )
        folder, _, file = name.partition("/")
        _write(
            root / f"Annotations/{name}.xml",
            f"<annotation><filename>{file}.jpg</filename><folder>{folder}</folder>"
            f"<imagesize><nrows>{SIZE[1]}</nrows><ncols>{SIZE[0]}</ncols></imagesize>{objects}</annotation>",
        )


def cvat(root: Path) -> None:
    pictures(root)
    images = ""
    for number, (name, boxes) in enumerate(BOXES.items()):
        split, _, file = name.partition("/")
        inside = "".join(
            f'<box label="{CLASSES[label]}" xtl="{box[0]}.0" ytl="{box[1]}.0" xbr="{box[2]}.0" ybr="{box[3]}.0"/>'
            for label, box in boxes
        )
        images += (
            f'<image id="{number}" name="{file}.jpg" subset="{split}" width="{SIZE[0]}" height="{SIZE[1]}">'
            f"{inside}</image>"
        )
    _write(root / "annotations.xml", f"<annotations><version>1.1</version>{images}</annotations>")


def fiftyone(root: Path) -> None:
    pictures(root, "data")
    samples = []
    for name, boxes in BOXES.items():
        detections = [
            {
                "_cls": "Detection",
                "label": CLASSES[label],
                "bounding_box": [
                    left / SIZE[0],
                    top / SIZE[1],
                    (right - left) / SIZE[0],
                    (bottom - top) / SIZE[1],
                ],
            }
            for label, (left, top, right, bottom) in boxes
        ]
        samples.append(
            {
                "filepath": f"data/{name}.jpg",
                "tags": [name.partition("/")[0]],
                "found": {"_cls": "Detections", "detections": detections},
            }
        )
    _write(root / "samples.json", {"samples": samples})


def label_studio(root: Path) -> None:
    pictures(root, "upload")
    tasks = []
    for name, boxes in BOXES.items():
        split, _, file = name.partition("/")
        result = [
            {
                "type": "rectanglelabels",
                "original_width": SIZE[0],
                "original_height": SIZE[1],
                "value": {
                    "x": 100 * left / SIZE[0],
                    "y": 100 * top / SIZE[1],
                    "width": 100 * (right - left) / SIZE[0],
                    "height": 100 * (bottom - top) / SIZE[1],
                    "rotation": 0,
                    "rectanglelabels": [CLASSES[label]],
                },
            }
            for label, (left, top, right, bottom) in boxes
        ]
        data = {"image": f"/data/upload/1/0a1b2c3d-{file.replace(' ', '%20')}.jpg", "split": split}
        tasks.append({"id": len(tasks), "data": data, "annotations": [{"result": result}]})
    _write(root / "project.json", tasks)


def datumaro(root: Path) -> None:
    pictures(root)
    for split in ("train", "val"):
        items = [
            {
                "id": name,
                "image": {"path": f"{name}.jpg", "size": [SIZE[1], SIZE[0]]},
                "annotations": [
                    {
                        "type": "bbox",
                        "label_id": label,
                        "attributes": {"difficult": False},
                        "bbox": [left, top, right - left, bottom - top],
                    }
                    for label, (left, top, right, bottom) in boxes
                ],
            }
            for name, boxes in _split(split)
        ]
        labels = [{"name": name, "parent": ""} for name in CLASSES]
        _write(
            root / f"annotations/{split}.json",
            {"dm_format_version": "1.0", "categories": {"label": {"labels": labels}}, "items": items},
        )


def createml(root: Path) -> None:
    pictures(root, "")
    for split in ("train", "val"):
        rows = [
            {
                "image": f"{name}.jpg",
                "annotations": [
                    {
                        "label": CLASSES[label],
                        "coordinates": {
                            "x": (left + right) / 2,
                            "y": (top + bottom) / 2,
                            "width": right - left,
                            "height": bottom - top,
                        },
                    }
                    for label, (left, top, right, bottom) in boxes
                ],
            }
            for name, boxes in _split(split)
        ]
        _write(root / f"{split}/_annotations.createml.json", rows)


FORMATS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "coco": ("coco", coco, "annotations/instances_train2017.json"),
    "yolo": ("yolo", yolo, "labels/train/a.txt"),
    "labelme": ("labelme", labelme, "train/a.json"),
    "labelme_xml": ("labelme", labelme_xml, "Annotations/train/a.xml"),
    "cvat": ("cvat", cvat, "annotations.xml"),
    "fiftyone": ("fiftyone", fiftyone, "samples.json"),
    "label_studio": ("label_studio", label_studio, "project.json"),
    "datumaro": ("datumaro", datumaro, "annotations/train.json"),
    "createml": ("createml", createml, "train/_annotations.createml.json"),
}
"""Each format: the dataset that reads it, how to write it, and one of its annotation files."""
