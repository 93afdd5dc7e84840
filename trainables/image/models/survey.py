"""The survey of models: a row per name of timm, read without importing it. `python -m benchmarks.models` makes it.

Every row has the name's module, parameters (as published, with 1,000 classes) and usual resolution. Rows of names
that were tried have what these can do; those that went the whole way have an outcome.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

SURVEY = Path(__file__).with_name("survey.csv")

WITHOUT_ONNX = ("efficientnet_cc_", "tf_efficientnet_cc_")
"""Their convolutions mix their weights anew for each picture: as many groups as pictures in the batch."""


@lru_cache(maxsize=1)
def survey() -> Mapping[str, Mapping[str, str]]:
    """The rows, by name; what was not measured is empty."""
    with SURVEY.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@lru_cache
def _families(column: str) -> Mapping[str, set[str]]:
    """What was found of each family's models in a column, by timm's module; a model's own name is left out of it."""
    found: dict[str, set[str]] = {}
    for row in survey().values():
        if row[column] and not (column == "onnx" and row["name"].startswith(WITHOUT_ONNX)):
            found.setdefault(row["module"], set()).add(_nameless(row, column))
    return found


def _nameless(row: Mapping[str, str], column: str) -> str:
    return row[column].removeprefix(row["name"]).strip()


def _found(name: str, column: str) -> str | None:
    """What was found of a model, else of all models of its family alike; None where neither says it."""
    row = survey().get(name)
    if row is None:
        return None
    if row[column]:
        return _nameless(row, column)
    family = _families(column).get(row["module"], set())
    return next(iter(family)) if len(family) == 1 else None


def has_onnx(name: str) -> bool | None:
    """Whether a model has an ONNX translation: as measured, else as of all measured models of its family.

    Returns:
        None where neither says it.
    """
    if name.startswith(WITHOUT_ONNX):
        return False
    found = _found(name, "onnx")
    return None if found is None else found == "1"


def has_features(name: str) -> bool | None:
    """Whether head-only trials of a model can share stored features: as measured, else as of its family.

    Returns:
        None where neither says it.
    """
    found = _found(name, "stored_features")
    return None if found is None else found == "yes"


def why_no_features(name: str) -> str | None:
    """What a model does so that head-only trials cannot share stored features; None: they can, or nobody has tried."""
    return None if has_features(name) in (None, True) else _found(name, "stored_features")
