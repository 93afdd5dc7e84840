"""What lies at a root, found by looking: one reading, or a refusal that says what was seen and what to write."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trainables.errors import DataError
from trainables.image.datasets import BUILT_IN, dataset_class
from trainables.image.datasets.base import Recognised
from trainables.image.datasets.foreign import refusals
from trainables.image.datasets.tree import Tree
from trainables.image.pixels.decode import SUFFIXES

TABLE = "image_table"
CLASS_FOLDERS = "image_folder"
"""It claims only what nothing else does: there are folders with pictures in nearly every layout."""


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
    if "table" in given:  # whoever names a table has said what it is
        return Recognised(TABLE, "a table of labels")
    claims = annotated(tree, given)
    if len(claims) == 1:
        return claims[0]
    if claims:
        raise DataError(f"data.root: {root} can be read in {len(claims)} ways: say which\n{_choices(claims)}")
    if problems := refusals(tree):
        raise DataError("\n  ".join([f"data.root: {root} holds what no adapter reads", *problems]))
    folders = dataset_class(CLASS_FOLDERS).recognise(tree) if _fits(CLASS_FOLDERS, given) else None
    if folders is None:
        raise DataError(
            f"data.root: no dataset is recognised in {root} ({_seen(tree)})\n"
            "  Looked for annotations, tables and files that hold many pictures, then for one folder per class:\n"
            f"    {root}/<class>/*.jpg, or {root}/train/<class>/*.jpg\n"
            f"  If you know what it is, name it: data.dataset is one of {', '.join(BUILT_IN)}"
        )
    return folders


def annotated(tree: Tree, given: Mapping[str, Any] | None = None) -> list[Recognised]:
    """Every reading but class folders."""
    names = [name for name in BUILT_IN if name not in (CLASS_FOLDERS, TABLE) and _fits(name, given or {})]
    claims = [claim for name in names for claim in dataset_class(name).readings(tree)]
    if _fits(TABLE, given or {}):
        # The lists and annotations of another layout look like tables, too.
        rest = tree.without(part for claim in claims for part in claim.parts)
        claims += dataset_class(TABLE).readings(rest)
    view = (given or {}).get("view", "images")
    return [claim for claim in claims if not claim.views or view in claim.views]


def refuse_other_kind(tree: Tree) -> None:
    """Refuses class folders where the files plainly are another kind of dataset.

    Raises:
        DataError: which, and what to write.
    """
    if problems := refusals(tree):
        raise DataError("\n  ".join([f"data.root: {tree.root} is no folder of classes", *problems]))
    if dataset_class(CLASS_FOLDERS).recognise(tree) is None and (claims := annotated(tree)):
        raise DataError(
            f"data.dataset: {CLASS_FOLDERS} reads one folder per class, and {tree.root} holds something else: "
            f"leave dataset out, or say\n{_choices(claims)}"
        )


def _fits(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an adapter knows the keys that are given."""
    adapter = dataset_class(name)
    return given.get("view", "images") in adapter.views and not set(given) & set(adapter.unused_settings)


def _choices(claims: Collection[Recognised]) -> str:
    return "\n".join(f"  {claim.found}\n    data: {_written(claim)}" for claim in claims)


def _written(claim: Recognised) -> str:
    return json.dumps({"dataset": claim.dataset, **claim.settings}, ensure_ascii=False)


def _seen(tree: Tree) -> str:
    """What is there, in few words."""
    pictures = sum(count for kind, count in tree.suffixes.items() if kind in SUFFIXES)
    others: Counter[str] = Counter({kind: count for kind, count in tree.suffixes.items() if kind not in SUFFIXES})
    found = [f"{pictures} pictures in {len(tree.folders)} folders"] if pictures else ["no picture"]
    found += [f"{count} files {kind or 'without suffix'}" for kind, count in others.most_common(3)]
    return ", ".join(found)
