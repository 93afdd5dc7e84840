"""Near-duplicates as the page shows them: those that leak between splits first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainables.image.index import ImageIndex
from trainables.image.looking.tiles import Thumbnails
from trainables.look import Section, Tile, TileRow

_GROUPS = 12
_GROUP_TILES = 5
_PART = re.compile(r"#\d+$")


@dataclass(frozen=True)
class Copy:
    """A picture that has near-duplicates.

    Attributes:
        rows: its examples' rows of the index.
        splits: that they are in.
        labels: of its one example; None when it has several (crops).
    """

    rows: tuple[int, ...]
    splits: frozenset[str]
    labels: tuple[int, ...] | None


def find_copies(index: ImageIndex, groups: Sequence[Sequence[str]]) -> dict[str, Copy]:
    """The pictures of groups by name; those without an example (left out, or not of this view) are missing."""
    wanted = {name for names in groups for name in names}
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(index.table["example"].to_pylist()):
        # An example that is a part of a picture has its name and a number.
        for name in {example, _PART.sub("", example)} & wanted:
            rows.setdefault(name, []).append(row)
    splits, labels = (index.table[column].to_pylist() for column in ("split", "labels"))
    return {
        name: Copy(
            tuple(found),
            frozenset(splits[row] for row in found),
            tuple(labels[found[0]]) if len(found) == 1 else None,
        )
        for name, found in rows.items()
    }


def copies_section(
    index: ImageIndex, groups: Sequence[Sequence[str]], copies: Mapping[str, Copy], thumbnails: Thumbnails
) -> list[Section]:
    """Groups of near-duplicates; nothing when there is none.

    Args:
        index: of the data set.
        groups: names of pictures.
        copies: of these groups.
        thumbnails: where pictures come from.
    """
    if not groups:
        return []

    def rank(names: Sequence[str]) -> tuple[bool, bool]:
        known = [copies[name] for name in names if name in copies]
        one_split = len(frozenset[str]().union(*(each.splits for each in known))) <= 1
        return one_split, len({each.labels for each in known if each.labels is not None}) <= 1

    ranks = [rank(names) for names in groups]
    order = sorted(range(len(groups)), key=ranks.__getitem__)[:_GROUPS]
    seen = [name for number in order for name in groups[number][:_GROUP_TILES] if name in copies]
    pictures = thumbnails.whole({name: copies[name].rows[0] for name in seen})
    rows = []
    for number in order:
        names, (one_split, one_label) = groups[number], ranks[number]
        what = [] if one_split else ["in several splits"]
        what += [] if one_label else ["with different labels"]
        what += [f"{len(names)} images"] if len(names) > _GROUP_TILES else []
        tiles = [
            Tile(pictures.get(name, b""), name, _caption(index, copies.get(name))) for name in names[:_GROUP_TILES]
        ]
        rows.append(TileRow(", ".join(what), tuple(tiles)))
    leaks, differing = (sum(not each[place] for each in ranks) for place in (0, 1))
    return [
        Section(
            "duplicates",
            "Near-duplicates",
            f"{sum(map(len, groups)):,} images are copies of others (rotated, mirrored, inverted, resized or "
            f"re-encoded). Groups: {len(groups):,}; in several splits: {leaks:,} (metrics will be too optimistic); "
            f"with different labels: {differing:,}; shown: {len(order)}, such first.",
            tiles=tuple(rows),
        )
    ]


def _caption(index: ImageIndex, copy: Copy | None) -> str:
    if copy is None:
        return "not used"
    splits = ", ".join(sorted(copy.splits))
    if copy.labels is None:
        return f"{len(copy.rows)} examples ({splits})"
    return f"{', '.join(index.classes[label] for label in copy.labels) or 'no label'} ({splits})"
