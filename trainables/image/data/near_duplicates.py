"""Finds near-duplicates: turned, mirrored, inverted, resized or re-encoded copies of an image.

A picture's perceptual hash says where its 256 lowest frequencies lie above their median, in all eight orientations
(`trainables.image.pixels.perceptual_hash`); a colour-inverted copy has every bit inverted. Two pictures are
near-duplicates when at most `MAX_DISTANCE` bits differ in one orientation, inverted or not. On photos, copies as above
differ in up to 46 bits (mostly below 10), different pictures of 32×32 to 640×480 pixels in 66 or more; drawings of few
pixels, such as handwritten digits, can come closer. Cropped copies are not found.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.feather

from trainables.contract import Progress, no_progress
from trainables.image.data_config import DataConfig
from trainables.image.pixels.decode import UnreadableImage, open_image
from trainables.image.pixels.perceptual_hash import HASH_SIZE, LOW, NUM_ORIENTATIONS, Words, hashes_of
from trainables.image.pixels.pictures import Facts, Picture, pictures_of
from trainables.image.pixels.scan import picture_key

MAX_DISTANCE = 40
QUICK = 20_000
"""Pictures that are compared in a few seconds."""
QUICK_TO_DECODE = 2_000
"""Pictures that are decoded and hashed in a few seconds."""
NUM_BITS = HASH_SIZE**2 - 1  # without that of the mean brightness, which inversion leaves as it is
_LOW_BITS = LOW**2 - 1  # without that of the mean brightness
_MAX_LOW_DISTANCE = 20  # of these bits: looked at first, and already too far apart in nearly all pairs

_HASHES = 2  # another number whenever the hashes become others
_ROW_BYTES = NUM_ORIENTATIONS * 32
_ROWS, _COLUMNS = 128, 4096  # of a block of pairs; what a processor's cache holds
_BATCH = 16  # pictures a task
_LARGE_FRACTION = 0.1


@dataclass(frozen=True)
class NearDuplicates:
    """What was found among pictures.

    Attributes:
        groups: a name per row of the table, (N,): rows of one picture or of near-duplicates have the same.
        pictures: the names of the pictures of each group that has several, in order.
        rows: likewise, the rows of each.
        num_pictures: that were looked at.
    """

    groups: tuple[str, ...]
    pictures: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[int, ...], ...]
    num_pictures: int


def find_near_duplicates(
    table: pa.Table, data: DataConfig, num_threads: int, progress: Progress = no_progress
) -> NearDuplicates:
    """Looks for near-duplicates among the (whole) pictures of a table. What cannot be read has none.

    Hashes are remembered in the cache folder. Comparing 12,000 pictures takes a few seconds, 60,000 a minute or two.

    Args:
        table: rows as in `SCHEMA`.
        data: limits, and where the cache is.
        num_threads: to decode with.
        progress: told of pictures read.
    """
    pictures = pictures_of(table)
    hashes = _remembered(pictures, data, num_threads, progress)
    hashed = np.flatnonzero([each is not None for each in hashes])
    words = np.stack([each for each in hashes if each is not None]) if len(hashed) else np.empty((0, 8, 4), np.uint64)
    pairs = hashed[close_pairs(words, num_threads, progress)]
    return _united(table, pictures, pairs)


def remember_hashes(pictures: Sequence[Picture], facts: Sequence[Facts], data: DataConfig) -> None:
    """Keeps the hashes that were computed while pictures were read, so that those need not be decoded again."""
    fresh = {
        key: each.hashes
        for picture, each in zip(pictures, facts, strict=True)
        if each.hashes is not None and (key := picture_key(picture))
    }
    if fresh:
        _save(_path(data), {**_load(_path(data)), **fresh})


def num_to_hash(table: pa.Table, data: DataConfig) -> int:
    """How many pictures of a table have no remembered hash: what `find_near_duplicates` would have to decode."""
    known = _load(_path(data))
    return sum(picture_key(picture) not in known for picture in pictures_of(table))


def close_pairs(words: Words, num_threads: int = 1, progress: Progress = no_progress) -> npt.NDArray[np.int64]:
    """What joins near-duplicates into groups: each picture of a group but the first, with the first, (P, 2).

    A group is of pictures that are near-duplicates of each other, or linked by others that are. So there are fewer
    pairs than pictures, however many are alike: of 100,000 blank pictures each is one of all the others.

    Args:
        words: the hashes of N pictures, (N, 8, 4).
        num_threads: to compare with.
        progress: told of pictures compared.
    """
    num_pictures = len(words)
    if not num_pictures:
        return np.empty((0, 2), dtype=np.int64)
    _, first, which = np.unique(words.reshape(num_pictures, -1), axis=0, return_index=True, return_inverse=True)
    of_same = np.stack([first[which.reshape(-1)], np.arange(num_pictures)], axis=1)
    kept = np.sort(first)  # of pictures with the same hashes the first
    joined = kept[_joined(np.ascontiguousarray(words[kept]), num_threads, progress)]
    return _stars(np.concatenate([of_same[of_same[:, 0] != of_same[:, 1]], joined]))


def _joined(words: Words, num_threads: int, progress: Progress) -> npt.NDArray[np.int64]:
    """As `close_pairs`, of pictures that all differ."""
    num_pictures = len(words)
    low = np.ascontiguousarray(words[:, :, 0].T)  # (8, N)
    joined = np.empty((0, 2), dtype=np.int64)
    group = np.arange(num_pictures)  # its first picture
    starts = range(0, num_pictures, _ROWS)
    pool = ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="compare")
    try:
        blocks = pool.map(lambda start: _pairs_of(start, words, low, group), starts)
        for start, pairs in zip(starts, blocks, strict=True):
            if len(pairs):
                joined = _stars(np.concatenate([joined, pairs]))
                group[joined[:, 1]] = joined[:, 0]
            progress("comparing images", min(start + _ROWS, num_pictures), num_pictures)
    finally:
        pool.shutdown(cancel_futures=True)
    return joined


def _pairs_of(start: int, words: Words, low: Words, group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What joins `_ROWS` pictures from `start` on with those behind them, but for what is of one group already."""
    ours = low[0, start : start + _ROWS, np.newaxis]
    shape = len(ours), _COLUMNS
    differing, counts, near = np.empty(shape, np.uint64), np.empty(shape, np.uint8), np.empty(shape, np.bool_)
    found = np.empty((0, 2), dtype=np.int64)
    for other in range(start, len(words), _COLUMNS):
        block = [found]
        for orientation, theirs in enumerate(low[:, other : other + _COLUMNS]):
            part = np.s_[:, : len(theirs)]
            np.bitwise_xor(ours, theirs, out=differing[part])
            np.bitwise_count(differing[part], out=counts[part])
            # At most _MAX_LOW_DISTANCE bits differ, or (inverted) all but so many. What lies between is moved to 0
            # and up, and what is less becomes very large, since these numbers have no sign.
            np.subtract(counts[part], _MAX_LOW_DISTANCE + 1, out=counts[part])
            np.greater(counts[part], _LOW_BITS - 2 * _MAX_LOW_DISTANCE - 2, out=near[part])
            one, two = np.nonzero(near[part])
            one, two = one + start, two + other
            apart = (one < two) & (group[one] != group[two])
            one, two = one[apart], two[apart]
            distance = np.bitwise_count(words[one, 0] ^ words[two, orientation]).sum(axis=1, dtype=np.int64)
            close = np.minimum(distance, NUM_BITS - distance) <= MAX_DISTANCE
            block.append(np.stack([one[close], two[close]], axis=1))
        found = _stars(np.concatenate(block))
    return found


def _stars(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same groups by fewer pairs: every number but the smallest of a group, with the smallest; sorted."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return pairs
    numbers, places = np.unique(pairs, return_inverse=True)
    ends = places.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(len(numbers), len(numbers)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)  # numbers are sorted: the smallest
    stars: npt.NDArray[np.int64] = np.stack([numbers[first][component], numbers], axis=1)
    stars = stars[stars[:, 0] != stars[:, 1]]
    ordered: npt.NDArray[np.int64] = stars[np.lexsort((stars[:, 1], stars[:, 0]))]
    return ordered


def duplicate_warnings(
    found: NearDuplicates, table: pa.Table, splits: npt.NDArray[np.str_], *, kept_together: bool
) -> list[str]:
    """What a user should know of near-duplicates: those that are in several splits, and more.

    Args:
        found: of the table.
        table: with the labels, and the splits that the dataset itself gives.
        splits: a name per row.
        kept_together: whether `data.split.group_by: near_duplicates` was asked for.
    """
    warnings = []
    leaks = [rows for rows in found.rows if len(set(splits[list(rows)].tolist())) > 1]
    if leaks:
        names = table["example"]
        first = {str(splits[row]): names[row].as_py() for row in leaks[0]}
        such = " and ".join(f"{name} ({split})" for split, name in first.items())
        own = table["split"].null_count < len(table)
        whose = "the dataset's own splits leak" if own else "the splits leak"
        hint = "" if kept_together else "; data.split.group_by: near_duplicates keeps such groups in one split"
        warnings.append(
            f"{whose}: {_count(len(leaks))} of near-duplicates in several splits, such as {such}: "
            f"metrics will be too optimistic{hint}"
        )
    labels = table["labels"].to_pylist()
    whole = [rows for rows, names in zip(found.rows, found.pictures, strict=True) if len(rows) == len(names)]
    if differing := [rows for rows in whole if len({tuple(labels[row]) for row in rows}) > 1]:
        such = ", ".join(table["example"][row].as_py() for row in differing[0][:3])
        warnings.append(f"{_count(len(differing))} of near-duplicates with different labels, such as {such}")
    largest = max((len(names) for names in found.pictures), default=0)
    if largest > max(10, _LARGE_FRACTION * found.num_pictures):
        warnings.append(
            f"one group of near-duplicates has {largest} images: simple drawings look alike, so data.split.group_by: "
            f"near_duplicates may group unrelated images"
        )
    return warnings


def _united(table: pa.Table, pictures: Sequence[Picture], pairs: npt.NDArray[np.int64]) -> NearDuplicates:
    """Joins pictures that are near-duplicates, and whatever is one group already."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    given = table["group"].to_pylist()
    names, number = np.unique(np.array(given, dtype=object).astype(str), return_inverse=True)
    of_picture = np.array([number[picture.rows[0]] for picture in pictures], dtype=np.int64)
    # The rows of one picture may be of several groups (`crops` have the picture's, but an adapter may do otherwise).
    inner = [(number[one], number[two]) for picture in pictures for one, two in pairwise(picture.rows)]
    edges = np.concatenate([of_picture[pairs], np.array(inner, dtype=np.int64).reshape(-1, 2)])
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for place, name in zip(component.tolist(), names.tolist(), strict=True):
        first.setdefault(place, name)  # names are sorted: the smallest
    groups = tuple(first[place] for place in component[number].tolist())

    linked: dict[str, list[Picture]] = {}
    for place in np.unique(pairs).tolist():
        linked.setdefault(groups[pictures[place].rows[0]], []).append(pictures[place])
    return NearDuplicates(
        groups,
        tuple(tuple(_picture_name(picture) for picture in members) for members in linked.values()),
        tuple(tuple(row for picture in members for row in picture.rows) for members in linked.values()),
        len(pictures),
    )


def _picture_name(picture: Picture) -> str:
    """The example's name, without the part of the picture that it is."""
    return picture.name.rpartition("#")[0] if len(picture.rows) > 1 and "#" in picture.name else picture.name


def _remembered(
    pictures: Sequence[Picture], data: DataConfig, num_threads: int, progress: Progress
) -> list[Words | None]:
    """The hashes of pictures: from the cache folder, or computed and kept there."""
    path = _path(data)
    keys = [picture_key(picture) for picture in pictures]
    known = _load(path)
    new = [place for place, key in enumerate(keys) if key not in known]
    computed = dict(zip(new, _compute([pictures[place] for place in new], data, num_threads, progress), strict=True))
    fresh = {keys[place]: each for place, each in computed.items() if each is not None and keys[place]}
    if fresh:
        _save(path, {**known, **fresh})
    return [known[key] if key in known else computed[place] for place, key in enumerate(keys)]


def _path(data: DataConfig) -> Path:
    """Where the hashes of a dataset are kept."""
    dataset = hashlib.blake2b(f"{_HASHES} {data.dataset} {data.root}".encode(), digest_size=16).hexdigest()
    return data.cache_folder / "scans" / f"{dataset}-hashes.feather"


def _compute(pictures: Sequence[Picture], data: DataConfig, num_threads: int, progress: Progress) -> list[Words | None]:
    def compute(picture: Picture) -> Words | None:
        try:
            return hashes_of(open_image(picture.read(), name=picture.name, rule=data.pixel_rule))
        except (UnreadableImage, OSError):
            return None  # named where pictures are read for training

    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    found: list[Words | None] = []
    pool = ThreadPoolExecutor(max(1, num_threads), thread_name_prefix="hash")
    try:
        for done in pool.map(lambda batch: [compute(each) for each in batch], batches):
            found += done
            progress("hashing images", len(found), len(pictures))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _load(path: Path) -> dict[str, Words]:
    try:
        table = pyarrow.feather.read_table(path, memory_map=False)
        words = np.frombuffer(b"".join(table["words"].to_pylist()), dtype=np.uint64).reshape(len(table), -1, 4)
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return {}  # none yet, or damaged: they are computed again
    return dict(zip(table["key"].to_pylist(), words, strict=True))


def _save(path: Path, hashes: Mapping[str, Words]) -> None:
    columns = [list(hashes), [each.tobytes() for each in hashes.values()]]
    schema = pa.schema([("key", pa.string()), ("words", pa.binary(_ROW_BYTES))])
    partial = path.with_name(f"{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.feather.write_feather(pa.table(columns, schema=schema), partial)
        partial.replace(path)
    except OSError:  # a full disk, no right to write: the next run computes them again
        partial.unlink(missing_ok=True)


def _count(number: int) -> str:
    return f"{number} group{'' if number == 1 else 's'}"
