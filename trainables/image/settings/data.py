"""The keys of the `data` section of a sweep file: what datasets, pixels and splits are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from trainables.image.caches import cache_folder
from trainables.image.settings import values
from trainables.image.settings.balance import Balance, Cap, Strategy, balance_form
from trainables.image.settings.pixel_rule import PixelRule
from trainables.image.settings.split import Split
from trainables.image.settings.table import SplitName, Table, table_form
from trainables.image.settings.values import AbsolutePath
from trainables.units import Size


class DataSettings(BaseModel):
    """Every key of the data section, each checked for itself. `DataConfig` checks them against the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field("digits", description="Built-in name, or package.module:attribute.")
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
    box_origin: Annotated[Literal["auto", 0, 1], BeforeValidator(values.origin)] = Field(
        "auto",
        description="voc, image_table: whether boxes count pixels from 1 (PASCAL VOC, LabelImg) or from 0 (Datumaro, "
        "CVAT, labelme, Label Studio, FiftyOne); auto: as the coordinates of all annotations show.",
    )
    class_from: str | None = Field(
        None,
        min_length=1,
        description="image_folder: where an image's class is given. folder: the outermost folder (under a split's), "
        "whatever it is called; parent: the folder that the image lies in; or a regular expression with one group, "
        r"searched in the image's path, such as '([^/]+)_\d+\.jpg$'. By default the folders that look like classes.",
    )
    year: Annotated[str | None, BeforeValidator(values.year)] = Field(
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
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(values.names)] = Field(
        None, min_length=1, description="Classes to use, in this order; default: all, in alphabetical order."
    )
    rename_classes: Annotated[dict[str, str], BeforeValidator(values.by_name)] = Field(
        default_factory=dict,
        description="Other names for classes: {Cat: cat, cats: cat}. Classes that get the same name become one. Other "
        "settings use the new names.",
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
    bands: Annotated[
        tuple[int, ...] | None, BeforeValidator(values.bands, json_schema_input_type=list[int] | int | None)
    ] = Field(
        None,
        description="Bands used as red, green and blue (or a single one as grey), counted from 1; default: as "
        "the file says.",
    )
    value_range: Annotated[
        Literal["auto", "picture"] | tuple[float, float],
        BeforeValidator(values.value_range, json_schema_input_type=Literal["auto", "picture"] | list[float]),
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
            raise ValueError(f"{class_from!r} is not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(
                f"{class_from!r} must be folder, parent, or a regular expression with one group in brackets: the class"
            )
        return class_from

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
