"""Image sizes, and images that are dark, bright, blank, blurred or oddly shaped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainables.image.index import ImageIndex
from trainables.image.looking.tiles import Thumbnails
from trainables.image.looking.traits import Traits
from trainables.look import Cell, Section, Tile, TileRow

DARK, BRIGHT = 30.0, 225.0
BLANK = 6.0
BLURRED = 0.25
ODD = 2.0
_SHOWN = 8
_SIZES = 8


def size_section(traits: Traits, resolution: int, how_many: str) -> Section:
    """How large the examples are, and how many are enlarged for the net."""
    quantiles = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    measured = {"width": traits.width, "height": traits.height, "longer ÷ shorter": traits.proportion}
    rows: list[tuple[Cell, ...]] = []
    for name, values in measured.items():
        rows.append((name, *(round(float(value), 2) for value in np.quantile(values, quantiles))))
    smaller = int((np.minimum(traits.width, traits.height) < resolution).sum())
    sizes, counts = np.unique(np.stack([traits.width, traits.height], axis=1), axis=0, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_SIZES]
    such = ", ".join(f"{int(sizes[k][0])}×{int(sizes[k][1])} ({counts[k]:,})" for k in common[:3])
    return Section(
        "sizes",
        "Sizes",
        f"Of {how_many}, in pixels: {len(sizes):,} sizes, most often {such}. {smaller:,} are smaller than the "
        f"model's input of {resolution} pixels and are enlarged.",
        columns=("", "least", "5 %", "25 %", "median", "75 %", "95 %", "most"),
        rows=tuple(rows),
    )


def odd_section(index: ImageIndex, traits: Traits, thumbnails: Thumbnails, how_many: str) -> Iterator[Section]:
    """What stands out; nothing when nothing does."""
    kinds = list(_kinds(traits))
    shown = {name: order[:_SHOWN] for name, _, order, _ in kinds}
    rows = np.unique(np.concatenate([traits.rows[order] for order in shown.values()] or [np.empty(0, np.int64)]))
    names = dict(zip(rows.tolist(), index.table["example"].take(rows).to_pylist(), strict=True))
    pictures = thumbnails.of(list(names.values()))
    groups = []
    for name, rule, order, values in kinds:
        if not len(order):
            continue
        found = [(names[int(traits.rows[place])], values[place]) for place in shown[name]]
        tiles = tuple(
            Tile(pictures.get(example, b""), example, f"{thumbnails.caption(example)}; {value:.3g}")
            for example, value in found
        )
        groups.append(TileRow(f"{len(order):,} {name} ({rule})", tiles))
    text = f"Of {how_many}. " + (
        "The most extreme of each kind come first." if groups else "None is dark, blank or blurred."
    )
    yield Section("odd", "Outliers", text, tiles=tuple(groups))


def _kinds(traits: Traits) -> Iterator[tuple[str, str, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Name, rule, which examples (worst first), and the value of each example."""
    blank = traits.contrast < BLANK
    usual = float(np.median(traits.sharpness[~blank])) if (~blank).any() else 0.0
    shape = float(np.median(traits.proportion))
    yield "blank", f"grey levels deviate by less than {BLANK:g}", *_worst(blank, traits.contrast)
    dark = ~blank & (traits.brightness < DARK)
    yield "dark", f"mean grey level below {DARK:g} of 255", *_worst(dark, traits.brightness)
    bright = ~blank & (traits.brightness > BRIGHT)
    yield "bright", f"mean grey level above {BRIGHT:g} of 255", *_worst(bright, traits.brightness, -1)
    blurred = ~blank & (traits.sharpness < BLURRED * usual)
    rule = f"sharpness below {BLURRED * usual:.2g}, a quarter of the median"
    yield "blurred", rule, *_worst(blurred, traits.sharpness)
    odd = traits.proportion > ODD * shape
    yield (
        "of odd shape",
        f"sides more than {ODD * shape:.2g} : 1, twice the median",
        *_worst(odd, traits.proportion, -1),
    )


def _worst(
    which: npt.NDArray[np.bool_], values: npt.NDArray[np.float32], sign: int = 1
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    found = np.flatnonzero(which)
    return found[np.argsort(sign * values[found], kind="stable")], values
