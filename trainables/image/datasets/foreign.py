"""Layouts that are recognised but not supported: each is refused by its name, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainables.image.datasets import foreign_objects as formats
from trainables.image.datasets.hugging_face import DATUMARO_ADVICE as ADVICE
from trainables.image.datasets.hugging_face import is_datumaro
from trainables.image.datasets.tree import Tree


@dataclass(frozen=True)
class Foreign:
    """A layout that no adapter reads.

    Attributes:
        name: as its users call it.
        seen: what of it is in a tree, such as "train.tfrecord"; None when it is not that layout. It looks at the
            beginnings of a few files, as `Dataset.recognise` does.
        advice: what to do.
    """

    name: str
    seen: Callable[[Tree], str | None]
    advice: str


def _datumaro_arrow(tree: Tree) -> str | None:
    files = tree.files(suffixes=frozenset({".arrow"}))
    return next((name for name in files if is_datumaro(tree.path(name))), None)


def _tfrecord(tree: Tree) -> str | None:
    """Nothing marks the beginning of a record, which is its length: the name of the file says it."""
    folders = tree.folders.values()
    return next((folder.at(name) for folder in folders for name in folder.files if ".tfrec" in name.lower()), None)


def _archive(tree: Tree) -> str | None:
    """An archive in the root, of whatever kind, with no pictures beside it; those that are read are claimed before."""
    if tree.num_pictures(""):
        return None
    return next((name for name in tree.folders[""].files if name.lower().endswith(_PACKED)), None)


_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")


FOREIGN = (
    Foreign(
        "TFRecord",
        _tfrecord,
        "Write its images into class folders, or as Parquet with a column of encoded images and one of labels "
        "(Hugging Face datasets: push_to_hub, whose files hold the pixels; those of to_parquet do not).",
    ),
    Foreign(
        "An archive without class folders in it, or a compressed one,",
        _archive,
        "Unpack it, and give the folder: what is in it is recognised then. Class folders are read from .zip and .tar.",
    ),
    Foreign("KITTI", formats.kitti, formats.EXPORT),
    Foreign("DOTA", formats.dota, formats.EXPORT),
    Foreign("MOT (tracks)", formats.mot, formats.EXPORT),
    Foreign("WIDER FACE", formats.wider_face, formats.EXPORT),
    Foreign("ICDAR (places of text)", formats.icdar, formats.EXPORT),
    Foreign(
        "Datumaro's binary form", formats.datumaro_binary, "Export it as Datumaro JSON, COCO or VOC, which are read."
    ),
    Foreign("Datumaro's Arrow", _datumaro_arrow, ADVICE),
    Foreign("VGG Image Annotator's JSON", formats.via, "Export the project as COCO JSON, which is read."),
    Foreign("Supervisely's JSON", formats.supervisely, "Export the project as COCO JSON, which is read."),
    Foreign("COCO captions", formats.coco_captions, "They are sentences, no classes: instances_*.json has classes."),
    Foreign("COCO panoptic", formats.coco_panoptic, "instances_*.json of the same data is read."),
)


def refusals(tree: Tree) -> list[str]:
    """Of each known layout that no adapter reads: that it is there, and what to do."""
    return [
        f"{known.name} ({seen}) is not read. {known.advice}"
        for known in FOREIGN
        if (seen := known.seen(tree)) is not None
    ]
