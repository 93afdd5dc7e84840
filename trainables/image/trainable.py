"""The built-in image classifier, as a `Trainable`. Light to import: `sweep check` does it for each sweep file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from trainables.allocator import kept_memory
from trainables.combining import Combines, Member
from trainables.contract import (
    Checkpoint,
    ConfigProblem,
    DiskUse,
    Evaluation,
    Mode,
    Preparation,
    Progress,
    Trainable,
    TrialHandle,
    no_progress,
)
from trainables.errors import DataError
from trainables.facts import MEANINGS
from trainables.formats import FormatsWanted
from trainables.image.checks.combinations import CHECK_KEYS, config_problems
from trainables.image.choices.losses import loss_problem
from trainables.image.choices.metrics import largest, modes, monitor_problem, reported
from trainables.image.config import OTHER_NAMES, ImageConfig
from trainables.image.data_config import DataConfig
from trainables.look import Section
from trainables.suggestion import Suggestion


class ImageClassifier(Trainable[ImageConfig, DataConfig], Combines[ImageConfig]):
    """Fine-tunes an image classifier, or trains one from scratch; one label per example, or any number."""

    config_class = ImageConfig
    data_class = DataConfig
    check_keys = CHECK_KEYS
    supports_workers = True
    scales = True
    facts = MEANINGS
    other_names = OTHER_NAMES
    architecture_keys = ("model", "input_resolution", "pooling", "color", "width", "batch_norm")
    imports = ("trainables.image.training.classifier", "trainables.image.features.store")
    metrics: ClassVar[Mapping[str, Mode]] = modes()

    @classmethod
    def bounds(cls, metric: str) -> tuple[float, float]:
        """Losses have no greatest value; all else is a share."""
        return 0.0, largest(metric)

    @classmethod
    def check(cls, config: ImageConfig) -> list[ConfigProblem]:
        """See `trainables.image.checks.combinations`."""
        return config_problems(config)

    @classmethod
    def usual(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `trainables.image.usual`."""
        from trainables.image.usual import usual_values

        return usual_values(config)

    @classmethod
    def suggest(cls, data: DataConfig, fixed: Mapping[str, Any], trials: int | None) -> Suggestion:
        """See `trainables.image.suggest`."""
        from trainables.image.suggest.sweep import suggest_sweep

        return suggest_sweep(data, fixed, trials=trials)

    def disk_use(self, candidates: Mapping[str, Sequence[Any]]) -> DiskUse | None:
        """See `trainables.image.disk_use`. None when a model is chosen that is not in the table of sizes."""
        from trainables.image.disk_use import disk_use

        return disk_use(self.data, candidates)

    def prepare(self, candidates: Mapping[str, Sequence[Any]], progress: Progress = no_progress) -> Preparation:
        """Finds (or fetches) the weights, makes the index, fills the pixel cache.

        Raises:
            DataError: the data or the weights cannot be used.
        """
        from trainables.image.checks.weights import prepare_weights
        from trainables.image.data.listing import list_examples
        from trainables.image.data.prepare import INDEX_FILE, prepare_images
        from trainables.image.data.splits import check_enough
        from trainables.image.index import ImageIndex
        from trainables.image.models.prepared import write_weights

        def values(key: str) -> list[Any]:
            return list(dict.fromkeys(candidates.get(key) or [ImageConfig.model_fields[key].default]))

        # Data that is missing is told before weights are fetched for nothing.
        listing = list_examples(self.data, progress)
        weights = prepare_weights({key: values(key) for key in ImageConfig.model_fields}, progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_weights(self.folder, weights.files)

        preparation = prepare_images(
            self.data,
            self.folder,
            resolutions=[int(value) for value in values("input_resolution")],
            channels=[ImageConfig(color=color).num_channels for color in values("color")],
            fits=[
                ImageConfig(resize=resize, crop_fraction=fraction).fit
                for resize in values("resize")
                for fraction in values("crop_fraction")
            ],
            progress=progress,
            look_for_duplicates="if quick",
            listing=listing,
        )
        index = ImageIndex.load(self.folder / INDEX_FILE)
        num_train, num_val = (len(index.rows(split)) for split in ("train", "val"))
        if self.data.split.folds is not None:
            num_val = num_train // self.data.split.folds
            num_train -= num_val
        check_enough(num_train, num_val)
        # Which kind of data this is shows only now: a choice that can never work must not wait for its trial.
        watches = "plateau" in values("schedule") or any(values("early_stopping_patience"))
        problems = [loss_problem(loss, index.multilabel) for loss in values("loss")]
        problems += [monitor_problem(monitor, index.multilabel) for monitor in values("monitor") if watches]
        if any(problems):
            raise DataError("\n".join(problem for problem in problems if problem))
        warnings = [*preparation.warnings, *weights.warnings]
        too_large = [size for size in values("batch_size") if size > num_train]
        if too_large:
            warnings.append(
                f"batch_size {max(too_large)} is more than the {num_train} training examples: so an epoch is a "
                f"single step"
            )
        summary = {**preparation.summary, **weights.summary}
        if index.multilabel:
            summary["metrics"] = "val_accuracy counts true negatives, too; val_map does not"
        reports = reported(self.metrics, index.multilabel, len(index.classes))
        digests = {file.label: file.digest for file in weights.files}
        return replace(preparation, summary=summary, warnings=tuple(warnings), reports=reports, digests=digests)

    def check_data(self, progress: Progress = no_progress) -> Preparation:
        """See `trainables.image.data.prepare.prepare_images`."""
        from trainables.image.data.prepare import prepare_images

        self.folder.mkdir(parents=True, exist_ok=True)
        return prepare_images(self.data, self.folder, resolutions=[], progress=progress, look_for_duplicates="yes")

    def look_at_data(
        self,
        candidates: Mapping[str, Sequence[Any]],
        preparation: Preparation,
        progress: Progress = no_progress,
    ) -> Sequence[Section]:
        """See `trainables.image.looking.look.look_at`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.looking.look import look_at

        return look_at(ImageIndex.load(self.folder / INDEX_FILE), self.data, candidates, preparation, progress)

    def data_here(self) -> str:
        """See `trainables.image.data.here.seen_here`."""
        from trainables.image.data.here import seen_here
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.models.prepared import weights_paths

        return seen_here(ImageIndex.load(self.folder / INDEX_FILE), weights_paths(self.folder))

    @kept_memory()
    def train(self, config: ImageConfig, handle: TrialHandle) -> None:
        """See `trainables.image.training.classifier.train_classifier`; with folds `training.folds.train_folds`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.models.prepared import weights_of
        from trainables.image.training.classifier import train_classifier
        from trainables.image.training.folds import train_folds
        from trainables.image.training.inputs import open_inputs

        weights = weights_of(self.folder, config)
        index = ImageIndex.load(self.folder / INDEX_FILE)
        with open_inputs(config, index, self.data, weights, handle) as inputs:
            if index.num_folds:
                train_folds(config, index, inputs, weights, handle, self.data)
            else:
                train_classifier(config, index, inputs, weights, handle, self.data.balance)

    @classmethod
    def num_models(cls, data: DataConfig) -> int:
        """With folds one per fold."""
        return data.split.num_folds or 1

    @kept_memory()
    def refit(self, config: ImageConfig, best: Checkpoint, handle: TrialHandle) -> None:
        """See `trainables.image.training.refit.refit_classifier`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.data.resplit import all_to_train_on
        from trainables.image.features.wanted import num_views
        from trainables.image.index import ImageIndex
        from trainables.image.models.prepared import weights_of
        from trainables.image.training.evaluate import threshold_on_val
        from trainables.image.training.inputs import open_inputs
        from trainables.image.training.refit import refit_classifier

        weights = weights_of(self.folder, config)
        index = ImageIndex.load(self.folder / INDEX_FILE)
        threshold = threshold_on_val(config, index, self.data, best.folder, handle.num_threads)
        whole = all_to_train_on(index, self.data)
        # The search's features will do, but for changed images, of which there are those of train alone.
        seen = whole if num_views(config) and not index.num_folds else index
        with open_inputs(config, seen, self.data, weights, handle) as inputs:
            refit_classifier(config, whole, inputs, weights, handle, best, self.data.balance, threshold)

    @classmethod
    def architecture(cls, config: ImageConfig) -> str:
        """What the graph depends on: neither the weights nor how they are trained."""
        from trainables.image.models.table import timm_name

        parts = [timm_name(config.model), f"{config.input_resolution} px", f"{config.pooling} pooling", config.color]
        own = {"width": config.width, "batch_norm": config.batch_norm}
        return ", ".join([*parts, *(f"{key} {value}" for key, value in own.items() if value is not None)])

    def measure(self, config: ImageConfig, facts: Sequence[str], num_threads: int = 1) -> Mapping[str, float]:
        """See `trainables.image.deployment.untrained.measure_untrained`."""
        from trainables.image.deployment.untrained import measure_untrained

        return measure_untrained(config, self.folder, facts, num_threads)

    def measure_package(self, package: Path, facts: Sequence[str]) -> Mapping[str, float]:
        """See `trainables.image.deployment.package_facts.measure_package`."""
        from trainables.image.deployment.package_facts import measure_package

        return measure_package(package, facts)

    def note_facts(self, package: Path, facts: Mapping[str, float], machine: str) -> None:
        """See `trainables.image.deployment.package_facts.note_facts`."""
        from trainables.image.deployment.package_facts import note_facts

        note_facts(package, facts, machine)

    def add_formats(
        self, config: ImageConfig, package: Path, wanted: FormatsWanted, num_threads: int = 1
    ) -> Sequence[str]:
        """See `trainables.image.deployment.formats.publish.add_formats`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.deployment.formats.publish import add_formats
        from trainables.image.index import ImageIndex

        return add_formats(package, ImageIndex.load(self.folder / INDEX_FILE), self.data, wanted, num_threads)

    def evaluate(self, config: ImageConfig, checkpoint: Path, split: str, num_threads: int = 1) -> Evaluation | None:
        """See `trainables.image.training.evaluate.evaluate_checkpoint`."""
        from trainables.image.training.evaluate import evaluate_checkpoint

        return evaluate_checkpoint(config, self.data, self.folder, checkpoint, split, num_threads)

    @classmethod
    def why_no_soup(cls, candidates: Mapping[str, Sequence[Any]]) -> str:
        """See `trainables.image.combining.lineage`."""
        from trainables.image.combining.lineage import why_no_soup

        return why_no_soup(candidates)

    def layers(self, config: ImageConfig) -> str:
        """See `trainables.image.combining.lineage`."""
        from trainables.image.combining.lineage import layers

        return layers(config)

    def start(self, config: ImageConfig, seed: int) -> str:
        """See `trainables.image.combining.lineage`."""
        from trainables.image.combining.lineage import start

        return start(config, seed, self.folder)

    def resolution(self, config: ImageConfig) -> int:
        """As the config has it."""
        return config.input_resolution

    def at_resolution(self, config: ImageConfig, resolution: int) -> ImageConfig:
        """See `trainables.image.combining.resolution`."""
        from trainables.image.combining.resolution import at_resolution

        return at_resolution(config, resolution)

    def sees(self, config: ImageConfig) -> str:
        """See `trainables.image.combining.lineage`."""
        from trainables.image.combining.lineage import sees

        return sees(config)

    def joined_config(self, members: Sequence[Member[ImageConfig]]) -> ImageConfig:
        """See `trainables.image.training.members.joined_config`."""
        from trainables.image.training.members import joined_config

        return joined_config(members)

    def join(self, members: Sequence[Member[ImageConfig]], folder: Path) -> None:
        """See `trainables.image.training.members`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.training.checkpoint import join_checkpoints

        join_checkpoints(members, ImageIndex.load(self.folder / INDEX_FILE).multilabel, folder)

    def average(self, members: Sequence[Member[ImageConfig]], folder: Path, num_threads: int = 1) -> None:
        """See `trainables.image.combining.average.average_checkpoints`."""
        from trainables.image.combining.average import average_checkpoints

        average_checkpoints(members, self.data, self.folder, folder, num_threads)

    def pictures(self, examples: Sequence[str], size: int) -> Mapping[str, bytes]:
        """See `trainables.image.pixels.thumbnails.thumbnails`."""
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.pixels.examples import rule_of
        from trainables.image.pixels.thumbnails import thumbnails

        if not (self.folder / INDEX_FILE).is_file():
            return {}
        index = ImageIndex.load(self.folder / INDEX_FILE)
        return thumbnails(index, examples, size, rule_of(index, self.data))

    def pictures_fed(self, config: ImageConfig, seed: int, num: int) -> tuple[bytes, str] | None:
        """See `trainables.image.looking.fed.pictures_fed`."""
        if not config.augments:
            return None  # without PyTorch, which a report needs for nothing else: seconds, and 660 MB
        from trainables.image.data.prepare import INDEX_FILE
        from trainables.image.index import ImageIndex
        from trainables.image.looking.fed import pictures_fed

        if not (self.folder / INDEX_FILE).is_file():
            return None
        return pictures_fed(config, ImageIndex.load(self.folder / INDEX_FILE), self.data, seed, num)

    def export(
        self, config: ImageConfig, checkpoint: Path, folder: Path, info: Mapping[str, Any], num_threads: int = 1
    ) -> Mapping[str, Any] | None:
        """See `trainables.image.deployment.deploy.export_package`."""
        from trainables.image.deployment.deploy import export_package

        return export_package(config, self.data, self.folder, checkpoint, folder, info, num_threads)
