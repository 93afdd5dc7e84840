"""Classes that stand in the names of pictures, as in `Abyssinian_12.jpg`: a hint where there are no class folders."""

from __future__ import annotations

import re
from collections import Counter

from trainables.image.datasets.class_folders import shown
from trainables.image.datasets.tree import Tree

_PATTERN = r"([^/]*[^/\d_. -])[_. -]?\d+\.\w+$"
_NUMBERED = re.compile(_PATTERN)
_MOST_CLASSES = 2000


def named_classes(tree: Tree) -> str:
    """What to write if pictures are called by their classes; empty if they are not.

    They are where nearly all names are a word and a number, and few words are used by many pictures.
    """
    words = Counter[str]()
    total = 0
    for path in tree.pictures():
        total += 1
        if match := _NUMBERED.search(path):
            words[match[1]] += 1
    if not 2 <= len(words) <= min(total // 2, _MOST_CLASSES) or words.total() < 0.9 * total or min(words.values()) < 2:
        return ""
    return (
        f"\n  If an image's name says its class ({shown(sorted(words))}):\n"
        f"    data: {{dataset: image_folder, class_from: '{_PATTERN}'}}"
    )
