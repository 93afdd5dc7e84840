"""The words by which people call splits, and how they are found in the names of folders."""

from __future__ import annotations

import re

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
}
"""A split's name, in small letters, in the names of folders and files and in columns of tables.

`dev` is validation and `eval` is test, as Hugging Face's `datasets` has it.
"""

_SAY_NOTHING = frozenset(
    {
        "set",
        "data",
        "dataset",
        "images",
        "image",
        "imgs",
        "img",
        "pics",
        "photos",
        "folder",
        "split",
        "files",
        "jpg",
        "png",
    }
)


def split_and_rest(name: str) -> tuple[str, frozenset[str]] | None:
    """The split that a folder's name speaks of, and what else the name says; None when it speaks of none, or of two.

    `seg_train` is train and "seg", `TrainImages` and `train2017` are train and nothing else, `trainval` is no split.
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    splits = [word.lower() for word in words if word.lower() in SPLIT_FOLDERS]
    if len(splits) != 1:
        return None
    return SPLIT_FOLDERS[splits[0]], frozenset(map(str.lower, words)) - set(splits) - _SAY_NOTHING
