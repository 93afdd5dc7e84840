"""Whether the images of a table have one label each or any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainables.errors import DataError

if TYPE_CHECKING:
    from trainables.image.datasets.tables.read import Rows
    from trainables.image.settings.table import Kind

_CONTRADICTIONS = 0.05
_SEVERAL = 0.2
"""Between these shares of pictures with several rows of different labels it is open what is meant."""


def is_multilabel(counts: npt.NDArray[np.int64], rows: Rows, kind: Kind) -> tuple[bool, str]:
    """Whether examples have any number of labels, and what is to be said.

    Args:
        counts: the number of labels of each picture, (P,).
        rows: the tables.
        kind: `data.table.kind`.

    Raises:
        DataError: it is open.
    """
    several, none, total = int((counts > 1).sum()), int((counts == 0).sum()), len(counts)
    if kind != "auto":
        return kind == "multi", _doubt(several, none, total, rows) if kind == "multi" else ""
    if rows.boxes is not None and (several or none):
        return True, "multi-label: an image has the labels of all its boxes (data.view: crops reads one per box)"
    if several == 0 and (none == 0 or not (rows.whole or rows.lists)):
        if rows.several and none:
            return True, f"multi-label: {none} of {total} images have no label"
        return False, "single-label: every image has one label (data.table.kind: multi reads any number)"
    if rows.whole or rows.several or rows.lists or several == 0:
        return True, _multi(several, none, total)
    share = several / total
    if share <= _CONTRADICTIONS:
        return False, f"single-label: {total - several} of {total} images have one label (data.table.kind)"
    if share < _SEVERAL:
        raise DataError(
            f"data.table: {several} of {total} images have several rows with different labels: contradictions, or "
            "several labels?\n  data.table.kind: single names and leaves out those images; multi gives them all"
        )
    return True, _multi(several, none, total)


def _doubt(several: int, none: int, total: int, rows: Rows) -> str:
    """What makes it likely that one label per picture is meant where any number was asked for; empty: nothing does."""
    if none or rows.lists or rows.boxes is not None:
        return ""
    advice = "dataset image_table (or data.table.kind: single) learns one per image"
    if several == 0:
        return f"every image has exactly one label, but any number is learned and predicted: {advice}"
    if not rows.whole and not rows.several and several <= _CONTRADICTIONS * total:
        return f"{several} of {total} images have rows with different labels, and have them all now: {advice}"
    return ""


def _multi(several: int, none: int, total: int) -> str:
    return f"multi-label: of {total} images {several} have several labels and {none} have none"
