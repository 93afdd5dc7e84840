"""The two kinds of labelled data: one label per example, or any number of them."""

from __future__ import annotations

from typing import Literal

Kind = Literal["single-label", "multi-label"]

KINDS: tuple[Kind, Kind] = ("single-label", "multi-label")
"""By whether data is multi-label: `KINDS[multilabel]`."""

EXAMPLES = ("one label per example", "any number of labels per example")
"""The same in words."""
