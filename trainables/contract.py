"""The interface between a sweep and what it trains: `Trainable` and `TrialHandle`.

A trainable sees a config, a handle to report to, and a folder. It knows nothing of Ray or Optuna, so the
same class runs in a sweep, in `sweep trial`, in a test and in a debugger.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from trainables.formats import FormatsWanted
from trainables.look import Section
from trainables.records import (
    Checkpoint,
    ConfigProblem,
    DiskUse,
    EpochReport,
    Evaluation,
    Mode,
    Preparation,
    Progress,
    Save,
    no_progress,
)
from trainables.suggestion import Suggestion

__all__ = [
    "Checkpoint", "ConfigProblem", "DiskUse", "EpochReport", "Evaluation", "Mode", "NoData", "Preparation", "Progress",
    "Save", "Trainable", "TrialHandle", "no_progress",
]  # fmt: skip
"""What the module of a trainable needs, in one place."""


class TrialHandle(Protocol):
    """What a trainable may know of its trial, and its one way to report.

    Attributes:
        number: the trial's number in its sweep.
        name: the baseline's name, None for a proposed trial.
        attempt: 1 for the first time that this trial runs, one more after each failure or interruption.
        seed: derived from the sweep's seed and the trial's number; recorded.
        folder: this attempt's own folder, for whatever the trainable wants to leave there.
        num_threads: CPU threads that are this trial's share; of several workers, this one's.
        rank: which of the trial's workers this is, from 0.
        num_workers: how many processes train this trial together. Each calls `train`; RANK, WORLD_SIZE, MASTER_ADDR
            and the like are in the environment, as torch.distributed and Accelerate want them. Every worker reports
            every epoch and waits in `report` for the others; the figures and the checkpoint are rank 0's.
        worker_timeout_s: how long one of several workers may wait for another: for the process group.
        resumed: the checkpoint to go on from, None to start at epoch 1.
    """

    @property
    def number(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def attempt(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def folder(self) -> Path: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def num_workers(self) -> int: ...
    @property
    def worker_timeout_s(self) -> float: ...
    @property
    def resumed(self) -> Checkpoint | None: ...

    def warn(self, text: str) -> None:
        """Tells the user something of how this trial runs that is not as wished, in words: `what: why`.

        It is printed into the trial's log, shown with the trial's next report (once, if other trials say the same) and
        kept in the table `trials`, in the column `warnings`.
        """
        ...

    def report(self, report: EpochReport, save: Save | None = None) -> None:
        """Records one epoch; may not return, when the pruner stops the trial here.

        The checkpoint is complete on disk, with the history of all reports in it, before the report is
        sent. Leave nothing durable for after the last report; put clean-up into `finally`. The report of epoch
        `config.epochs`, which nothing stops any more, may be recorded together with the end of `train`.

        Args:
            report: the epoch's metrics.
            save: writes the state to go on from. Without it the trial starts over after an interruption.
        """
        ...


class NoData(BaseModel):
    """The data section of a trainable that reads no data: it must be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=BaseModel)
DataT = TypeVar("DataT", bound=BaseModel)


class Trainable(ABC, Generic[ConfigT, DataT]):
    """What a sweep trains. Subclass it, set `config_class`, write `train`.

    Keep the module that holds the class light: heavy imports belong into the methods, because
    `sweep check` imports the class to validate the sweep file.

    Class attributes:
        config_class: a frozen pydantic model that forbids extra keys. Its fields are the hyperparameters that
            `fixed` and `space` may name. A field called `epochs` is the fidelity; `seed`, when None,
            means `handle.seed`.
        data_class: a pydantic model of the sweep file's `data` section.
        metrics: the metrics that `train` reports and that may be the objective, with the mode that is
            better. Empty: unknown beforehand, any name is accepted.
        check_keys: the config keys that `check` looks at. The sweep calls it for every combination of
            their values in the space (end points of ranges), and for each baseline. Keys that have nothing to do
            with each other go into groups, `(("model", "pooling"), ("optimizer", "momentum"))`: then only the
            combinations within each group are tried.
        supports_workers: whether `train` shares its work when `handle.num_workers` is more than 1. Without, a sweep
            with several workers is refused: each of them would train the same.
        facts: what can be told of a model before it is trained, by name, in words (`trainables.facts`): limits and
            further objectives of a sweep file may name it, next to `metrics`. Of every fact less is better.
        other_names: what other libraries call a config key → the key, such as learning_rate → lr: the hint of an
            unknown key.
        architecture_keys: the config keys that facts depend on.
        scales: whether `export` divides the model's logits by `info["temperature"]["value"]`, where that is given.
        imports: modules that `train` needs and that take long to import, by name. They are imported while the data is
            still being prepared, in a process that the workers of this machine are then forked from. They must be found
            without the folder of the sweep file. One that starts threads when it is imported has each worker import
            all of them for itself.
    """

    config_class: ClassVar[type[BaseModel]]
    data_class: ClassVar[type[BaseModel]] = NoData
    metrics: ClassVar[Mapping[str, Mode]] = {}
    check_keys: ClassVar[tuple[str, ...] | tuple[tuple[str, ...], ...]] = ()
    supports_workers: ClassVar[bool] = False
    facts: ClassVar[Mapping[str, str]] = {}
    other_names: ClassVar[Mapping[str, str]] = {}
    architecture_keys: ClassVar[tuple[str, ...]] = ()
    imports: ClassVar[tuple[str, ...]] = ()
    scales: ClassVar[bool] = False

    def __init__(self, data: DataT, folder: Path) -> None:
        """Made once in each process, before any of the methods below.

        Args:
            data: the sweep file's `data` section.
            folder: where `prepare` leaves what the trials need (shared by all nodes).
        """
        self.data = data
        self.folder = folder

    @classmethod
    def check(cls, config: ConfigT) -> list[ConfigProblem]:
        """Finds what no single field can know: combinations that cannot work, or of which users should know something.

        Reads no data.
        """
        return []

    @classmethod
    def bounds(cls, metric: str) -> tuple[float, float]:
        """The least and the greatest value that a metric can have, as far as that is known."""
        return -math.inf, math.inf

    @classmethod
    def usual(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values that practitioners begin with: the search tries them early, and others near them.

        Args:
            config: what stands already: the fixed keys and what was chosen so far.

        Returns:
            By key of the config class; a key that is left out has its default. Empty: nothing is known, and the
            search begins with its baselines, or anywhere.
        """
        return {}

    @classmethod
    def suggest(cls, data: DataT, fixed: Mapping[str, Any], trials: int | None) -> Suggestion | None:
        """The sweep for a file that has no space: `sweep run` and `sweep check` say that they took it.

        Args:
            data: the data section, which may be looked at.
            fixed: hyperparameters that the file sets.
            trials: how many it asks for; None: it says nothing.

        Returns:
            None: nothing is known, and a file without a space runs one trial.

        Raises:
            DataError: the data cannot be used.
        """
        return None

    def disk_use(self, candidates: Mapping[str, Sequence[Any]]) -> DiskUse | None:
        """What a sweep over these candidates (as for `prepare`) writes; None: not known. Reads no data."""
        return None

    def prepare(self, candidates: Mapping[str, Sequence[Any]], progress: Progress = no_progress) -> Preparation:
        """Runs once, before the first trial and again on resume: looks at the data, fills caches.

        In a process of its own on the machine of the driver; what it returns or raises is pickled.

        Args:
            candidates: every value (end points of a range without step) that each config key can take.
            progress: called while it takes long.

        Raises:
            DataError: the data cannot be used.
        """
        return Preparation()

    def check_data(self, progress: Progress = no_progress) -> Preparation:
        """Looks at the data alone, for `sweep data check`: fetches no weights, fills no caches.

        Raises:
            DataError: the data cannot be used.
        """
        return self.prepare({}, progress)

    def look_at_data(
        self,
        candidates: Mapping[str, Sequence[Any]],
        preparation: Preparation,
        progress: Progress = no_progress,
    ) -> Sequence[Section]:
        """Looks closer at what `check_data` has just found, in the same folder, for `sweep data check --html`.

        Args:
            candidates: as for `prepare`.
            preparation: what `check_data` returned.
            progress: called while it takes long.

        Returns:
            The sections of a page, in order; none: there is nothing to be seen.
        """
        return ()

    def data_here(self) -> str:
        """What this machine sees of the data, in a few words that are the same wherever the same data is seen.

        On a cluster every node is asked before the first trial, after `prepare` has run on the driver's; it should
        take seconds at most, so look at sizes or a sample. Empty: nothing to compare.

        Raises:
            DataError: the data cannot be read here.
        """
        return ""

    @abstractmethod
    def train(self, config: ConfigT, handle: TrialHandle) -> None:
        """Trains one configuration, from `handle.resumed` when that is set, reporting after each epoch.

        Raises:
            Diverged: the loss is not a finite number.
            Infeasible: does not fit in memory.
        """

    @classmethod
    def architecture(cls, config: ConfigT) -> str:
        """Names what `facts` depend on: configs with the same text have the same facts, and one of them is measured."""
        return ", ".join(f"{key} {getattr(config, key)}" for key in cls.architecture_keys)

    def measure(self, config: ConfigT, facts: Sequence[str], num_threads: int = 1) -> Mapping[str, float]:
        """Tells facts of the model that a config makes, without training it. Called after `prepare`.

        Args:
            config: of a trial.
            facts: the names that are wanted.
            num_threads: CPU threads to use.

        Returns:
            Those that can be had, perhaps with more. A fact that is missing cannot be had of this model.
        """
        return {}

    def measure_package(self, package: Path, facts: Sequence[str]) -> Mapping[str, float]:
        """Tells the same facts of an exported model package."""
        return {}

    def note_facts(self, package: Path, facts: Mapping[str, float], machine: str) -> None:
        """Writes what was measured of a package, and on which machine, into what the package says of itself."""
        return

    def add_formats(self, config: ConfigT, package: Path, wanted: FormatsWanted, num_threads: int = 1) -> Sequence[str]:
        """Adds further formats to an exported model package, each only if it answers as well as the model in it.

        Args:
            config: of the trial.
            package: what `export` wrote; the caller publishes it after this.
            wanted: which formats, and what they must keep.
            num_threads: CPU threads to use.

        Returns:
            What came of each, in words. A format that is left out is no error; a trainable without this has none.
        """
        return ()

    def evaluate(self, config: ConfigT, checkpoint: Path, split: str, num_threads: int = 1) -> Evaluation | None:
        """Evaluates a checkpoint's model on `val` or `test`. None: there is no such split, or nothing to say."""
        return None

    @classmethod
    def num_models(cls, data: DataT) -> int:
        """How many models a trial trains side by side, as with folds: an epoch is one of each of them.

        Where there are several none of them is the trial's: `refit` makes the one to publish.
        """
        return 1

    def refit(self, config: ConfigT, best: Checkpoint, handle: TrialHandle) -> None:
        """Trains the model to publish anew, as the trial was trained, on all that the search looked at: train and val.

        After the search, where `export.refit` says so. Goes on from `handle.resumed` when that is set. `evaluate` on
        test and `export` then get the checkpoint that was saved with the last report.

        Args:
            config: of the trial.
            best: the trial's checkpoint at its best epoch: train for as many epochs, `best.epoch`.
            handle: where to report, with a checkpoint each time; no metric is asked for.

        Raises:
            Diverged, Infeasible: as `train`.
        """
        raise NotImplementedError

    def pictures(self, examples: Sequence[str], size: int) -> Mapping[str, bytes]:
        """Small pictures (encoded, JPEG or PNG) of examples, for reports: by the names that `predictions` has.

        Args:
            examples: names of examples.
            size: no side is longer, in pixels.

        Returns:
            Those that can still be read. Data that is gone is no error: a report goes without.
        """
        return {}

    def pictures_fed(self, config: ConfigT, seed: int, num: int) -> tuple[bytes, str] | None:
        """One picture (JPEG or PNG) of what training was fed, for reports, and what is to be seen on it.

        Args:
            config: of the trial.
            seed: of the trial.
            num: about how many examples.

        Returns:
            None: nothing that the examples themselves do not show.

        Raises:
            DataError: the data is gone.
        """
        return None

    def export(
        self, config: ConfigT, checkpoint: Path, folder: Path, info: Mapping[str, Any], num_threads: int = 1
    ) -> Mapping[str, Any] | None:
        """Writes the model package into `folder` (empty, existing) and verifies it.

        Args:
            config: of the trial.
            checkpoint: the folder that `save` wrote at the best epoch.
            folder: where the package goes; published by the caller only after this returns.
            info: what the package should say of its origin (sweep, trial, metrics, versions): JSON-ready.
            num_threads: CPU threads to use.

        Returns:
            What was verified, JSON-ready; None when this trainable has no package. `note` in it, if there, is what
            the user should know of the package.

        Raises:
            TrainableError: the exported model does not agree with the trained one: do not publish.
        """
        return None
