"""Recognises formats of annotated objects that are not supported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from trainables.image.datasets.objects.reading import beginning, has_keys, samples, stem_of
from trainables.image.datasets.tree import Tree, suffix
from trainables.image.pixels.decode import SUFFIXES

EXPORT = "Convert it to COCO JSON, YOLO txt or VOC's XML, which are read (Datumaro, FiftyOne and CVAT do)."

_NUMBER = r"-?\d+(?:\.\d*)?(?:e-?\d+)?"
_KITTI = re.compile(rf"[^\d\s].*?(?: {_NUMBER}){{14,15}}\s*")
_DOTA = re.compile(rf"(?:{_NUMBER} ){{8}}[^\d\s].*? [012]\s*")
_MOT = re.compile(rf"\d+,-?\d+(?:,{_NUMBER}){{4,8}}\s*")
_LINES = 20  # of a file


def kitti(tree: Tree) -> str | None:
    """A class and fourteen numbers per line: truncation, occlusion, angle, box, and an object in space."""
    return _by_lines(tree, _KITTI)


def dota(tree: Tree) -> str | None:
    """Four corners, a class and its difficulty per line; or folders called labelTxt, as only DOTA has."""
    for path, folder in tree.folders.items():
        if path.rpartition("/")[2].lower().startswith("labeltxt") and any(
            suffix(name) == ".txt" for name in folder.files
        ):
            return path
    return _by_lines(tree, _DOTA)


def mot(tree: Tree) -> str | None:
    """`gt/gt.txt`: frame, track, box and more, with commas."""
    for name in tree.files("", frozenset({".txt"})):
        if f"/{name}".endswith(("/gt/gt.txt", "/det/det.txt")) and _all(tree, name, _MOT):
            return name
    return None


def wider_face(tree: Tree) -> str | None:
    """A picture's path, the number of its boxes, then a line for each."""
    for name in samples(tree, frozenset({".txt"})):
        lines = _lines(tree, name)
        if (
            len(lines) > 2
            and suffix(lines[0]) in SUFFIXES
            and lines[1].strip().isdigit()
            and len(lines[2].split()) >= 4
        ):
            return name
    return None


def icdar(tree: Tree) -> str | None:
    """`gt_<picture>.txt`: places of text, and often the text."""
    pictures: set[str] | None = None
    for name in samples(tree, frozenset({".txt"})):
        file = PurePosixPath(name).name
        if file.lower().startswith("gt_"):
            pictures = pictures or {stem_of(each).rpartition("/")[2] for each in tree.pictures()}
            if file[3:-4] in pictures:
                return name
    return None


def datumaro_binary(tree: Tree) -> str | None:
    """`annotations/<subset>.datum`."""
    return next((name for name in tree.files("", frozenset({".datum"})) if b"datumaro" in tree.head(name, 64)), None)


def via(tree: Tree) -> str | None:
    """VGG Image Annotator: regions of shape_attributes and region_attributes."""
    return _by_keys(tree, "shape_attributes", "region_attributes")


def supervisely(tree: Tree) -> str | None:
    """`ann/<picture>.json` with objects of a classTitle."""
    return _by_keys(tree, "objects", "classTitle")


def coco_captions(tree: Tree) -> str | None:
    """COCO's captions: annotations that are sentences."""
    return _by_keys(tree, "image_id", "caption")


def coco_panoptic(tree: Tree) -> str | None:
    """COCO's panoptic segmentation: the objects are in pictures beside it."""
    return _by_keys(tree, "segments_info", "file_name")


def _by_keys(tree: Tree, *keys: str) -> str | None:
    few = samples(tree, frozenset({".json"}))
    return next((name for name in few if has_keys(beginning(tree, name), keys)), None)


def _by_lines(tree: Tree, line: re.Pattern[str]) -> str | None:
    return next((name for name in samples(tree, frozenset({".txt"})) if _all(tree, name, line)), None)


def _all(tree: Tree, name: str, line: re.Pattern[str]) -> bool:
    lines = [each for each in _lines(tree, name) if not each.startswith(("imagesource:", "gsd:"))]
    return bool(lines) and all(map(line.fullmatch, lines))


def _lines(tree: Tree, name: str) -> list[str]:
    return list(_filled(beginning(tree, name)))[:_LINES]


def _filled(text: str) -> Iterator[str]:
    *whole, last = text.split("\n")  # the last may be cut
    yield from (line.rstrip("\r") for line in (whole or [last]) if line.strip())
    if whole and last.strip() and len(text) < 1 << 15:
        yield last
