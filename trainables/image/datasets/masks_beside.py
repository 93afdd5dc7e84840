"""Finds masks that lie among the images, so that they are not taken for examples of the class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from trainables.image.datasets.class_folders import MASKS
from trainables.image.datasets.tree import stem

_MASK_NAME = re.compile(r"[ _-](mask|masks|seg|segmentation|gt|groundtruth|label)([ _-]?\d+)?$", re.IGNORECASE)


def without_masks(paths: Sequence[str], folder: str) -> tuple[list[str], Counter[str]]:
    """The pictures below a folder without those that are masks of others.

    A mask lies in a folder `masks/` (or the like) beside one with pictures of the same names, or beside its picture,
    named as that and `_mask`.

    Returns:
        The pictures, in order; and what was left out → how many.
    """
    names = [stem(path).removeprefix(f"{folder}/") for path in paths]
    if not any(_MASK_NAME.search(name) or name.partition("/")[0].lower() in MASKS for name in names):
        return list(paths), Counter()
    stems = set(names)
    by_name: dict[str, set[str]] = defaultdict(set)
    for name in names:
        place, _, own = name.rpartition("/")
        by_name[own].add(place)
    kept, left = [], Counter[str]()
    for path, name in zip(paths, names, strict=True):
        place, _, own = name.rpartition("/")
        is_in_masks = place.rpartition("/")[2].lower() in MASKS
        others = {other for other in by_name[own] if other.rpartition("/")[2].lower() not in MASKS}
        if is_in_masks and others:
            left[f"masks in folders {place.rpartition('/')[2]}/"] += 1
        elif _MASK_NAME.sub("", name) in stems - {name}:
            left["masks, named as another image and _mask or the like"] += 1
        else:
            kept.append(path)
    return kept, left
