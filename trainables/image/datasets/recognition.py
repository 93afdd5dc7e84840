"""Recognises the dataset in a folder: one reading, or an error that says what was seen and what to write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets import BUILT_IN, dataset_class
from trainables.image.datasets.base import Ambiguous, Recognised
from trainables.image.datasets.foreign import refusals
from trainables.image.datasets.named_classes import named_classes
from trainables.image.datasets.readings import CLASS_FOLDERS, TABLE, annotated, fits
from trainables.image.datasets.tables.sources import lists_of_splits
from trainables.image.datasets.tree import Tree
from trainables.image.pixels.decode import SUFFIXES

_SAID_BY = {"table": (TABLE, "a table of labels"), "class_from": (CLASS_FOLDERS, "class folders")}
"""Keys of the data section that say what the dataset is."""
_FEW = 3  # files


def recognise(root: Path, given: Mapping[str, Any] | None = None) -> Recognised:
    """The reading of what lies at a root.

    Args:
        root: a folder, or one file.
        given: the other keys of the data section: adapters that do not know them, or not the view, are not asked.

    Raises:
        DataError: nothing that is known, or several readings are possible: which, and what to write.
    """
    tree = Tree.of(root)
    given = given or {}
    for key, (dataset, found) in _SAID_BY.items():
        if given.get(key) is not None:
            return Recognised(dataset, found)
    claims = annotated(tree, given)
    if any(claim.dataset != TABLE for claim in claims) or not fits(CLASS_FOLDERS, given):
        folders = None
    else:
        folders = dataset_class(CLASS_FOLDERS).recognise(tree)
    if folders is not None:
        claims = [claim for claim in claims if not set(_tables(claim)) <= set(folders.parts)]
        if claims and not any(_speaks_of(tree, claim, folders) for claim in claims):
            claims.append(folders)
    if len(claims) > 1:
        raise Ambiguous(root, claims)
    if claims:
        return claims[0]
    if problems := refusals(tree):
        raise DataError("\n  ".join([f"data.root: {root}: no format of datasets can read what is there", *problems]))
    if folders is None:
        raise DataError(
            f"data.root: no dataset is recognised in {root} ({_seen(tree)}){_without_labels(tree)}\n"
            "  Looked for annotations, tables and files that hold many images, then for one folder per class:\n"
            f"    {root}/<class>/*.jpg, or {root}/train/<class>/*.jpg\n"
            f"  If you know what it is, name it: data.dataset is one of {', '.join(BUILT_IN)}{named_classes(tree)}"
        )
    return folders


def _tables(claim: Recognised) -> list[str]:
    """The files of a reading that is a table."""
    path = claim.settings.get("table", {}).get("path", [])
    return [path] if isinstance(path, str) else list(dict(path).values())


def _speaks_of(tree: Tree, table: Recognised, folders: Recognised) -> bool:
    """Whether a table says what the folders say, or they hardly can be classes: then it is not in question."""
    heads = b"".join(tree.head(name) for name in _tables(table)).decode("utf-8", errors="replace")
    return len(folders.classes) < 2 or any(name in heads for name in folders.classes)


def refuse_other_kind(tree: Tree) -> None:
    """Refuses class folders where there are none, and the files plainly are another kind of dataset.

    Raises:
        DataError: which, and what to write.
    """
    if claims := annotated(tree):
        choices = "".join(f"\n  {claim.found}\n    data: {claim.written}" for claim in claims)
        raise DataError(
            f"data.dataset: {CLASS_FOLDERS} reads one folder per class, and {tree.root} holds something else: "
            f"leave dataset out, or say{choices}"
        )
    if problems := refusals(tree):
        raise DataError("\n  ".join([f"data.root: {tree.root} is not a folder of classes", *problems]))


def _without_labels(tree: Tree) -> str:
    """What to write where lists say the splits of pictures, and nothing says their labels; empty if there are none."""
    lists = lists_of_splits(tree)
    if not lists:
        return ""
    return (
        f"\n  {few_of(lists, _FEW)} say which images are in which split, and no label: what is missing is"
        f"\n    a table with one row per image, such as {tree.root}/labels.csv: file,label,split"
        "\n    or one folder per class with the images in it, which the lists may go on dividing"
    )


def _seen(tree: Tree) -> str:
    """What is there, in few words."""
    pictures = sum(count for kind, count in tree.suffixes.items() if kind in SUFFIXES)
    others: Counter[str] = Counter({kind: count for kind, count in tree.suffixes.items() if kind not in SUFFIXES})
    found = [f"{pictures} images in {len(tree.folders)} folders"] if pictures else ["no image"]
    found += [f"{count} files {kind or 'without suffix'}" for kind, count in others.most_common(3)]
    return ", ".join(found)
