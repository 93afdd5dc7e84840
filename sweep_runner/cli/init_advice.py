"""What `sweep init` and `sweep data check` say of splits that would mislead: few images, copies, lists not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trainables.image.data.near_duplicates import (
    QUICK_TO_DECODE,
    duplicate_warnings,
    find_near_duplicates,
    num_to_hash,
)
from trainables.image.data_config import DataConfig
from trainables.image.example import Listing
from trainables.image.pixels.perceptual_hash import MIN_SIDE
from trainables.image.suggest.pace import shorter_side

FEW = 5
"""Examples of a class in val; with fewer, one more or less right moves its recall by more than 0.2."""
_GIVEN = "data.split.given: true"


def few_in_val(in_val: Mapping[str, int]) -> str:
    """A warning about the class with the fewest examples in val; empty where there are enough of each."""
    name = min(in_val, key=lambda each: in_val[each], default="")
    if not name or not 0 < (number := in_val[name]) < FEW:
        return ""
    return (
        f"{name!r} has {number} example{'s' if number > 1 else ''} in val: one more or less right changes its recall "
        f"by {1 / number:.2g}. With data.split.folds: 5 every training image is in val once"
    )


def copies(listing: Listing, splits: npt.NDArray[np.str_], data: DataConfig) -> tuple[str, ...]:
    """Warnings about near-duplicates, or that looking for them takes long; none where images are too small for it."""
    side = shorter_side(listing.table)
    if side is None or side < MIN_SIDE:
        return ()
    if (unknown := num_to_hash(listing.table, data)) > QUICK_TO_DECODE:
        return (
            f"near-duplicates were not looked for: {unknown:,} images would be decoded for it, more than "
            f"{QUICK_TO_DECODE:,}; sweep data check does",
        )
    found = find_near_duplicates(listing.table, data, 1)
    return tuple(duplicate_warnings(found, listing.table, splits, kept_together=False))


def mended(listing: Listing, warning: str) -> bool:
    """Whether `split_lines` sets what a warning advises."""
    return "the splits leak" in warning and listing.table["split"].null_count == len(listing.table)


def split_lines(listing: Listing, warnings: Sequence[str]) -> list[str]:
    """The key `split` of a suggested file, with what else it could be as comments."""
    lines = []
    if any(mended(listing, warning) for warning in warnings):
        lines.append("  split: {group_by: near_duplicates}   # copies of an image stay in one split")
    if any("in val: one more or less right" in warning for warning in warnings):
        group = ", group_by: near_duplicates" if lines else ""
        lines.append(
            f"  # split: {{folds: 5{group}}}              # few images: each is in val once (5 models per trial)"
        )
    if any(_GIVEN in note for note in listing.notes):
        lines.append("  # split: {given: true}               # keeps the dataset's own lists as splits")
    return lines
