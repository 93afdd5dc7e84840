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
from trainables.image.looking.copies import Copy, copies_section, find_copies
from trainables.image.looking.doubts import Judgement, judge
from trainables.image.looking.embedding import Squares, Vectors, choose_embedding
from trainables.image.looking.odd import odd_section, size_section
from trainables.image.looking.tiles import Thumbnails, augmentation_section, class_sections, seen_config
from trainables.image.looking.traits import Batch, Traits, as_traits, read_batches
from trainables.image.pixels.examples import rule_of
from trainables.look import Section, Tile, TileRow

MOST_EXAMPLES = 10_000
"""That are looked at closely; of more, a sample in which rare classes come first."""
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
    copies = find_copies(index, groups)
    sections += copies_section(index, groups, copies, thumbnails)
    if parts:
        progress("checking labels", 0, len(traits.rows))
        vectors = np.concatenate([each.vectors for each in parts])
        names = _groups(index, traits, groups, copies)
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
    return f"a sample of {looked:,} of {total:,} examples, with rare classes first"


def _groups(
    index: ImageIndex, traits: Traits, duplicates: Sequence[Sequence[str]], copies: Mapping[str, Copy]
) -> list[str]:
    """What must be judged together: an example's group, or that of its picture's near-duplicates."""
    joined = {
        row: f"{_NEW_GROUP}{number}"
        for number, names in enumerate(duplicates)
        for name in names
        if name in copies
        for row in copies[name].rows
    }
    groups = index.table["group"].take(traits.rows).to_pylist()
    return [joined.get(row, group) for row, group in zip(traits.rows.tolist(), groups, strict=True)]


def _doubt_section(
    index: ImageIndex,
    traits: Traits,
    judgement: Judgement | None,
    embedding: str,
    thumbnails: Thumbnails,
    how_many: str,
) -> Section:
    title = "Probable label errors"
    if judgement is None:
        return Section("doubts", title, "Too few examples of more than one class to check labels.")
    names = index.classes
    rested = (
        f"A linear head on features of {embedding} was trained five times on four fifths of {how_many} and evaluated "
        f"on the rest; near-duplicates and crops of one image are kept together. It agrees with "
        f"{100 * judgement.accuracy:.1f} % of the labels (n = {judgement.num_judged:,}; always predicting the most "
        f"frequent class: "
        f"{100 * judgement.baseline:.1f} %)."
    )
    if judgement.left_out:
        few = ", ".join(f"“{names[each]}”" for each in judgement.left_out[:10])
        rested += f" Not checked (too few examples or too many labels): {few}."
    if not judgement.is_sound:
        return Section("doubts", title, f"{rested} That is no better than chance, so the labels were not checked.")
    shown = judgement.doubts[:_DOUBTS]
    table = index.table["example"].take(traits.rows[[doubt.example for doubt in shown]]).to_pylist() if shown else []
    pictures = thumbnails.of(table)
    tiles = []
    for name, doubt in zip(table, shown, strict=True):
        given = "lacks" if doubt.given is None else f"“{names[doubt.given]}”"
        other = "wrongly present" if doubt.suggested is None else f"“{names[doubt.suggested]}”"
        joint = " " if doubt.given is None else " → " if doubt.suggested is not None else " "
        tiles.append(Tile(pictures.get(name, b""), name, f"{given}{joint}{other} {100 * doubt.probability:.0f} %"))
    if not shown:
        return Section("doubts", title, f"{rested} No probable label errors.")
    first = f" (the first {len(shown)} are shown)" if len(judgement.doubts) > len(shown) else ""
    return Section(
        "doubts",
        title,
        f"{rested} Probable label errors: {len(judgement.doubts):,}{first}, the most probable first: another class "
        f"is as probable as for examples with that label (confident learning). The less accurate the head, the more "
        f"often it is the one that is wrong.",
        tiles=(TileRow("", tuple(tiles)),),
    )
