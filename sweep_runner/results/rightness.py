"""How right each prediction of a final evaluation is, and which examples belong together."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def scores(table: pa.Table) -> list[float]:
    """How right the prediction of each example is, 0 to 1: of labels, the share of them that are right."""
    num_classes = max(1, sum(name.startswith("p_") for name in table.column_names))
    labels, predicted = table["labels"].to_pylist(), table["predicted"].to_pylist()
    if all(len(row) == 1 for row in (*labels, *predicted)):
        return [float(actual == said) for actual, said in zip(labels, predicted, strict=True)]
    return [1 - len(set(actual) ^ set(said)) / num_classes for actual, said in zip(labels, predicted, strict=True)]


def groups_of(table: pa.Table) -> Sequence[str]:
    """The picture (or patient, ...) that each example comes from."""
    if "group" in table.column_names:
        groups = table["group"]
    else:  # results of earlier versions, in which a crop's name is its picture's with `#` and a number
        groups = pc.replace_substring_regex(table["example"], r"#\d+$", "")
    return list(groups.to_pylist())
