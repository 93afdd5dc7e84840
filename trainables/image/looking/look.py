"""The closer look as a whole: one pass over a sample of the examples, and the sections of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.contract import Preparation, Progress, no_progress
from trainables.cpus import num_cpus
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.looking.doubts import Judgement, judge
from trainables.image.looking.embedding import Squares, Vectors, choose_embedding
from trainables.image.looking.odd import odd_section, size_section
from trainables.image.looking.tiles import Thumbnails, augmentation_section, class_sections, seen_config
from trainables.image.looking.traits import Batch, Traits, as_traits, read_batches
from trainables.image.pixels.examples import rule_of
from trainables.look import Section, Tile, TileRow

MOST_EXAMPLES = 10_000
"""That are looked at closely; of more, a sample in which rare classes come first."""
_GROUPS = 12
_GROUP_TILES = 5
_DOUBTS = 60
_NEW_GROUP = "~"


def look_at(
    index: ImageIndex,
    data: DataConfig,
    candidates: Mapping[str, Sequence[Any]],
    preparation: Preparation,
    progress: Progress = no_progress,
    most: int = MOST_EXAMPLES,
) -> tuple[Section, ...]:
    """Looks closely at a data set.

    Args:
        index: of the data set.
        data: the sweep file's data section.
        candidates: every value of each hyperparameter: which resolution, resize and augmentation there are.
        preparation: what `check_data` found.
        progress: told of pictures read.
        most: examples that are looked at one by one.
    """
    rule = rule_of(index, data)
    config = seen_config(candidates)
    embedding = choose_embedding(candidates)
    rows = sample_rows(index, most)
    parts = list(
        _parts(read_batches(index, rows, embedding.side, config.fit, rule, num_cpus(), progress), embedding.compute)
    )
    thumbnails = Thumbnails(index, rule)
    sections = [*class_sections(index, data, config, progress), *augmentation_section(index, data, config)]
    if parts:
        traits = as_traits(
            np.concatenate([each.rows for each in parts]), np.concatenate([each.values for each in parts])
        )
        how_many = _how_many(len(traits.rows), len(index.table))
        sections += [
            size_section(traits, config.input_resolution, how_many),
            *odd_section(index, traits, thumbnails, how_many),
        ]
    groups: list[list[str]] = preparation.details.get("near_duplicates", [])
    sections += _duplicate_section(index, groups, thumbnails)
    if parts:
        progress("judging labels", 0, len(traits.rows))
        vectors = np.concatenate([each.vectors for each in parts])
        names = _groups(index, traits, groups)
        judgement = judge(vectors, index.targets[traits.rows], names)
        sections.append(_doubt_section(index, traits, judgement, embedding.name, thumbnails, how_many))
    return tuple(sections)


def sample_rows(index: ImageIndex, most: int) -> npt.NDArray[np.int64]:
    """All rows, or a sample of them, ascending: the first of every class, then the second of every class, …"""
    count = len(index.table)
    if count <= most:
        return np.arange(count)
    shuffled = np.random.default_rng(0).permutation(count)
    labels = index.targets[shuffled]
    first = labels.argmax(axis=1) if labels.ndim == 2 else labels
    order = np.argsort(first, kind="stable")
    starts = np.searchsorted(first[order], first[order])
    turn = np.empty(count, dtype=np.int64)
    turn[order] = np.arange(count) - starts  # which of its class each is
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])


@dataclass(frozen=True)
class _Part:
    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]


def _parts(batches: Iterable[Batch], compute: Callable[[Squares], Vectors]) -> Iterator[_Part]:
    """Of each batch only what is small is kept."""
    for batch in batches:
        yield _Part(batch.rows, batch.values, compute(batch.squares))


def _how_many(looked: int, total: int) -> str:
    if looked == total:
        return f"all {total:,} examples"
    return f"a sample of {looked:,} of {total:,} examples, in which rare classes come first"


def _groups(index: ImageIndex, traits: Traits, duplicates: Sequence[Sequence[str]]) -> list[str]:
    """What must be judged together: an example's group, or that of its near-duplicates."""
    joined = {name: f"{_NEW_GROUP}{number}" for number, names in enumerate(duplicates) for name in names}
    names, groups = (index.table[column].take(traits.rows).to_pylist() for column in ("example", "group"))
    return [joined.get(name, group) for name, group in zip(names, groups, strict=True)]


def _duplicate_section(index: ImageIndex, groups: Sequence[Sequence[str]], thumbnails: Thumbnails) -> list[Section]:
    if not groups:
        return []
    wanted = {name for names in groups for name in names}
    facts = {
        name: (split, labels)
        for name, split, labels in zip(
            *(index.table[column].to_pylist() for column in ("example", "split", "labels")), strict=True
        )
        if name in wanted
    }

    def rank(names: Sequence[str]) -> tuple[bool, bool]:
        known = [facts[name] for name in names if name in facts]
        return len({split for split, _ in known}) <= 1, len({tuple(labels) for _, labels in known}) <= 1

    shown = sorted(groups, key=rank)[:_GROUPS]
    pictures = thumbnails.of([name for names in shown for name in names[:_GROUP_TILES]])
    rows = []
    for names in shown:
        one_split, one_label = rank(names)
        what = [] if one_split else ["in several splits"]
        what += [] if one_label else ["with different labels"]
        what += [f"{len(names)} pictures"] if len(names) > _GROUP_TILES else []
        tiles = [Tile(pictures.get(name, b""), name, thumbnails.caption(name)) for name in names[:_GROUP_TILES]]
        rows.append(TileRow(", ".join(what), tuple(tiles)))
    leaks = sum(not rank(names)[0] for names in groups)
    differing = sum(not rank(names)[1] for names in groups)
    return [
        Section(
            "duplicates",
            "Near-duplicates",
            f"{sum(map(len, groups)):,} pictures in {len(groups):,} groups are the same but for being turned, "
            f"mirrored, inverted, resized or encoded anew. {leaks:,} groups are in several splits (figures will look "
            f"better than they are), {differing:,} have different labels. Shown are {len(shown)}, these first.",
            tiles=tuple(rows),
        )
    ]


def _doubt_section(
    index: ImageIndex,
    traits: Traits,
    judgement: Judgement | None,
    embedding: str,
    thumbnails: Thumbnails,
    how_many: str,
) -> Section:
    title = "Labels in doubt"
    if judgement is None:
        return Section("doubts", title, "Too few examples of more than one class to judge labels.")
    names = index.classes
    rested = (
        f"A linear head on features of {embedding} was trained five times on four fifths of {how_many} and asked about "
        f"the rest; near-duplicates and crops of one picture are never on both sides. It agrees with "
        f"{100 * judgement.accuracy:.1f} % of the labels (n = {judgement.num_judged:,}; always saying the commonest: "
        f"{100 * judgement.baseline:.1f} %)."
    )
    if judgement.left_out:
        few = ", ".join(f"“{names[each]}”" for each in judgement.left_out[:10])
        rested += f" Not judged, because of too few examples or too many labels: {few}."
    if not judgement.is_sound:
        return Section("doubts", title, f"{rested} That is no better than chance, so its doubts are worth nothing.")
    shown = judgement.doubts[:_DOUBTS]
    table = index.table["example"].take(traits.rows[[doubt.example for doubt in shown]]).to_pylist() if shown else []
    pictures = thumbnails.of(table)
    tiles = []
    for name, doubt in zip(table, shown, strict=True):
        given = "lacks" if doubt.given is None else f"“{names[doubt.given]}”"
        other = "wrongly there" if doubt.suggested is None else f"“{names[doubt.suggested]}”"
        joint = " " if doubt.given is None else " → " if doubt.suggested is not None else " "
        tiles.append(Tile(pictures.get(name, b""), name, f"{given}{joint}{other} {100 * doubt.probability:.0f} %"))
    return Section(
        "doubts",
        title,
        f"{rested} {len(judgement.doubts):,} labels are in doubt (confident learning: another class is as probable as "
        f"for examples labelled so){', the first ' + str(len(shown)) if len(judgement.doubts) > len(shown) else ''}, "
        "the most doubtful first. The worse the head, the more often it is the one that errs.",
        tiles=(TileRow("", tuple(tiles)),) if tiles else (),
    )
