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


@lru_cache(maxsize=1)
def _families_with_onnx() -> Mapping[str, set[str]]:
    """What came out of the ONNX translation of each family's models, by timm's module."""
    found: dict[str, set[str]] = {}
    for row in survey().values():
        if row["onnx"] and not row["name"].startswith(WITHOUT_ONNX):
            found.setdefault(row["module"], set()).add(row["onnx"])
    return found


def has_onnx(name: str) -> bool | None:
    """Whether a model has an ONNX translation: as measured, else as of all measured models of its family.

    Returns:
        None where neither says it.
    """
    if name.startswith(WITHOUT_ONNX):
        return False
    row = survey().get(name)
    if row is None:
        return None
    if row["onnx"]:
        return row["onnx"] == "1"
    family = _families_with_onnx().get(row["module"], set())
    return family == {"1"} if len(family) == 1 else None
