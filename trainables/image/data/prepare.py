"""From a dataset to an index on disk: list, divide, balance, decode every picture once, leave out unreadable ones."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.contract import Preparation, Progress, no_progress
from trainables.cpus import num_cpus
from trainables.errors import DataError
from trainables.image.data.balancing import class_weights
from trainables.image.data.folds import check_folds_left, cut_into_folds, fold_numbers
from trainables.image.data.listing import defect_lines, list_examples
from trainables.image.data.near_duplicates import (
    QUICK,
    QUICK_TO_DECODE,
    NearDuplicates,
    duplicate_warnings,
    find_near_duplicates,
    num_to_hash,
    remember_hashes,
)
from trainables.image.data.readable import Reading, read_all
from trainables.image.data.splits import balance, divide, limit
from trainables.image.data_config import DataConfig
from trainables.image.example import Defect, Listing
from trainables.image.index import FOLDS, SPLITS, ImageIndex, flat_labels
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.perceptual_hash import MIN_SIDE
from trainables.image.pixels.pictures import DIGEST, Target

INDEX_FILE = "index.arrow"
_SHOWN = 10  # classes, defects


def prepare_images(
    data: DataConfig,
    folder: Path,
    resolutions: Sequence[int],
    channels: Sequence[int] = (3,),
    fits: Iterable[Fit] = (SQUASH,),
    num_threads: int | None = None,
    progress: Progress = no_progress,
    look_for_duplicates: Literal["no", "if quick", "yes"] = "no",
    listing: Listing | None = None,
) -> Preparation:
    """Writes `folder/index.arrow` and fills the node's cache of decoded pixels.

    Examples are divided, balanced and limited first; then those that are used are read, and unreadable ones are left
    out of whatever split they are in. So a file that breaks moves no other example to another split.

    A second run over unchanged files decodes nothing.

    Args:
        data: the sweep file's data section.
        folder: where the index goes; it must exist.
        resolutions: to decode to now; others are decoded when a trial asks for them.
        channels: 3 for RGB, 1 for grey, or both.
        fits: how pictures become squares, each way that is asked for.
        num_threads: to decode with; by default as many as there are CPUs.
        progress: told of files read.
        look_for_duplicates: also when `data.split.group_by` does not ask for it. `if quick`: among photos that are not
            too many to compare, and are read now or were hashed before, but for a few; the summary says so where they
            were not looked for.
        listing: what `list_examples` gave, where it was called before.

    Returns:
        The fingerprint of the index, what to show of it, and as `details`: `classes`, `multilabel`, `examples` (split
        to count), `class_counts` (class to split to count), `balanced` (class to its count in train before and after),
        `class_weights` (class to weight, if they are asked for), `near_duplicates` (groups of names, if they were
        looked for) among so many pictures (`near_duplicates_among`), `defects` (name to reason), `picture_sizes`,
        `notes`, `lost_classes` (no file of theirs is read), `pixels` (resolution to where they are).

    Raises:
        DataError: the data is not there, or cannot be used as asked.
    """
    listing = listing or list_examples(data, progress)
    num_threads = num_threads or num_cpus()
    grouped = data.split.group_by == "near_duplicates"
    duplicates = None
    if grouped:
        duplicates = find_near_duplicates(listing.table, data, num_threads, progress)
    division = divide(_regrouped(listing.table, duplicates) if grouped else listing.table, listing.classes, data.split)
    stay, unbalanced = balance(listing.table, division.splits, listing.classes, data.balance.caps, data.split.seed)
    balanced = _balanced(listing, division.splits, stay)
    if data.split.folds is not None:
        stay[:] = True  # what a cap leaves out of a fold's train part is in another's val
    if data.limit is not None:
        kept = np.flatnonzero(stay)
        stay[kept] = limit(listing.table.take(pa.array(kept)), division.splits[kept], data.limit, data.split.seed)
    splits = pa.array(division.splits.tolist(), type=pa.string())
    table = _with_column(listing.table, "split", splits)
    table = table.filter(pa.array(stay))
    cut = None
    if data.split.folds is not None:
        groups = pa.array(duplicates.groups).filter(pa.array(stay)) if grouped and duplicates else table["group"]
        cut = cut_into_folds(_with_column(table, "group", groups), listing.classes, data.split)
        table = table.append_column(FOLDS, cut.column())

    sides, depths = sorted(set(resolutions)), sorted(set(channels))
    targets = list(dict.fromkeys(itertools.starmap(Target, itertools.product(sides, depths, fits))))
    many = len(listing.table) > QUICK
    with_hashes = not grouped and (look_for_duplicates == "yes" or (look_for_duplicates == "if quick" and not many))
    reading = read_all(table, data, targets, num_threads, progress, with_hashes)
    defects = (*listing.defects, *reading.defects)
    if defects and data.on_unreadable == "fail":
        raise DataError(
            f"data.on_unreadable: fail, and {len(defects)} cannot be used:{defect_lines(defects)}\n"
            "  Repair or remove them, or skip them: --set data.on_unreadable=skip"
        )
    not_looked = ""
    if with_hashes:
        remember_hashes(reading.pictures, reading.facts, data)
    if look_for_duplicates == "yes" and not grouped:
        duplicates = find_near_duplicates(listing.table, data, num_threads, progress)
    elif look_for_duplicates == "if quick" and not grouped and reading.sizes:
        if min(reading.sizes["width"][0], reading.sizes["height"][0]) < MIN_SIDE:
            not_looked = f"not looked for: images of fewer than {MIN_SIDE} pixels look alike without being copies"
        elif many:
            not_looked = (
                f"not looked for among {reading.sizes['count']:,} images, more than {QUICK:,}: sweep data check does"
            )
        elif (unknown := num_to_hash(listing.table, data)) > QUICK_TO_DECODE:
            not_looked = (
                f"not looked for among {reading.sizes['count']:,} images: {unknown:,} would be decoded for it, more "
                f"than {QUICK_TO_DECODE:,}; sweep data check does"
            )
        else:
            duplicates = find_near_duplicates(listing.table, data, num_threads, progress)
    table = table.take(pa.array(reading.good_rows)).append_column(DIGEST, pa.array(reading.digests, pa.string()))
    check_left(table, listing, {*division.splits.tolist()}, defects)
    index = ImageIndex(
        table,
        listing.classes,
        listing.multilabel,
        fingerprint(table, reading.pixels_fingerprint, listing.classes, listing.multilabel),
        reading.pixels_fingerprint,
        reading.rule.found,
    )
    if cut is not None:
        check_folds_left(index, data)
    index.save(folder / INDEX_FILE)
    warnings = [*listing.warnings, *division.warnings, *(cut.warnings if cut else ()), *unbalanced, *reading.warnings]
    if duplicates is not None:
        warnings += duplicate_warnings(duplicates, listing.table, division.splits, kept_together=grouped)
    if defects:
        warnings.insert(0, f"{len(defects)} left out because they cannot be used:{defect_lines(defects)}")
    details = _details(index, listing, reading, balanced, defects)
    if data.balance.strategy == "class_weights":
        weights = class_weights(index, data.balance.power)
        details["class_weights"] = {
            name: float(f"{weight:.4g}") for name, weight in zip(index.classes, weights, strict=True)
        }
    if duplicates is not None:
        details["near_duplicates"] = [list(names) for names in duplicates.pictures]
        details["near_duplicates_among"] = duplicates.num_pictures
    return Preparation(index.fingerprint, _summary(data, details, not_looked), tuple(warnings), details)


def check_left(table: pa.Table, listing: Listing, splits: set[str], defects: Sequence[Defect]) -> None:
    """Whether enough is left after unreadable examples were taken out.

    Raises:
        DataError: a split is empty, or train lacks a class.
    """
    if not len(table):
        raise DataError(f"data: none of the {len(listing.table)} examples can be read:{defect_lines(defects)}")
    left = np.array(table["split"].to_pylist())
    for split in sorted(splits - set(left.tolist())):
        raise DataError(f"data: no readable example is left in {split}:{defect_lines(defects)}")
    rows, labels = flat_labels(table)
    trained = np.bincount(labels[left[rows] == "train"], minlength=len(listing.classes))
    if absent := [name for name, count in zip(listing.classes, trained, strict=True) if not count]:
        reason = defect_lines(defects) or "\n  raise data.limit, or leave the class out with data.classes"
        raise DataError(f"data: no example of class {', '.join(absent[:_SHOWN])} is left in train:{reason}")


def fingerprint(table: pa.Table, pixels_fingerprint: str, classes: Sequence[str], multilabel: bool) -> str:
    """Names everything that a result depends on: pixels, names, labels, splits and classes. Not where files lie."""
    state = hashlib.blake2b(repr((pixels_fingerprint, tuple(classes), multilabel)).encode(), digest_size=16)
    named = ("example", "labels", "split", *([FOLDS] if FOLDS in table.column_names else []))
    for row in zip(*(table[name].to_pylist() for name in named), strict=True):
        state.update(repr(row).encode())
    return state.hexdigest()


def _regrouped(table: pa.Table, duplicates: NearDuplicates | None) -> pa.Table:
    assert duplicates is not None
    return _with_column(table, "group", pa.array(duplicates.groups, type=pa.string()))


def _with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def _balanced(listing: Listing, splits: npt.NDArray[np.str_], stay: npt.NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    rows, labels = flat_labels(listing.table)
    trained = splits[rows] == "train"
    before = np.bincount(labels[trained], minlength=len(listing.classes))
    after = np.bincount(labels[trained & stay[rows]], minlength=len(listing.classes))
    counts = zip(listing.classes, before.tolist(), after.tolist(), strict=True)
    return {name: {"before": old, "after": new} for name, old, new in counts if old != new}


def _details(
    index: ImageIndex,
    listing: Listing,
    reading: Reading,
    balanced: Mapping[str, Mapping[str, int]],
    defects: Sequence[Defect],
) -> dict[str, Any]:
    rows, labels = flat_labels(index.table)
    splits = np.array(index.table["split"].to_pylist())
    present = [split for split in SPLITS if (splits == split).any()]
    by_split = {
        split: np.bincount(labels[splits[rows] == split], minlength=len(index.classes)).tolist() for split in present
    }
    numbers = fold_numbers(index) if index.num_folds else np.empty((0, 0))
    return {
        "classes": list(index.classes),
        "multilabel": index.multilabel,
        **({"folds": [np.bincount(one[one >= 0]).tolist() for one in numbers.T]} if index.num_folds else {}),
        "examples": {split: int((splits == split).sum()) for split in present},
        "class_counts": {
            name: {split: by_split[split][number] for split in present} for number, name in enumerate(index.classes)
        },
        "balanced": balanced,
        "defects": {defect.name: defect.reason for defect in defects},
        "picture_sizes": reading.sizes,
        "notes": [*listing.notes, *reading.notes],
        "lost_classes": list(listing.lost_classes),
        "pixels": {str(target): place for target, place in reading.places.items()},
    }


def _summary(data: DataConfig, details: Mapping[str, Any], not_looked: str) -> dict[str, str]:
    kind = "any number of labels per example" if details["multilabel"] else "one label per example"
    classes = details["classes"]
    names = ", ".join(classes[:_SHOWN]) + (", …" if len(classes) > _SHOWN else "")
    view = "" if data.view == "images" else f", view {data.view}"
    summary = {
        "data": f"{data.dataset}{view}{'' if data.root is None else f' in {data.root}'}",
        **({"recognised": data.found} if data.found else {}),
        "classes": f"{len(classes)} ({names}), {kind}",
    }
    for split, count in details["examples"].items():
        summary[split] = f"{count} examples ({_counts({k: v[split] for k, v in details['class_counts'].items()})})"
    if "folds" in details:
        sizes = [size for repeat in details["folds"] for size in repeat]
        size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        times = f", cut in {len(details['folds'])} ways" if len(details["folds"]) > 1 else ""
        summary["folds"] = (
            f"train is cut into {len(details['folds'][0])} of {size} examples{times}; each is "
            f"val in turn: a trial trains {len(sizes)} models"
        )
    if details["balanced"]:
        capped = (f"{name} {count['before']} → {count['after']}" for name, count in details["balanced"].items())
        summary["balance"] = "in train: " + ", ".join(itertools.islice(capped, _SHOWN))
    if "class_weights" in details:
        weights = (f"{name} {weight:g}" for name, weight in details["class_weights"].items())
        summary["class weights"] = ", ".join(itertools.islice(weights, _SHOWN))
    if data.balance.strategy == "sampler":
        summary["sampler"] = f"rare classes are drawn more often (count to the power of -{data.balance.power:g})"
    if "near_duplicates" in details:
        groups = details["near_duplicates"]
        among = f"{details['near_duplicates_among']:,} images"
        summary["near-duplicates"] = f"none among {among}"
        if groups:
            counts = f"{sum(map(len, groups)):,} of {among}, in {_of_groups(len(groups))}"
            summary["near-duplicates"] = f"{counts}, such as {', '.join(groups[0][:3])}"
    elif not_looked:
        summary["near-duplicates"] = not_looked
    sizes = details["picture_sizes"]
    if sizes:
        summary["images"] = (
            "{count}, {width[0]}×{height[0]} to {width[2]}×{height[2]}, median {width[1]}×{height[1]}".format(**sizes)
        )
    if details["defects"]:
        summary["left out"] = f"{len(details['defects'])} that cannot be used"
    if details["notes"]:
        summary["notes"] = "; ".join(details["notes"][:_SHOWN])
    if details["pixels"]:
        summary["pixels"] = ", ".join(f"{size}: {place}" for size, place in details["pixels"].items())
    return summary


def _of_groups(number: int) -> str:
    return f"{number:,} group{'' if number == 1 else 's'}"


def _counts(counts: Mapping[str, int]) -> str:
    if len(counts) <= _SHOWN:
        return ", ".join(f"{name} {count}" for name, count in counts.items())
    low, high = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    return f"{counts[low]} of {low} to {counts[high]} of {high}"
