"""What `sweep init` finds in a folder: its dataset, as a sweep would read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from sweep_runner.cli.init_advice import copies, few_in_val
from sweep_runner.errors import RequestError
from sweep_runner.spec.explain import explain
from trainables.errors import DataError
from trainables.image.data.listing import list_examples
from trainables.image.data.splits import check_enough, divide
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Ambiguous, Listing, Recognised
from trainables.image.datasets.recognition import recognise
from trainables.image.index import flat_labels
from trainables.image.settings.data import DataSettings

_SHOWN = 10
_UNEQUAL = 3  # times
_NEARLY = 0.95  # of all images
_HOW_TO_SET = "`sweep init` takes keys of the data section, too: --set data.KEY=VALUE."

Choose = Callable[[tuple[Recognised, ...]], Recognised]


@dataclass(frozen=True)
class Found:
    """A folder's dataset.

    Attributes:
        root: the folder.
        reading: how it is read.
        view: of the data section.
        data: the data section, checked.
        views: that the dataset has.
        listing: its examples.
        counts: class → number of examples.
        warnings: what is probably not meant.
    """

    root: Path
    reading: Recognised
    view: str
    data: DataConfig
    views: tuple[str, ...]
    listing: Listing
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def section(self) -> dict[str, Any]:
        """The data section of a sweep file."""
        view = {} if self.view == "images" else {"view": self.view}
        return {"dataset": self.reading.dataset, "root": str(self.root), **self.reading.settings, **view}

    @property
    def unequal(self) -> bool:
        """Whether some class has many times the examples of another."""
        return min(self.counts.values()) * _UNEQUAL < max(self.counts.values())

    @property
    def said(self) -> str:
        """What was found, in one line for people."""
        counts = list(self.counts.items())
        shown = ", ".join(f"{name!r} {number}" for name, number in counts[:_SHOWN])
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        kind = "any number of labels per example" if self.listing.multilabel else "one label per example"
        return (
            f"{self.reading.found}\n{len(self.listing.table)} examples, {kind}, in {len(counts)} classes: {shown}{more}"
        )


def look(root: Path, choose: Choose | None, given: Mapping[str, Any]) -> Found:
    """Recognises and lists what lies in a folder, as a sweep would.

    Args:
        root: the folder, or one file.
        choose: asks which of several readings is meant; None: nobody is there.
        given: keys of the data section.

    Raises:
        RequestError: there is nothing, nothing that is known, or not enough to train on; or several readings are
            possible and nobody can be asked.
    """
    if not root.exists():
        raise RequestError(f"{root}: no such folder", hint="Give the folder of your images.")
    try:
        DataSettings.model_validate(given)
        try:
            reading = recognise(root, given)
        except Ambiguous as question:
            if choose is None:
                raise
            reading = choose(question.readings)
        return _listed(root, replace(reading, settings={**reading.settings, **given}))
    except DataError as error:
        asks = re.search(r"\bdata\.(?!root\b)[a-z]", str(error))
        raise RequestError(str(error), hint=_HOW_TO_SET if asks else "") from error
    except ValidationError as error:
        problems = explain(error, raw=given, where=lambda _: "--set", model=DataConfig, at=("data",))
        raise RequestError(problems) from error


def _listed(root: Path, reading: Recognised) -> Found:
    from trainables.image.datasets import dataset_class

    given = reading.settings.get("view")
    views = (given,) if given else reading.views or dataset_class(reading.dataset).views
    first: DataError | None = None
    for view in views if given else [view for view in views if view in ("images", "crops")]:
        section = {**reading.settings, "dataset": reading.dataset, "root": str(root), "view": view}
        data = DataConfig.model_validate(section)
        try:
            listing = list_examples(data)
        except DataError as error:
            # Pictures that all show the same one class may still hold objects to tell apart.
            first = first or error
            continue
        division = divide(listing.table, listing.classes, data.split)
        try:
            check_enough(*(int((division.splits == split).sum()) for split in ("train", "val")))
        except DataError as error:
            first = first or error
            continue
        numbers = np.bincount(flat_labels(listing.table)[1], minlength=len(listing.classes))
        counts = dict(zip(listing.classes, numbers.tolist(), strict=True))
        defects = (
            (f"{len(listing.defects)} cannot be used, for example {listing.defects[0]}",) if listing.defects else ()
        )
        everywhere = _in_every_example(counts, len(listing.table), "crops" in views and view == "images")
        in_val = _in_val(listing, division.splits)
        few = (said,) if (said := few_in_val(in_val)) else ()
        leaks = copies(listing, division.splits, data)
        warnings = (*listing.warnings, *division.warnings, *defects, *everywhere, *few, *leaks)
        return Found(root, reading, view, data, views, listing, counts, warnings)
    assert first is not None, "a dataset has at least one view"
    raise first


def _in_val(listing: Listing, splits: npt.NDArray[np.str_]) -> dict[str, int]:
    """How many examples of each class are in val."""
    rows, labels = flat_labels(listing.table)
    numbers = np.bincount(labels[splits[rows] == "val"], minlength=len(listing.classes))
    return dict(zip(listing.classes, numbers.tolist(), strict=True))


def _in_every_example(counts: Mapping[str, int], num_examples: int, has_objects: bool) -> tuple[str, ...]:
    """Warnings about labels that (nearly) every image has; crops of the objects can still be classified."""
    advice = "; view: crops classifies the annotated objects instead" if has_objects else ""
    every = [repr(name) for name, count in counts.items() if count == num_examples]
    nearly = {name: count for name, count in counts.items() if _NEARLY * num_examples <= count < num_examples}
    warnings = []
    if every:
        labels = f"label{'s' if len(every) > 1 else ''} {', '.join(every)}"
        warnings.append(f"every image has the {labels}: nothing to learn there{advice}")
    if nearly:
        listed = ", ".join(f"{name!r} ({count})" for name, count in nearly.items())
        labels = f"the label{'s' if len(nearly) > 1 else ''} {listed}"
        warnings.append(
            f"nearly all of {num_examples} images have {labels}: a model that always says so is right in most{advice}"
        )
    return tuple(warnings)
