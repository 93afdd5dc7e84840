"""Cross-validation: divides all but test into folds, stratified and by groups as the splits are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.data.resplit import resplit
from trainables.image.data.splits import Ints, numbered
from trainables.image.data_config import DataConfig
from trainables.image.index import FOLDS, ImageIndex, flat_labels
from trainables.image.settings.split import Split


@dataclass(frozen=True)
class Folds:
    """Which example is in which fold.

    Attributes:
        numbers: from 0, a column per repetition; -1 for what is test, (N, repeats).
        warnings: classes that some folds lack.
    """

    numbers: Ints
    warnings: tuple[str, ...] = ()

    def column(self) -> pa.Array:
        """As `ImageIndex` has it."""
        return pa.array([row if row[0] >= 0 else None for row in self.numbers.tolist()], pa.list_(pa.int32()))


def cut_into_folds(table: pa.Table, classes: Sequence[str], split: Split) -> Folds:
    """Cuts what is not test into `split.folds` parts of about the same size and class shares; no group is in two.

    Args:
        table: rows as in `SCHEMA`, with their splits: train and test.
        classes: the class names.
        split: how to cut.

    Raises:
        DataError: fewer groups than folds, or a class that a fold's train part would lack.
    """
    assert split.folds is not None
    pool = np.flatnonzero(np.array(table["split"].to_pylist()) == "train")
    some = table.take(pa.array(pool))
    names = np.array(some["example" if split.group_by == "none" else "group"].to_pylist(), dtype=object)
    if (num_groups := len(set(names.tolist()))) < split.folds:
        raise DataError(
            f"data.split.folds is {split.folds}, and beside test there are {num_groups} groups of images (a group is "
            f"never in two folds): set folds to at most {num_groups}, or give more images"
        )
    rows, labels = flat_labels(some)
    warnings = _too_few(rows, labels, names, classes, split.folds)
    strata = (rows, labels) if split.stratify else (np.arange(len(pool)), np.zeros(len(pool), dtype=np.int64))
    numbers = np.full((len(table), split.repeats), -1, dtype=np.int64)
    for repeat in range(split.repeats):
        groups = numbered(names, split.seed + repeat)
        numbers[pool, repeat] = _deal(groups, *strata, split.folds)
        _check(numbers[pool, repeat], rows, labels, classes, split.folds)
    return Folds(numbers, warnings)


def _deal(groups: Ints, rows: Ints, labels: Ints, folds: int) -> Ints:
    """The fold of each example, (N,): groups go one by one to where class counts and sizes stay most even.

    As scikit-learn's StratifiedGroupKFold: those that weigh most go first, each to the fold that makes the spread over
    the folds of each class's share least. Here it is the variances that are added up, so that only the group's own
    classes are looked at; and an example may have any number of labels. All examples count as one more class.

    Args:
        groups: the group of each example, numbered in the (random) order in which to deal those that weigh the same.
        rows: the example of each label, (L,).
        labels: class numbers, (L,).
        folds: how many.
    """
    num_groups, num_classes = int(groups.max()) + 1, int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(groups[rows] * num_classes + labels, return_counts=True)
    of_group: list[list[tuple[int, int]]] = [[(num_classes, size)] for size in np.bincount(groups).tolist()]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        of_group[pair // num_classes].append((pair % num_classes, count))
    totals = [*np.bincount(labels, minlength=num_classes).tolist(), len(groups)]
    weights = [1 / max(1, total) ** 2 for total in totals]
    weighs = [sum(count * count * weights[label] for label, count in group) for group in of_group]
    has = [[0] * (num_classes + 1) for _ in range(folds)]
    chosen = np.empty(num_groups, dtype=np.int64)
    for number in sorted(range(num_groups), key=lambda number: (-weighs[number], number)):
        # Wherever it goes the means stay the same: of the sums of squares this is what differs.
        spread = [sum(held[label] * count * weights[label] for label, count in of_group[number]) for held in has]
        fold = spread.index(min(spread))
        chosen[number] = fold
        for label, count in of_group[number]:
            has[fold][label] += count
    return chosen[groups]


def fold_view(index: ImageIndex, number: int, data: DataConfig) -> ImageIndex:
    """The index as one model of a trial sees it: one fold is val, the others are train.

    Args:
        index: with folds.
        number: of the model, from 0 to `index.num_folds` - 1.
        data: as in the sweep file; caps of `balance` are counted in this train alone.
    """
    assert data.split.folds is not None
    repeat, fold = divmod(number, data.split.folds)
    folds = fold_numbers(index)[:, repeat]
    splits = np.where(folds < 0, "test", np.where(folds == fold, "val", "train"))
    return resplit(index, splits, data, f"fold {number + 1}")


def fold_numbers(index: ImageIndex) -> Ints:
    """The fold of each example from 0, a column per repetition; -1 for what is test, (N, repeats)."""
    column = index.table[FOLDS].combine_chunks()
    test = column.is_null().to_numpy(zero_copy_only=False)
    numbers = np.full((len(test), index.num_repeats), -1, dtype=np.int64)
    numbers[~test] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, index.num_repeats)
    return numbers


def check_folds_left(index: ImageIndex, data: DataConfig) -> None:
    """Whether every fold still has examples, and its train part every class, after unreadable ones were taken out.

    Raises:
        DataError: not so.
    """
    assert data.split.folds is not None
    numbers = fold_numbers(index)
    pool = np.flatnonzero(numbers[:, 0] >= 0)
    rows, labels = flat_labels(index.table.take(pa.array(pool)))
    for column in numbers[pool].T:
        _check(column, rows, labels, index.classes, data.split.folds)


def _too_few(
    rows: Ints, labels: Ints, names: npt.NDArray[np.object_], classes: Sequence[str], folds: int
) -> tuple[str, ...]:
    """Says which classes have fewer groups than there are folds.

    Raises:
        DataError: one has a single group, which would be either trained on or validated with.
    """
    groups = [len(set(names[rows[labels == number]].tolist())) for number in range(len(classes))]
    if single := [name for name, count in zip(classes, groups, strict=True) if count == 1]:
        raise DataError(
            f"{'class' if len(single) == 1 else 'classes'} {few_of(single)}: beside test there is one image (or "
            "group), and where it is val no model could learn it. Add images, or leave it out by listing the others "
            "in data.classes"
        )
    few = [f"{name} {count}" for name, count in zip(classes, groups, strict=True) if 1 < count < folds]
    if not few:
        return ()
    return (
        f"fewer images (or groups) than the {folds} folds: {few_of(few)}. Folds without an example of a class are "
        f"evaluated on the other classes",
    )


def _check(numbers: Ints, rows: Ints, labels: Ints, classes: Sequence[str], folds: int) -> None:
    sizes = np.bincount(numbers, minlength=folds)
    if not sizes.all():
        raise DataError(
            f"data.split.folds is {folds}, and fold {int(sizes.argmin()) + 1} would be empty: the examples lie in few "
            "large groups. Set fewer folds"
        )
    for fold in range(folds):
        trained = np.bincount(labels[numbers[rows] != fold], minlength=len(classes))
        if absent := [name for name, count in zip(classes, trained, strict=True) if not count]:
            raise DataError(
                f"no example of {few_of(absent)} outside of fold {fold + 1}: its model could not learn it. Try "
                "another data.split.seed or fewer folds, or leave the class out with data.classes"
            )
