"""The `data.table` section: where the labels of images are written, and how."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

SplitName = Literal["train", "val", "test"]
Kind = Literal["auto", "single", "multi"]


def _names(value: Any) -> Any:
    """Column names that YAML read as numbers, as text."""
    if isinstance(value, str | int):
        value = [value]
    return [str(name) for name in value] if isinstance(value, list | tuple) else value


class Table(BaseModel):
    """Where the labels of a dataset are written, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(min_length=1)] | dict[SplitName, Annotated[str, Field(min_length=1)]] = Field(
        description="A CSV, TSV, text, JSON, JSONL, Parquet or Arrow file; or one file per split, {train: a.csv, "
        "val: b.csv}; or a folder with those, or with list files (one per label, named after it, with an image's "
        "name on each line). Relative to root.",
    )
    kind: Kind = Field(
        "auto",
        description="single: each image has exactly one label; multi: any number. auto: as the rows show; "
        "multilabel_table always means multi.",
    )
    format: Literal["auto", "one_hot", "labels", "lists"] = Field(
        "auto",
        description="one_hot: one column per label, of 0/1, -1/1 or true/false; labels: one column of label names; "
        "lists: a folder of lists. auto: as the columns show.",
    )
    images: str = Field("", description="Folder of the images, relative to root; default: root.")
    header: bool | None = Field(
        None, description="Whether the first line has the column names; default: yes, unless it names an image."
    )
    encoding: str | None = Field(
        None,
        min_length=1,
        description="Encoding of text files; default: UTF-8 or UTF-16, else cp1252 (Windows).",
    )
    file_column: str | None = Field(None, description="Column of file names; default: the one whose cells name images.")
    label_columns: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = Field(
        None, min_length=1, description="one_hot: the label columns; default: data.classes, or all others."
    )
    label_column: str | None = Field(
        None, description="labels: the column of label names or numbers; without a header, column 1, column 2, …"
    )
    labels_from: Literal["table", "folder"] = Field(
        "table", description="folder: the table only lists images; the folder of an image is its label."
    )
    class_names: str | None = Field(
        None,
        min_length=1,
        description="labels: the file that names label numbers: a name per line, number and name, or a JSON object. By "
        "default classes.txt, labels.txt, synsets.txt or a JSON file beside the table that fits.",
    )
    separator: str | None = Field(
        None,
        min_length=1,
        description='labels: between the labels of a cell, such as " "; by default | ; or , where the parts are labels '
        "of other rows, too.",
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Column separator of a text file; default: as its lines show."
    )
    split_column: str | None = Field(
        None, description="Column with train, val or test; default: the one whose cells are these words."
    )
    group_column: str | None = Field(
        None,
        description="Column of groups that stay in one split (patient, subject, lesion); default: a column of such a "
        "name.",
    )
    value_column: str | None = Field(
        None, description="Column with the confidence of a row's label, such as Open Images' Confidence."
    )
    min_value: float = Field(
        0.5, description="value_column, soft: threshold: minimum value of a label; below it, the label is absent."
    )
    uncertain: Literal["positive", "negative", "drop"] | None = Field(
        None,
        description="one_hot with -1 beside 0 and 1 (CheXpert): -1 as 1, as 0, or leave such images out. There is no "
        "default.",
    )
    soft: Literal["argmax", "threshold"] | None = Field(
        None,
        description="one_hot with shares between 0 and 1: the largest is the label, or all of at least min_value are. "
        "There is no default.",
    )
    box_columns: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = Field(
        None,
        min_length=4,
        max_length=4,
        description="Boxes of objects, one per row: left, top, right, bottom; by default xmin, ymin, xmax, ymax and "
        "the like. With view: crops, each is an example.",
    )
    names: str = Field("{}", description='How a name in the table becomes a file name, such as "im{}.jpg".')
    unlabelled: Literal["keep", "drop"] = Field(
        "keep",
        description="multi: images without a label: keep them as examples that have none, or leave them out.",
    )

    @field_validator("path")
    @classmethod
    def _some_path(cls, path: str | dict[SplitName, str]) -> str | dict[SplitName, str]:
        if not path:
            raise ValueError("no split is named: {train: FILE, val: FILE, test: FILE}, or one path")
        return path

    @field_validator("names")
    @classmethod
    def _one_place(cls, names: str) -> str:
        try:
            places = [field for _, field, _, _ in string.Formatter().parse(names) if field is not None]
            names.format("1")
        except (ValueError, LookupError, AttributeError):
            places = []
        if places not in ([""], ["0"]):
            raise ValueError(f'{names!r} must have one {{}} where the name goes, such as "im{{}}.jpg"')
        return names

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        try:
            if encoding is not None:
                "".encode(encoding)
        except LookupError as error:
            raise ValueError(f"{encoding!r} is no encoding that Python knows, such as utf-8 or cp1252") from error
        return encoding


def table_form(value: Any) -> Any:
    """The long form of `table`: a path, or paths by split, may stand alone."""
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, Mapping) and value and set(value) <= {"train", "val", "test"}:
        return {"path": dict(value)}
    return value
