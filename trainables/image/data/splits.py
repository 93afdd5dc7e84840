"""Divides examples into train, val and test: stratified, by groups, and the same for the same seed.

The division follows iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label
Data", ECML PKDD 2011): the rarest class is dealt first. It deals groups in place of single examples, the large ones
first, and each goes where all of its classes together are furthest from their share; looking at the rarest class alone
left splits of crops several times further from the fractions. With single examples of one label each, every class
gets its share to within one example.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.index import SPLITS, flat_labels

if TYPE_CHECKING:
    from trainables.image.settings.split import Split

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Division:
    """Which example is in which split.

    Attributes:
        splits: a name per row, (N,).
        warnings: classes that a split lacks, groups that given splits tear apart.
    """

    splits: npt.NDArray[np.str_]
    warnings: tuple[str, ...] = ()


def divide(table: pa.Table, classes: Sequence[str], split: Split) -> Division:
    """Divides examples.

    Splits that the table gives stay. If it gives some but not all, those that are missing (and whose fraction is
    above 0) are cut from its train examples, in the proportion of the fractions.

    Args:
        table: rows as in `SCHEMA`; `split` null where it is to be chosen. For `group_by: near_duplicates` its groups
            are those of `near_duplicates.find_near_duplicates`.
        classes: the class names.
        split: the fractions and how to divide.

    Raises:
        DataError: a class has too few pictures, or a split would be empty.
    """
    given = np.array([name or "" for name in table["split"].to_pylist()], dtype="<U5")
    if strange := sorted(set(given.tolist()) - {"", *SPLITS}):
        raise DataError(f"the dataset gives the split {strange[0]!r}: splits are {', '.join(SPLITS)}")
    present = [name for name in SPLITS if (given == name).any()]
    missing = [name for name in SPLITS if name not in present and (name == "train" or split.fractions[name] > 0)]
    targets = [name for name in SPLITS if name == "train" or name in missing]
    names = np.array(table["example" if split.group_by == "none" else "group"].to_pylist(), dtype=object)
    own_val = int((given == "val").sum())
    splits = given.copy()
    splits[given == ""] = "train"
    pool = np.flatnonzero(splits == "train")
    if len(targets) > 1 and len(pool):
        groups = numbered(names[pool], split.seed)
        rows, labels = flat_labels(table.take(pa.array(pool)))
        _check_enough(rows, labels, groups, classes, targets)
        if not split.stratify:
            rows, labels = np.arange(len(pool)), np.zeros(len(pool), dtype=np.int64)
        fractions = np.array([split.fractions[name] for name in targets])
        chosen = _stratify(groups, rows, labels, fractions / fractions.sum())
        splits[pool] = np.array(targets)[chosen]
    wanted = {*present, *targets}
    notes = []
    if split.folds is not None:  # val comes from train, a fold at a time
        splits[splits == "val"] = "train"
        wanted -= {"val"}
        notes += [f"the dataset's own val, {own_val} examples, takes part in the folds"] if own_val else []
    for name in SPLITS:
        if name in wanted and not (splits == name).any():
            raise DataError(
                f"data.split: {name} would be empty: {len(table)} examples are too few for "
                f"{', '.join(f'{key} {value:g}' for key, value in split.fractions.items())}"
            )
    torn = [] if split.group_by == "near_duplicates" else _torn(names, splits)  # those are told with their names
    return Division(splits, (*notes, *_lacking(table, classes, splits, wanted), *torn))


def balance(
    table: pa.Table,
    splits: npt.NDArray[np.str_],
    classes: Sequence[str],
    caps: Mapping[str, str | int] | str | int,
    seed: int,
) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    """Caps the number of training examples of some classes, or of all.

    `mean`, `median` and `min` are of the class counts in train before anything is left out. In a multi-label dataset
    only examples that have no other label can be left out, so that a class may stay above its cap.

    Args:
        table: rows as in `SCHEMA`.
        splits: a name per row.
        classes: the class names.
        caps: by class name, or one for all.
        seed: which examples stay.

    Returns:
        Which rows stay, (N,), and warnings of classes that stay above their cap.

    Raises:
        DataError: a cap for a class that is not there.
    """
    stay = np.ones(len(table), dtype=bool)
    if not isinstance(caps, Mapping):
        caps = dict.fromkeys(classes, caps)
    if unknown := [name for name in caps if name not in classes]:
        raise DataError(f"data.balance: {no_class(unknown[0], classes)}")
    rows, labels = flat_labels(table)
    trained = splits[rows] == "train"
    rows, labels = rows[trained], labels[trained]
    counts = np.bincount(labels, minlength=len(classes))
    single = np.bincount(rows, minlength=len(table)) == 1
    warnings: list[str] = []
    measures = {"mean": float(np.mean(counts)), "median": float(np.median(counts)), "min": float(np.min(counts))}
    for name, cap in caps.items():
        number = classes.index(name)
        most = cap if isinstance(cap, int) else max(1, round(measures[cap]))
        removable = rows[(labels == number) & single[rows]]
        excess = max(int(counts[number]) - most, 0)
        if excess > len(removable):
            left = int(counts[number]) - len(removable)
            warnings.append(
                f"data.balance: {name} stays at {left} in train, above its cap of {most}: they have more labels"
            )
        stay[_generator(seed, number + 1).choice(removable, min(excess, len(removable)), replace=False)] = False
    return stay, tuple(warnings)


def limit(table: pa.Table, splits: npt.NDArray[np.str_], most: int, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows stay when each split may have at most `most` examples, in its proportion of classes: (N,) bool."""
    stay = np.zeros(len(table), dtype=bool)
    rows, labels = flat_labels(table)
    stratum = np.full(len(table), -1)
    common_first = np.argsort(-np.bincount(labels)[labels], kind="stable")
    stratum[rows[common_first]] = labels[common_first]  # the rarest label is written last
    shuffled = _generator(seed, 0).permutation(len(table))
    for name in SPLITS:
        members = shuffled[splits[shuffled] == name]
        place = np.zeros(len(members))
        for value in np.unique(stratum[members]):
            at = np.flatnonzero(stratum[members] == value)
            place[at] = (np.arange(len(at)) + 0.5) / len(at)
        stay[members[np.argsort(place, kind="stable")[:most]]] = True
    return stay


def _stratify(groups: Ints, rows: Ints, labels: Ints, fractions: npt.NDArray[np.float64]) -> Ints:
    """The target of each example, (N,).

    Args:
        groups: the group of each example, numbered in the (random) order in which to deal them, (N,).
        rows: the example of each label, (L,).
        labels: class numbers, (L,).
        fractions: of each target, adding up to 1.
    """
    num_groups, num_classes = int(groups.max()) + 1, int(labels.max(initial=0)) + 1
    pairs, how_many = np.unique(groups[rows] * num_classes + labels, return_counts=True)
    pair_group, pair_label = pairs // num_classes, pairs % num_classes
    totals = np.bincount(labels, minlength=num_classes)
    total, share = totals.tolist(), fractions.tolist()
    sizes = np.bincount(groups, minlength=num_groups).tolist()
    # Plain lists: the loop below looks at single numbers, where arrays are slow.
    wanted = [(fraction * totals).tolist() for fraction in fractions]
    room = (fractions * len(groups)).tolist()
    has = [[0] * num_classes for _ in fractions]
    remaining = np.bincount(pair_label, minlength=num_classes).tolist()
    of_group: list[list[tuple[int, int]]] = [[] for _ in range(num_groups)]
    for group, label, count in zip(pair_group.tolist(), pair_label.tolist(), how_many.tolist(), strict=True):
        of_group[group].append((label, count))
    largest_first = np.lexsort((pair_group, -how_many, pair_label))
    bounds = np.searchsorted(pair_label[largest_first], np.arange(num_classes + 1))
    members = [pair_group[largest_first[start:end]].tolist() for start, end in pairwise(bounds)]
    target = [-1] * num_groups
    every = range(len(fractions))

    def put(group: int, where: int) -> None:
        target[group] = where
        room[where] -= sizes[group]
        for label, count in of_group[group]:
            wanted[where][label] -= count
            has[where][label] += count
            remaining[label] -= 1

    def emptiest(group: int) -> int:
        """Where the group's classes are furthest from their share."""

        def emptiness(where: int) -> tuple[float, float]:
            lacks = sum(wanted[where][label] / total[label] for label, _ in of_group[group])
            return lacks / share[where], room[where] / share[where]

        return max(every, key=emptiness)

    waiting = {label for label in range(num_classes) if remaining[label]}
    while waiting:
        label = min(waiting, key=lambda each: (remaining[each], each))
        waiting.remove(label)
        for group in members[label]:
            if target[group] >= 0:
                continue
            without = [where for where in every if not has[where][label]]
            if remaining[label] <= len(without):
                put(group, without[0])  # the last chance that each target has one
            else:
                put(group, emptiest(group))
    for group in range(num_groups):
        if target[group] < 0:
            put(group, emptiest(group))
    return np.array(target)[groups]


def numbered(names: npt.NDArray[np.object_], seed: int) -> Ints:
    """A number for each name: the same for the same names and seed, whatever their order."""
    unique, numbers = np.unique(names.astype(str), return_inverse=True)
    return _generator(seed, 0).permutation(len(unique)).astype(np.int64)[numbers]


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


def _check_enough(rows: Ints, labels: Ints, groups: Ints, classes: Sequence[str], targets: Sequence[str]) -> None:
    pictures = np.bincount(np.unique(labels * (int(groups.max()) + 1) + groups[rows]) // (int(groups.max()) + 1))
    poor = [classes[number] for number, count in enumerate(pictures) if count == 1]
    if poor and "val" in targets:
        raise DataError(
            f"{'class' if len(poor) == 1 else 'classes'} {few_of(poor)}: only one image, but a class needs at "
            "least 2, one to train on and one to validate with: add images, or leave it out by listing the others "
            "in data.classes"
        )


def _lacking(table: pa.Table, classes: Sequence[str], splits: npt.NDArray[np.str_], wanted: set[str]) -> list[str]:
    rows, labels = flat_labels(table)
    warnings = []
    for split in (name for name in SPLITS if name in wanted):
        counts = np.bincount(labels[splits[rows] == split], minlength=len(classes))
        if absent := [name for name, count in zip(classes, counts, strict=True) if not count]:
            if split == "train":
                raise DataError(
                    f"no training example of {few_of(absent)}: all that there are fell to other splits "
                    "(the dataset's own, or with a few large groups the seed's: try another data.split.seed)"
                )
            warnings.append(f"{split} has no example of {few_of(absent)}")
    return warnings


def _torn(names: npt.NDArray[np.object_], splits: npt.NDArray[np.str_]) -> list[str]:
    first: dict[str, str] = {}
    torn = {name for name, split in zip(names, splits, strict=True) if first.setdefault(name, split) != split}
    if not torn:
        return []
    return [f"the dataset's own splits have {len(torn)} groups on two sides, such as {min(torn)}"]


def check_enough(num_train: int, num_val: int) -> None:
    """Whether there is enough to train on, and to judge trials by.

    Raises:
        DataError: there is not.
    """
    if num_train < 2 or num_val < 1:
        raise DataError(
            f"{num_train} example{'' if num_train == 1 else 's'} to train on and {num_val} to validate on: at least 2 "
            "and 1 are needed. Give more data, or change data.split"
        )


def no_class(name: str, classes: Sequence[str]) -> str:
    """Says that there is no class of this name, and which is meant perhaps."""
    folded = {each.casefold(): each for each in classes}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]}?)" if near else ""
    return f"no class {name!r}{hint}: the classes are {few_of(classes, 50)}"
