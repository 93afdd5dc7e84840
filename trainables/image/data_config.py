"""The `data` section of a sweep file for the image classifier: every key, its type, its default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    field_validator,
    model_validator,
)

from trainables.image.caches import cache_folder
from trainables.image.settings.balance import Balance, Cap, Strategy, balance_form
from trainables.image.settings.pixel_rule import PixelRule
from trainables.image.settings.table import SplitName, Table, table_form
from trainables.units import Size

DEFAULT_FRACTIONS = {"train": 0.64, "val": 0.16, "test": 0.20}
"""A fifth is kept for the test, and a fifth of the rest for validation."""

YEARS = tuple(str(year) for year in range(2007, 2013))


def _absolute(value: Any) -> Any:
    """`~` and `$VARIABLES` filled in; absolute, because trials run in other working directories."""
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.path.expandvars(os.fspath(value))
    if unset := re.search(r"\$(\w+|\{\w+\})", text):
        raise ValueError(f"{value}: the environment variable {unset.group()} is not set")
    if not text.strip():
        raise ValueError("the path is empty")
    # Unlike Path.resolve, abspath keeps symbolic links. Text, because JSON validation takes no Path.
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100


def _names(value: Any) -> Any:
    """Class names that YAML read as numbers, as text."""
    if isinstance(value, str | int):
        value = [value]
    return [str(name) for name in value] if isinstance(value, list | tuple) else value


def _bands(value: Any) -> Any:
    numbers = [value] if isinstance(value, int) and not isinstance(value, bool) else value
    if numbers is None:
        return None
    whole = isinstance(numbers, list | tuple) and all(type(number) is int and number >= 1 for number in numbers)
    if not whole or len(numbers) not in (1, 3):
        raise ValueError(f"{value!r}: name three bands (red, green, blue) or one (grey), counted from 1: [3, 2, 1]")
    return tuple(numbers)


def _value_range(value: Any) -> Any:
    if isinstance(value, str) and value in ("auto", "picture"):
        return value
    numbers = isinstance(value, list | tuple) and all(type(number) in (int, float) for number in value)
    if not numbers or len(value) != 2 or not value[0] < value[1]:
        raise ValueError(f"{value!r}: give [low, high] with low < high, such as [0, 4095], or auto, or picture")
    return tuple(map(float, value))


def _year(value: Any) -> Any:
    if value is None or str(value) in YEARS:
        return None if value is None else str(value)
    raise ValueError(f"{value!r}: VOC has the years {YEARS[0]} to {YEARS[-1]}")


def _origin(value: Any) -> Any:
    """`"0"` from a command line is the number."""
    return int(value) if isinstance(value, str) and value in ("0", "1") else value


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]

_CUT = ("crops", "foreground")
_OF_VIEWS = {"margin": _CUT, "min_size": _CUT, "mask": ("foreground",), "background": ("foreground",)}
"""Settings that mean something in some views only."""


class Split(BaseModel):
    """How examples are divided into train, val and test.

    Give two of the three fractions and the third is the rest; give none for 0.64, 0.16, 0.20. With `folds` give test or
    nothing: val is each fold in turn, and train the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(DEFAULT_FRACTIONS["train"], gt=0, le=1, description="Fraction of examples for training.")
    val: float = Field(
        DEFAULT_FRACTIONS["val"], gt=0, lt=1, description="Fraction for validation: the search sees its metrics."
    )
    test: float = Field(DEFAULT_FRACTIONS["test"], ge=0, lt=1, description="Fraction for the final test; 0: no test.")
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="Number of folds for cross-validation: a trial trains one model per fold, epoch by epoch, and "
        "its metrics are their means, with the standard deviation as `_std`. Default: one model and one "
        "val.",
    )
    repeats: int = Field(1, ge=1, le=10, description="folds: number of repetitions with different folds.")
    stratify: bool = Field(True, description="Keep the share of each class the same in all splits and folds.")
    group_by: Literal["image", "near_duplicates", "none"] = Field(
        "image",
        description="image: crops of one image stay in one split; near_duplicates: so do copies of an image "
        "(rotated, mirrored, inverted, resized or re-encoded); none: every crop on its own.",
    )
    given: bool | None = Field(
        None,
        description="Keep the dataset's own splits (train/ val/ test/ folders or files, a split column, "
        "CIFAR's test batch, VOC's ImageSets). Default: yes, except VOC's lists.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the division.")

    @model_validator(mode="before")
    @classmethod
    def _third_is_the_rest(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {name: values[name] for name in DEFAULT_FRACTIONS if values.get(name) is not None}
        if values.get("folds") is not None:
            return _with_folds(values, given)
        if not given or not all(isinstance(value, int | float) for value in given.values()):
            return values
        if len(given) == 1:
            raise ValueError(
                f"only {next(iter(given))} is given: give two of train, val and test; the third is the rest"
            )
        if len(given) == 2:
            (missing,) = set(DEFAULT_FRACTIONS) - set(given)
            rest = round(1 - sum(given.values()), 9)
            if rest < 0:
                raise ValueError(f"{_listed(given)} add up to {sum(given.values()):g}: the fractions may add up to 1")
            return {**values, missing: rest}
        return values

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-3:
            raise ValueError(f"{_listed(self.fractions)} add up to {total:g}: they must add up to 1")
        if self.folds is None and self.repeats != 1:
            raise ValueError(f"repeats {self.repeats} is for folds: give folds, or leave it out")
        return self

    @property
    def num_folds(self) -> int | None:
        """How many models a trial trains; None without folds."""
        return None if self.folds is None else self.folds * self.repeats

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of each split, by name."""
        return {"train": self.train, "val": self.val, "test": self.test}


def _with_folds(values: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """The fractions that follow from the test split: a fold of the rest is val."""
    folds, test = values["folds"], given.get("test", DEFAULT_FRACTIONS["test"])
    if not isinstance(folds, int) or folds < 2 or not isinstance(test, int | float) or not 0 <= test < 1:
        return values  # told field by field
    val = round((1 - test) / folds, 9)
    follow = {"train": round(1 - test - val, 9), "val": val, "test": test}
    for name in ("train", "val"):
        if name in given and given[name] != follow[name]:
            raise ValueError(
                f"{name} {given[name]} with folds {folds}: each of the {folds} parts of what is not test is val in "
                "turn, and the others are train. Give test, or none of the three"
            )
    return {**values, **follow}


class DataConfig(BaseModel):
    """What images there are, which are used, and how they are divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(
        "digits",
        description="digits, image_folder, cifar10, voc, coco, yolo, labelme, cvat, fiftyone, label_studio, datumaro, "
        "createml, image_table, multilabel_table, "
        "parquet_images, cifar100, image_archive, webdataset, image_arrays, "
        'or "package.module:attribute" (your own Dataset). Default: what is recognised in root; without root, digits.',
    )
    root: AbsolutePath | None = Field(
        None, description="The dataset's folder. Relative paths are relative to the current directory."
    )
    download: bool = Field(False, description="Download the dataset into root if it is missing (voc, cifar10).")
    view: Literal["images", "crops", "foreground"] = Field(
        "images",
        description="images: one example per image; crops: one example per annotated object; foreground: the same, cut "
        "out of its surroundings by a segmentation mask or an outline.",
    )
    annotations: str | None = Field(
        None,
        min_length=1,
        description="Annotated objects: the folder of the annotation files (or the one file), below root; default: "
        "what is found there.",
    )
    images: str | None = Field(
        None,
        min_length=1,
        description="Annotated objects: the folder of the images, below root; default: all of it.",
    )
    box_origin: Annotated[Literal["auto", 0, 1], BeforeValidator(_origin)] = Field(
        "auto",
        description="voc, image_table: whether boxes count pixels from 1 (PASCAL VOC, LabelImg) or from 0 (Datumaro, "
        "CVAT, labelme, Label Studio, FiftyOne); auto: as the coordinates of all annotations show.",
    )
    class_from: str | None = Field(
        None,
        min_length=1,
        description="image_folder: where an image's class stands. folder: the outermost folder (under a split's), "
        "whatever it is called; parent: the folder that the image lies in; or a regular expression with one group, "
        r"searched in the image's path, such as '([^/]+)_\d+\.jpg$'. By default the folders that look like classes.",
    )
    year: Annotated[str | None, BeforeValidator(_year)] = Field(
        None, description="voc: 2007 to 2012; by default as root's name says, or 2012."
    )
    difficult: bool = Field(False, description="Annotated objects: include those marked as difficult.")
    margin: float = Field(
        0.0,
        ge=0,
        le=2,
        description="crops, foreground: margin on each side of a box, as a fraction of its width or height.",
    )
    min_size: int = Field(
        0,
        ge=0,
        description="crops, foreground: minimum width and height of a box in pixels; smaller objects are left out.",
    )
    mask: Literal["object", "class"] = Field(
        "object",
        description="foreground: an example is an object (voc: SegmentationObject), or all that an image shows of a "
        "class (voc: SegmentationClass).",
    )
    background: Literal["mean", "black", "blurred"] = Field(
        "mean",
        description="foreground: background of the object: ImageNet's mean colour, black, or the blurred image.",
    )
    table: Annotated[
        Table | None,
        BeforeValidator(table_form, json_schema_input_type=Table | dict[SplitName, str] | str | None),
    ] = Field(
        None,
        description="image_table, multilabel_table: the table of labels (CSV, TSV, text, JSON, Parquet), one per split "
        "({train: a.csv, val: b.csv}), or a folder of list files, one per label; a path below root, or settings of "
        "which `path` is one. image_table finds it in root where it is not named.",
    )
    image_column: str | None = Field(
        None, min_length=1, description="parquet_images: the column of images; default: the only one."
    )
    label_column: str | None = Field(
        None, min_length=1, description="parquet_images: the column of labels; by default label or labels."
    )
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = Field(
        None, min_length=1, description="Classes to use, in this order; default: all, in alphabetical order."
    )
    balance: Annotated[
        Balance, BeforeValidator(balance_form, json_schema_input_type=Balance | Strategy | dict[str, Cap] | Cap | None)
    ] = Field(
        default_factory=Balance,
        description="Remedy for unbalanced classes: caps on the number of training examples of one class "
        "({person: mean}) "
        "or of every class (mean), or class_weights, or sampler.",
    )
    split: Split = Field(default_factory=Split, description="Division into train, val and test.")
    limit: int | None = Field(None, ge=1, description="Maximum number of examples per split, for trying out.")
    on_unreadable: Literal["skip", "fail"] = Field(
        "skip", description="Unreadable files and malformed annotations: skip (left out and named), or fail."
    )
    max_pixels: int = Field(
        89_478_485,
        ge=1,
        le=178_956_970,
        description="Larger images count as unreadable (decompression bombs). Default and maximum: Pillow's.",
    )
    bands: Annotated[tuple[int, ...] | None, BeforeValidator(_bands, json_schema_input_type=list[int] | int | None)] = (
        Field(
            None,
            description="Bands used as red, green and blue (or a single one as grey), counted from 1; default: as "
            "the file says.",
        )
    )
    value_range: Annotated[
        Literal["auto", "picture"] | tuple[float, float],
        BeforeValidator(_value_range, json_schema_input_type=Literal["auto", "picture"] | list[float]),
    ] = Field(
        "auto",
        description="Images with more than 8 bits: [low, high], the values of black and white; auto: as the "
        "file says (DICOM: window), or one range for all images, found from them; picture: each image's own "
        "minimum and maximum.",
    )
    cache_dir: AbsolutePath | None = Field(
        None, description="Folder of the cache of decoded pixels; default: $SWEEP_CACHE, or the user's cache folder."
    )
    cache_limit_bytes: Size = Field(
        20_000_000_000,
        ge=0,
        description='Size limit of cache_dir, such as "20GB"; the rest is decoded in each epoch. 0: no cache.',
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of your own Dataset.")

    _found: str = PrivateAttr("")

    @model_validator(mode="wrap")
    @classmethod
    def _dataset_is_recognised(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Looks at what is in root where no dataset is named.

        Raises:
            DataError: nothing that is known, or several readings are possible.
        """
        if not isinstance(values, Mapping) or values.get("root") is None or values.get("dataset") is not None:
            return handler(values)
        from trainables.image.datasets.recognition import recognise

        given = {key: value for key, value in values.items() if key not in ("dataset", "root")}
        known = recognise(Path(_absolute(values["root"])), given)
        config = handler({**known.settings, **given, "root": values["root"], "dataset": known.dataset})
        config._found = known.found
        return config

    @property
    def found(self) -> str:
        """How the dataset was recognised; empty when it was named."""
        return self._found

    @field_validator("classes")
    @classmethod
    def _no_class_twice(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if twice := sorted({name for name in classes or () if (classes or ()).count(name) > 1}):
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return classes

    @field_validator("class_from")
    @classmethod
    def _pattern_has_one_group(cls, class_from: str | None) -> str | None:
        if class_from in (None, "folder", "parent"):
            return class_from
        try:
            groups = re.compile(class_from or "").groups
        except re.error as error:
            raise ValueError(f"{class_from!r} is no regular expression: {error}") from error
        if groups != 1:
            raise ValueError(
                f"{class_from!r} must be folder, parent, or a regular expression with one group in brackets: the class"
            )
        return class_from

    @field_validator("dataset")
    @classmethod
    def _dataset_exists(cls, dataset: str) -> str:
        from trainables.image.datasets import dataset_class

        dataset_class(dataset)
        return dataset

    @model_validator(mode="after")
    def _settings_belong_to_the_dataset(self) -> Self:
        from trainables.image.datasets import dataset_class

        adapter = dataset_class(self.dataset)
        if adapter.needs_root and self.root is None:
            raise ValueError(f"dataset {self.dataset} reads files: root must be their folder (data.root)")
        if self.view not in adapter.views:
            raise ValueError(f"dataset {self.dataset} has no view {self.view!r}: it has {', '.join(adapter.views)}")
        fields = type(self).model_fields
        for key in adapter.unused_settings:
            if getattr(self, key) != fields[key].get_default(call_default_factory=True):
                raise ValueError(f"dataset {self.dataset} does not use {key}: remove it")
        for key, views in _OF_VIEWS.items():
            if self.view not in views and getattr(self, key) != fields[key].default:
                raise ValueError(
                    f"{key} {getattr(self, key)} is for the view {' or '.join(views)}, but the view is {self.view}: "
                    "leave it out"
                )
        if adapter.needs_table and self.table is None:
            raise ValueError(f"dataset {self.dataset} needs the labels: table must name their file (data.table)")
        return self

    @property
    def without_effect(self) -> frozenset[str]:
        """The settings that mean nothing for this dataset in this view."""
        from trainables.image.datasets import dataset_class

        of_other_views = (key for key, views in _OF_VIEWS.items() if self.view not in views)
        return frozenset({*dataset_class(self.dataset).unused_settings, *of_other_views})

    @property
    def pixel_rule(self) -> PixelRule:
        """How pictures are read, as far as the sweep file says it."""
        return PixelRule(self.max_pixels, self.bands, self.value_range)

    @property
    def cache_folder(self) -> Path:
        """Where decoded pixels are kept on this node."""
        if self.cache_dir is not None:
            return self.cache_dir
        return cache_folder()


def _listed(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {fraction:g}" for name, fraction in fractions.items())
