"""A model package checked against labelled data of any kind: the same figures and tables as at the end of a sweep."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from trainables.contract import Evaluation, Progress, no_progress
from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.data.listing import read_listing
from trainables.image.data.prepare import INDEX_FILE, prepare_images
from trainables.image.data.readable import read_all
from trainables.image.data_config import DataConfig
from trainables.image.example import Defect, Listing
from trainables.image.index import ImageIndex
from trainables.image.measures.scores import score
from trainables.image.package import Package, PackageFacts
from trainables.image.pixels.examples import open_pixels

ALL = "all"
Unknown = Literal["fail", "apart"]
"""What examples of classes that the model lacks do: fatal, or counted apart from the figures."""

BATCH_SIZE = 32
_SMALLEST = 1e-12  # a probability of exactly 0 or 1 would be an infinite logit
_SHOWN = 10


@dataclass(frozen=True)
class PackageScores:
    """What came out.

    Attributes:
        split: that was evaluated; `all` for every example.
        evaluation: with the model's classes.
        absent: classes of the model that no example has.
        unknown: classes of the data that the model lacks → how many examples have them.
        taken_for: what single-label examples of unknown classes were taken for: (class, predicted) → how many.
        defects: what could not be read.
        warnings: about the data.
        fingerprint: of the data as a sweep divides it; empty where it was not divided.
    """

    split: str
    evaluation: Evaluation
    absent: tuple[str, ...]
    unknown: Mapping[str, int]
    taken_for: Mapping[tuple[str, str], int]
    defects: tuple[Defect, ...]
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""


def evaluate_package(
    package: Package,
    data: DataConfig,
    split: str | None = None,
    *,
    unknown: Unknown = "fail",
    num_threads: int = 1,
    progress: Progress = no_progress,
) -> PackageScores:
    """Scores an exported model on labelled data. Classes are matched by name, whatever their order.

    Args:
        package: the model.
        data: the dataset, as in a sweep file.
        split: `train`, `val` or `test`, divided exactly as in a sweep; `all` for every example there is; None for the
            test split if the dataset itself has one, else all.
        unknown: what examples of classes do that the model lacks.
        num_threads: that decode pictures.
        progress: told of files read.

    Raises:
        DataError: the data cannot be used, or is not for this model.
    """
    facts = package.facts
    data = as_trained(data, facts)
    index, defects, warnings, split, fingerprint = _examples(data, split, num_threads, progress)
    if index.multilabel != facts.multilabel:
        kinds = ("exactly one class", "any number of labels")
        view = facts.origin.get("view", "images")
        hint = (
            f". The model was trained with data.view: {view}: add --set data.view={view}" if view != data.view else ""
        )
        raise DataError(
            f"the model gives each example {kinds[facts.multilabel]}, and {data.dataset} has {kinds[index.multilabel]} "
            f"per example: they cannot be compared{hint}"
        )
    labels: list[list[str]] = [[index.classes[label] for label in row] for row in index.table["labels"].to_pylist()]
    known = set(facts.classes)
    lacking = Counter(name for row in labels for name in row if name not in known)
    if lacking and unknown == "fail":
        raise DataError(_lacking(lacking, facts.classes))
    # An example of labels is judged by those that the model knows; of one class, by that class.
    judged = np.array([facts.multilabel or row[0] in known for row in labels], dtype=bool)
    if not judged.any():
        raise DataError(
            f"no example has a class of the model: it knows {few_of(facts.classes, _SHOWN)}, and the data has "
            f"{few_of(sorted(lacking), _SHOWN) or 'none'}"
        )
    probabilities = _probabilities(package, index, data, num_threads, progress)
    position = {name: number for number, name in enumerate(facts.classes)}
    targets = _targets([labels[row] for row in np.flatnonzero(judged)], position, facts.multilabel)
    evaluation = score(
        split,
        index.table["example"].filter(pa.array(judged)).to_pylist(),
        targets,
        _logits(probabilities[judged], facts.multilabel),
        facts.classes,
        facts.multilabel,
        torch.from_numpy(facts.thresholds.copy()),
        index.table["group"].filter(pa.array(judged)).to_pylist(),
    )
    if split == "val" and "val" in facts.origin.get("refit", {}).get("splits", ()):
        warnings = (
            *warnings,
            "the model was trained on train and val of its own data: its metrics there are too optimistic",
        )
    present = {name for row in labels for name in row}
    apart = np.flatnonzero(~judged)
    return PackageScores(
        split=split,
        evaluation=evaluation,
        absent=tuple(name for name in facts.classes if name not in present),
        unknown=dict(sorted(lacking.items())),
        taken_for=Counter((labels[row][0], facts.classes[int(probabilities[row].argmax())]) for row in apart),
        defects=defects,
        warnings=warnings,
        fingerprint=fingerprint,
    )


def as_trained(data: DataConfig, facts: PackageFacts) -> DataConfig:
    """The data, read as the model's training read its own, in what the request does not say."""
    rule, said = facts.rule, data.model_fields_set
    # A range that was found in one data set holds for another only by being written down.
    trained = {"bands": rule.bands, "value_range": rule.found if rule.value_range == "auto" else rule.value_range}
    changes: dict[str, object] = {key: value for key, value in trained.items() if value and key not in said}
    if data.dataset == "image_table" and data.table is not None and data.table.kind == "auto":
        # Pictures that happen to have one label each are judged by a model of labels all the same, and the reverse.
        changes["table"] = data.table.model_copy(update={"kind": "multi" if facts.multilabel else "single"})
    return data.model_copy(update=changes)


def _examples(
    data: DataConfig, split: str | None, num_threads: int, progress: Progress
) -> tuple[ImageIndex, tuple[Defect, ...], tuple[str, ...], str, str]:
    """The readable examples of a split, what could not be read, warnings, the split's name, the data's fingerprint."""
    if split in (None, ALL):
        listing = read_listing(data, progress)
        table = listing.table
        given = np.array(table["split"].to_pylist()) == "test"
        if split is None and given.any():
            return *_readable(table.filter(pa.array(given)), listing, data, num_threads, progress), "test", ""
        return *_readable(table, listing, data, num_threads, progress), ALL, ""
    assert split is not None
    with tempfile.TemporaryDirectory(prefix="sweep-evaluate-") as folder:
        # The very way of a sweep, so that it is the very same split.
        preparation = prepare_images(data, Path(folder), [], num_threads=num_threads, progress=progress)
        index = ImageIndex.load(Path(folder) / INDEX_FILE)
        rows = index.rows(split)
        if not len(rows):
            why = ": with folds each example is val once" if split == "val" and data.split.folds else ""
            raise DataError(f"the data has no {split} split{why}. Choose another one, or {ALL} for every example")
        table = index.table.take(pa.array(rows))  # a copy in memory: the file goes with its folder
    # What is unreadable is in the warnings.
    return (
        ImageIndex(table, index.classes, index.multilabel, ""),
        (),
        preparation.warnings,
        split,
        preparation.fingerprint,
    )


def _readable(
    table: pa.Table, listing: Listing, data: DataConfig, num_threads: int, progress: Progress
) -> tuple[ImageIndex, tuple[Defect, ...], tuple[str, ...]]:
    reading = read_all(table, data, [], num_threads, progress)
    defects = (*listing.defects, *reading.defects)
    if defects and data.on_unreadable == "fail":
        raise DataError(f"data.on_unreadable: fail, and {len(defects)} cannot be used, the first: {defects[0]}")
    if not len(reading.good_rows):
        raise DataError(f"data: no example can be used{f', the first: {defects[0]}' if defects else ''}")
    good = table.take(pa.array(reading.good_rows))
    return ImageIndex(good, listing.classes, listing.multilabel, ""), defects, reading.warnings


def _probabilities(
    package: Package, index: ImageIndex, data: DataConfig, num_threads: int, progress: Progress
) -> npt.NDArray[np.float32]:
    """The exported model's output for every example, (N, classes)."""
    facts = package.facts
    # Each picture is looked at once: nothing is worth keeping.
    uncached = data.model_copy(update={"cache_limit_bytes": 0})
    pixels = open_pixels(index, uncached, facts.input_resolution, facts.channels, num_threads, fit=facts.fit)
    found = []
    with contextlib.closing(pixels):
        for start in range(0, len(index.table), BATCH_SIZE):
            rows = np.arange(start, min(start + BATCH_SIZE, len(index.table)))
            found.append(package.probabilities(pixels.gather(rows)))
            progress("evaluating", int(rows[-1]) + 1, len(index.table))
    return np.concatenate(found)


def _targets(labels: Sequence[Sequence[str]], position: Mapping[str, int], multilabel: bool) -> npt.NDArray[np.generic]:
    """As `ImageIndex.targets`, in the model's classes."""
    if not multilabel:
        return np.array([position[name] for (name,) in labels], dtype=np.int64)
    targets = np.zeros((len(labels), len(position)), dtype=np.float32)
    for row, names in enumerate(labels):
        targets[row, [position[name] for name in names if name in position]] = 1.0
    return targets


def _logits(probabilities: npt.NDArray[np.float32], multilabel: bool) -> npt.NDArray[np.float64]:
    """What gives these probabilities; in float64, so that they come out again to the last digit."""
    exact = probabilities.astype(np.float64).clip(_SMALLEST, 1 - _SMALLEST if multilabel else 1.0)
    logits: npt.NDArray[np.float64] = np.log(exact) - np.log1p(-exact) if multilabel else np.log(exact)
    return logits


def _lacking(lacking: Mapping[str, int], classes: Sequence[str]) -> str:
    lines = []
    for name, count in sorted(lacking.items())[:_SHOWN]:
        near = difflib.get_close_matches(name, classes, n=1, cutoff=0.75)
        plural = "s" if count > 1 else ""
        lines.append(f"  {name}: {count} example{plural}" + (f" (the model has {near[0]!r})" if near else ""))
    more = f"\n  and {len(lacking) - _SHOWN} more classes" if len(lacking) > _SHOWN else ""
    return (
        f"the model lacks {len(lacking)} of the data's classes:\n" + "\n".join(lines) + more + "\n"
        f"  Its classes: {few_of(classes, _SHOWN)}. Leave the others out of the metrics (--unknown-classes apart), "
        f"rename them (--set 'data.rename_classes={{OLD: NEW}}'), or choose the classes to use "
        f"(--set data.classes=[...])"
    )
