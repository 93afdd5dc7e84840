"""Boxes as columns of a table, one object per row: the view `crops`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import numpy as np

from trainables.errors import DataError
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations
from trainables.image.datasets.picture_names import MISSING
from trainables.image.datasets.tables.grid import listed

if TYPE_CHECKING:
    from trainables.image.datasets.tables.assembly import Pictures
    from trainables.image.datasets.tables.read import Boxes, Rows


def annotations_of(rows: Rows, pictures: Pictures, origin: Literal["auto", 0, 1]) -> Annotations:
    """The rows as annotated pictures.

    Args:
        rows: of tables with boxes.
        pictures: that they name.
        origin: `data.box_origin`.

    Raises:
        DataError: the tables have no boxes.
    """
    source = listed([part.name for part in rows.parts], 4)
    if rows.boxes is None:
        raise DataError(
            f"data.view: crops cuts out objects, and {source} has no boxes: data.table.box_columns names the columns "
            "of left, top, right and bottom, or data.view: images takes whole images"
        )
    first, how = _origin(rows.boxes, origin)
    found = Annotations(named=rows.classes, notes=[*rows.notes, how], defects=list(pictures.defects))
    if missing := sum(defect.reason == MISSING for defect in pictures.defects):
        found.notes.append(f"{missing} images that {source} names are missing")
    labels = dict(zip(rows.pair_rows.tolist(), rows.pair_labels.tolist(), strict=True))
    members: dict[int, list[int]] = defaultdict(list)
    for row, picture in enumerate(pictures.of_row.tolist()):
        if picture >= 0:
            members[picture].append(row)
    for picture, numbers in members.items():
        row = numbers[0]
        objects = [_object(rows, rows.boxes, each, labels, first, found) for each in numbers]
        found.pictures.append(
            AnnotatedPicture(
                pictures.names[picture],
                rows.place(row),
                rows.boxes.size(row),
                tuple(each for each in objects if each is not None),
                split=None if rows.splits is None else str(rows.splits[row]) or None,
                group=None if rows.groups is None else rows.groups[row],
            )
        )
    return found


def _object(
    rows: Rows, boxes: Boxes, row: int, labels: dict[int, int], origin: int, found: Annotations
) -> AnnotatedObject | None:
    sides = boxes.sides[row]
    if np.isnan(sides).any():
        found.counts["rows without a box: images without an object"] += row not in labels
        return None
    if row not in labels:
        found.counts["boxes without a label left out"] += 1
        return None
    left, top, right, bottom = sides.tolist()
    shift = 0 if boxes.are_fractions else origin
    return AnnotatedObject(
        rows.classes[labels[row]],
        (left - shift, top - shift, right, bottom),
        key=str(row - rows.part(row).start),
        crowd=bool(boxes.crowds is not None and boxes.crowds[row]),
        is_fraction=boxes.are_fractions,
    )


def _origin(boxes: Boxes, setting: Literal["auto", 0, 1]) -> tuple[int, str]:
    """From what the boxes count their pixels, and how that was found."""
    if boxes.are_fractions:
        return 0, "boxes are fractions of their image"
    if setting != "auto":
        return setting, f"boxes count from {setting} (data.box_origin)"
    if (boxes.sides == 0).any():
        return 0, "boxes count from 0: there is a 0 in them (data.box_origin)"
    if boxes.sizes is not None and (boxes.sides[:, 2:] == boxes.sizes).any():
        return (
            1,
            "boxes count from 1: none begins at 0, and one ends where its image does (data.box_origin)",
        )
    return 0, "boxes count from 0, as tables mostly do: nothing in them says otherwise (data.box_origin)"
