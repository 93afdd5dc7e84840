"""Asks every built-in adapter whether a folder has its layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.image.datasets import BUILT_IN, dataset_class
from trainables.image.datasets.base import Recognised
from trainables.image.datasets.tree import Tree

TABLE = "image_table"
CLASS_FOLDERS = "image_folder"
"""It claims only what nothing else does: there are folders with pictures in nearly every layout."""


def annotated(tree: Tree, given: Mapping[str, Any] | None = None) -> list[Recognised]:
    """Every reading but class folders."""
    names = [name for name in BUILT_IN if name not in (CLASS_FOLDERS, TABLE) and fits(name, given or {})]
    claims = [claim for name in names for claim in dataset_class(name).readings(tree)]
    if fits(TABLE, given or {}):
        # The lists and annotations of another layout look like tables, too.
        rest = tree.without(part for claim in claims for part in claim.parts)
        claims += dataset_class(TABLE).readings(rest)
    view = (given or {}).get("view", "images")
    return [claim for claim in claims if not claim.views or view in claim.views]


def fits(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an adapter knows the keys that are given."""
    adapter = dataset_class(name)
    return given.get("view", "images") in adapter.views and not set(given) & set(adapter.unused_settings)
