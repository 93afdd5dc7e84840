"""What a sweep and a trainable tell each other: frozen data, and nothing of how either works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["min", "max"]
Save = Callable[[Path], None]
"""Writes the state after an epoch into the (empty, existing) folder that it is given."""
Warn = Callable[[str], object]
"""Takes what does not run as wished, in words: `what: why`."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch brought.

    Attributes:
        epoch: 1 for the first epoch; each epoch is reported once, in order.
        metrics: numbers by name. Names are split, underscore, the field's name (`val_accuracy`). The names
            `epoch_s`, `images_per_s`, `data_wait_fraction`, `lr`, `peak_memory_bytes`, `num_parameters` and
            `shared_s` have a place of their own in the tables. `shared_s`, in the first report of an attempt: seconds
            since its start for what other trials use, too; they do not count as the trial's running time.
        outcomes: how right each val example was, as `trainables.outcomes.packed` writes it; empty: not told. Where the
            objective is their mean the sweep says which trials cannot be told apart, and what to expect on unseen data.
        warnings: what did not run as wished so far, in words. The handle fills it in: see `TrialHandle.warn`.
    """

    epoch: int
    metrics: Mapping[str, float]
    outcomes: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        folder: holds the files that the trainable's `save` wrote.
        epoch: the epoch after which it was written.
        history: every report up to and including that epoch, oldest first.
    """

    folder: Path
    epoch: int
    history: tuple[EpochReport, ...]


@dataclass(frozen=True)
class ConfigProblem:
    """Why a config cannot run, found before anything starts.

    Attributes:
        key: the config key to point at.
        message: the value, the rule, and what would be right.
        fatal: False of what should be known before anything starts, and keeps nothing from running.
        without_effect: of a setting that would change nothing: a new sweep is refused, one that has begun goes on.
        of_value: the message does not name the key's value: it is told once for all values, with them and their number.
    """

    key: str
    message: str
    fatal: bool = True
    without_effect: bool = False
    of_value: bool = False


@dataclass(frozen=True)
class Preparation:
    """What `Trainable.prepare` found.

    Attributes:
        fingerprint: of the data as used; a resumed sweep must find the same. Empty without data.
        summary: lines for the plan that the user sees (label → text).
        warnings: what the user should know but that stops nothing.
        details: the same and more for scripts (`sweep data check --json`): JSON-ready.
        reports: which of `Trainable.metrics` training on this data reports; None: all of them.
        digests: of what else results depend on (weights to start from, ...), by what it is, in words. What a resumed
            sweep finds under the same words must be the same.
    """

    fingerprint: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    reports: frozenset[str] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The final evaluation of one model on one split.

    Attributes:
        metrics: by name, with the split as prefix (`test_accuracy`).
        num_examples: how many examples the metrics are over.
        predictions: one row per example: split, example, labels, predicted, `p_<class>` for each class; and, where it
            is known, group: the picture (or patient, ...) that it shares with others, which widens intervals.
        classes: a row per class: split, class, precision, recall (sensitivity), specificity, f1, support,
            average_precision, auroc; of a label on its own also accuracy and threshold. Null is what is not defined.
        confusions: a row a cell that is not 0: split, actual, predicted, count, and rate (the share of the examples
            that are what actual says, null where there are none); in multi-label data also label, whose 2×2 matrix the
            row is of, with `yes` and `no` as actual and predicted. None: not told.
    """

    metrics: Mapping[str, float]
    num_examples: int
    predictions: pa.Table
    classes: pa.Table
    confusions: pa.Table | None = None


@dataclass(frozen=True)
class DiskUse:
    """What a sweep writes, about and at most.

    Attributes:
        checkpoint_bytes: of one checkpoint, of the largest model.
        package_bytes: of the model package.
        cache_folder: where `prepare` caches data, if it does.
        cache_bytes: the most that the cache may come to hold.
    """

    checkpoint_bytes: int
    package_bytes: int = 0
    cache_folder: Path | None = None
    cache_bytes: int = 0


class Progress(Protocol):
    """Shows how far a long preparation is. Called from one thread."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def no_progress(what: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""
