"""What `sweep init` finds: a folder's dataset, and the weights that trials can start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweep_runner.errors import RequestError
from trainables.errors import DataError
from trainables.image.data.listing import list_examples
from trainables.image.data.splits import divide
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Ambiguous, Listing, Recognised
from trainables.image.datasets.recognition import recognise
from trainables.image.index import flat_labels

PRETRAINED = ("mobilenetv3_large_100", "resnet18", "efficientnet_b0")
"""Tried first where weights can be fetched: small, and good for their size."""

FROM_SCRATCH = ("simple_cnn3", "cnn4", "resnet18")
_MOST_MODELS = 4
_SHOWN = 10

Choose = Callable[[tuple[Recognised, ...]], Recognised]


@dataclass(frozen=True)
class Found:
    """A folder's dataset.

    Attributes:
        root: the folder.
        reading: how it is read.
        view: of the data section.
        views: that the dataset has.
        listing: its examples.
        counts: class → number of examples.
        warnings: what is probably not meant.
    """

    root: Path
    reading: Recognised
    view: str
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
    def said(self) -> str:
        """What was found, in one line for people."""
        counts = list(self.counts.items())
        shown = ", ".join(f"{name!r} {number}" for name, number in counts[:_SHOWN])
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        kind = "any number of labels each" if self.listing.multilabel else "one label each"
        return (
            f"{self.reading.found}\n{len(self.listing.table)} examples, {kind}, in {len(counts)} classes: {shown}{more}"
        )


def look(root: Path, choose: Choose | None) -> Found:
    """Recognises and lists what lies in a folder, as a sweep would.

    Args:
        root: the folder, or one file.
        choose: asks which of several readings is meant; None: nobody is there.

    Raises:
        RequestError: there is nothing, nothing that is known, or not enough to train on; or several readings are
            possible and nobody can be asked.
    """
    if not root.exists():
        raise RequestError(f"{root}: no such folder", hint="Name the folder of your images.")
    try:
        try:
            reading = recognise(root)
        except Ambiguous as question:
            if choose is None:
                raise
            reading = choose(question.readings)
        return _listed(root, reading)
    except DataError as error:
        raise RequestError(str(error)) from error


def _listed(root: Path, reading: Recognised) -> Found:
    from trainables.image.datasets import dataset_class

    views = reading.views or dataset_class(reading.dataset).views
    first: DataError | None = None
    for view in [view for view in views if view in ("images", "crops")]:
        section = {**reading.settings, "dataset": reading.dataset, "root": str(root), "view": view}
        data = DataConfig.model_validate(section)
        try:
            listing = list_examples(data)
        except DataError as error:
            # Pictures that all show the same one class may still hold objects to tell apart.
            first = first or error
            continue
        division = divide(listing.table, listing.classes, data.split)
        numbers = np.bincount(flat_labels(listing.table)[1], minlength=len(listing.classes))
        counts = dict(zip(listing.classes, numbers.tolist(), strict=True))
        defects = (f"{len(listing.defects)} cannot be used, such as {listing.defects[0]}",) if listing.defects else ()
        warnings = (*listing.warnings, *division.warnings, *defects)
        return Found(root, reading, view, views, listing, counts, warnings)
    assert first is not None, "a dataset has at least one view"
    raise first


@dataclass(frozen=True)
class Start:
    """What trials start from.

    Attributes:
        pretrained: whether from published weights.
        models: to choose from.
        why: for the sweep file.
        said: for people, one line.
    """

    pretrained: bool
    models: tuple[str, ...]
    why: str
    said: str = field(default="")


def starting_point(pretrained: bool | None) -> Start:
    """Models whose weights are on this machine or can be fetched now; else nets that train from scratch.

    Args:
        pretrained: what was asked for; None: whatever can be had.
    """
    from trainables.image.models.table import MODELS
    from trainables.image.models.weights import at_hand, hub_answers

    if pretrained is False:
        return Start(False, FROM_SCRATCH, "from scratch, as asked", "trials start from scratch")
    if hub_answers():
        return Start(True, PRETRAINED, "published weights, fetched once", "trials start from published weights")
    names = [*PRETRAINED, *(name for name in MODELS if name not in PRETRAINED)]
    there = [name for name in names if at_hand(True, name) is not None]
    if there:
        few = tuple(there[:_MOST_MODELS])
        why = "published weights that are on this machine"
        return Start(
            True, few, why, f"the hub does not answer: trials start from weights on this machine ({', '.join(few)})"
        )
    if pretrained:
        why = "published weights: the hub did not answer when this file was written"
        said = "the hub does not answer and no weights are on this machine: this sweep can run once they can be fetched"
        return Start(True, PRETRAINED, why, said)
    why = "the hub did not answer, and no weights are on this machine"
    return Start(False, FROM_SCRATCH, f"from scratch: {why}", f"{why}: trials start from scratch")
