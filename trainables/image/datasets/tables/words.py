"""Words that people use: for splits, and as names of columns. Those of columns are in small letters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainables.image.datasets.split_words import SPLIT_FOLDERS

FILE_NAMES = frozenset(
    {
        "file",
        "file_name",
        "file_path",
        "filename",
        "filenames",
        "filepath",
        "fname",
        "id",
        "image",
        "image_id",
        "image_name",
        "image_path",
        "imageid",
        "img",
        "img_path",
        "name",
        "path",
        "photo",
        "picture",
    }
)
LABEL_NAMES = frozenset(
    {
        "breed",
        "category",
        "choice",
        "class",
        "class_id",
        "class_name",
        "classid",
        "classes",
        "diagnosis",
        "ground_truth.label",
        "label",
        "label_id",
        "label_name",
        "labelname",
        "labels",
        "target",
    }
)
SPLIT_NAMES = frozenset({"fold", "ml_use", "partition", "phase", "set", "split", "subset", "usage"})
GROUP_NAMES = frozenset(
    {
        "case_id",
        "group",
        "group_id",
        "lesion_id",
        "patient",
        "patient_id",
        "patientid",
        "person_id",
        "seriesinstanceuid",
        "studyinstanceuid",
        "subject",
        "subject_id",
    }
)
OF_BOXES = frozenset({"height", "isgroupof", "width"})
VALUE_NAMES = frozenset({"confidence"})
NO_CLASSES = frozenset(
    {
        "data",
        "files",
        "image",
        "images",
        "img",
        "imgs",
        "input",
        "jpeg",
        "jpegimages",
        "jpg",
        "obj",
        "part",
        "photo",
        "photos",
        "picture",
        "pictures",
        "png",
        "raw",
        "seg",
        "set",
        "upload",
    }
)
"""Words of folders that hold pictures of every class."""


FLAGS_OF_SPLITS = {"is_test": "test", "is_val": "val", "is_valid": "val", "is_validation": "val"}
"""Columns of yes and no: yes is the split, no is train (fastai's `is_valid`)."""


def plain_name(name: str) -> str:
    """A column's name in small letters, with `_` for blanks and dashes: `Patient ID` → patient_id."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def split_word(written: str) -> str | None:
    """The split that a word means; None: it means none."""
    return SPLIT_FOLDERS.get(written.strip().casefold())


def are_splits(values: Iterable[str | None]) -> bool:
    """Whether all values that are not empty mean splits, and one of them is train."""
    splits = [split_word(value) for value in values if value and value.strip()]
    return "train" in splits and None not in splits


def split_in(name: str) -> str | None:
    """The one split that a name speaks of: `train-annotations`, `my_train`; None: none, or several."""
    found = {SPLIT_FOLDERS[word] for word in words_of(name) if word in SPLIT_FOLDERS}
    return found.pop() if len(found) == 1 else None


def words_of(name: str) -> list[str]:
    """The words of a name: `train_images` → train, images."""
    return [word for word in re.split(r"[^a-z]+", name.casefold()) if word]
