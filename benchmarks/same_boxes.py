"""The boxes that we read from a VOC folder, one by one against those that other libraries read.

    python -m benchmarks.same_boxes ROOT                       # against torchvision, which is here
    python -m benchmarks.same_boxes ROOT --python PYTHON       # and FiftyOne and supervision, which PYTHON has

A box is the same when its four sides are, in pixels from 0 with right and bottom just outside. Differences are put into
kinds, counted, and one of each kind is shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

Boxes = dict[str, list[tuple[str, tuple[float, ...]]]]
"""Picture → class and sides of each object."""

_TORCHVISION = """
import json, sys
from torchvision.datasets import VOCDetection
found = {}
for _, target in VOCDetection(sys.argv[1], year="2012", image_set="trainval"):
    annotation = target["annotation"]
    objects = [
        (item["name"], [float(item["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")])
        for item in annotation.get("object", [])
    ]
    # torchvision gives what is written; PASCAL VOC counts from 1 and includes the last pixel.
    found[annotation["filename"]] = [(name, [a - 1, b - 1, c, d]) for name, (a, b, c, d) in objects]
print(json.dumps(found))
"""
_FIFTYONE = """
import json, pathlib, sys
from fiftyone.utils.voc import VOCDetectionDatasetImporter
root = pathlib.Path(sys.argv[1], "VOCdevkit/VOC2012")
places = {"data_path": str(root / "JPEGImages"), "labels_path": str(root / "Annotations")}
importer = VOCDetectionDatasetImporter(str(root), **places)
importer.setup()
found = {}
for path, metadata, labels in importer:
    width, height = metadata.width, metadata.height
    found[pathlib.Path(path).name] = [
        (
            item.label,
            [
                item.bounding_box[0] * width,
                item.bounding_box[1] * height,
                (item.bounding_box[0] + item.bounding_box[2]) * width,
                (item.bounding_box[1] + item.bounding_box[3]) * height,
            ],
        )
        for item in (labels.detections if labels else [])
    ]
print(json.dumps(found))
"""
_SUPERVISION = """
import json, pathlib, sys
import supervision
root = pathlib.Path(sys.argv[1], "VOCdevkit/VOC2012")
data = supervision.DetectionDataset.from_pascal_voc(str(root / "JPEGImages"), str(root / "Annotations"))
found = {
    pathlib.Path(path).name: [
        (data.classes[int(label)], [float(side) for side in box])
        for box, label in zip(boxes.xyxy, boxes.class_id if len(boxes) else [])
    ]
    for path, boxes in data.annotations.items()
}
print(json.dumps(found))
"""


def ours(root: Path) -> tuple[Boxes, list[str]]:
    """Our crops, with the difficult ones, and what is said of them."""
    from trainables.image.data_config import DataConfig
    from trainables.image.datasets.voc import Voc

    listing = Voc(DataConfig(dataset="voc", root=root, view="crops", difficult=True)).examples()
    found: Boxes = defaultdict(list)
    for row in listing.table.to_pylist():
        name = Path(row["example"].rpartition("#")[0]).name
        found[name].append((listing.classes[row["labels"][0]], tuple(map(float, row["box"]))))
    return found, [*listing.notes, *map(str, listing.defects)]


def theirs(code: str, python: str, root: Path) -> Boxes:
    """What a library reads, in the layout that it wants."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "VOCdevkit/VOC2012")
        place.mkdir(parents=True)
        for name in ("Annotations", "JPEGImages"):
            (place / name).symlink_to(root / name)
        lists = place / "ImageSets/Main"
        lists.mkdir(parents=True)
        names = sorted(path.stem for path in (root / "Annotations").glob("*.xml"))
        (lists / "trainval.txt").write_text("".join(f"{name}\n" for name in names))
        run = subprocess.run([python, "-c", code, folder], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{python} failed:\n{run.stderr[-2000:]}")
    content = json.loads(run.stdout.splitlines()[-1])
    return {name: [(label, tuple(box)) for label, box in objects] for name, objects in content.items()}


def compare(mine: Boxes, other: Boxes) -> tuple[Counter[str], dict[str, str]]:
    """How many boxes are the same, and of what kind the others are; one of each kind."""
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for picture in sorted({*mine, *other}):
        left = list(mine.get(picture, []))
        for label, box in other.get(picture, []):
            match = min(
                (each for each in left if each[0] == label),
                key=lambda each: max(abs(a - b) for a, b in zip(each[1], box, strict=True)),
                default=None,
            )
            kind = "we leave it out" if match is None else _kind(match[1], box)
            if match is not None and kind.startswith("another"):
                match, kind = None, "we leave it out"
            counts[kind] += 1
            shown.setdefault(
                kind, f"{picture} {label}: ours {match and match[1]}, theirs {tuple(round(s, 2) for s in box)}"
            )
            if match is not None:
                left.remove(match)
        counts["they leave it out"] += len(left)
        if left:
            shown.setdefault("they leave it out", f"{picture} {left[0]}")
    return +counts, shown


def _kind(mine: tuple[float, ...], other: tuple[float, ...]) -> str:
    steps = tuple(round(b - a, 3) for a, b in zip(mine, other, strict=True))
    if not any(steps):
        return "the same"
    if steps == (1, 1, 0, 0):
        return "left and top are 1 more: they do not count from 1"
    if all(abs(step) < 1 for step in steps):
        return "fractions of a pixel: ours are rounded outwards"
    if all(abs(step) <= 1 for step in steps):
        return "up to a pixel: they do not count from 1, and cut fractions off"
    return "beyond the picture: ours are clipped" if max(map(abs, steps)) < 30 else "another box"


def main() -> None:
    """Prints the comparison as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder with Annotations/ and JPEGImages/")
    parser.add_argument("--python", help="a Python that has fiftyone and supervision")
    options = parser.parse_args()
    root = options.root.absolute()
    mine, said = ours(root)
    print(f"{sum(map(len, mine.values()))} boxes in {len(mine)} pictures. Said of them:\n")
    print("".join(f"- {line}\n" for line in said))
    peers = [("torchvision", _TORCHVISION, sys.executable)]
    if options.python:
        peers += [("FiftyOne", _FIFTYONE, options.python), ("supervision", _SUPERVISION, options.python)]
    print("| against | boxes | what | example |\n|---|---|---|---|")
    for name, code, python in peers:
        counts, shown = compare(mine, theirs(code, python, root))
        for kind, count in counts.most_common():
            print(f"| {name} | {count} | {kind} | {'' if kind == 'the same' else shown[kind]} |")


if __name__ == "__main__":
    main()
