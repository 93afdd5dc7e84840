"""Parts of the `data` section that may be written short: `balance: {person: mean}`, `table: labels.csv`."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Measure = Literal["mean", "median", "min"]
Cap = Measure | Annotated[int, Field(ge=1)]
Strategy = Literal["cap", "class_weights", "sampler"]

_CAP_RULE = "a cap is mean, median or min (of the class counts), or a whole number of at least 1"


def _caps(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(name): _cap(cap, f"{name}: ") for name, cap in value.items()}
    return _cap(value)


def _cap(cap: Any, place: str = "") -> Any:
    whole = isinstance(cap, int) and not isinstance(cap, bool) and cap >= 1
    if whole or (isinstance(cap, str) and cap in get_args(Measure)):
        return cap
    raise ValueError(f"{place}{cap!r} is no cap: {_CAP_RULE}")


class Balance(BaseModel):
    """What is done against unequal class counts in train. Caps go with every strategy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = Field(
        "cap",
        description="cap: only caps; class_weights: rare classes weigh more in the loss; "
        "sampler: examples of rare classes are drawn more often.",
    )
    caps: Annotated[
        dict[str, Cap] | Cap, BeforeValidator(_caps, json_schema_input_type=dict[str, Cap] | Cap | None)
    ] = Field(
        default_factory=dict,
        description="The most training examples of one class ({person: mean}), or of every class (mean).",
    )
    power: float = Field(
        1.0,
        gt=0,
        le=1,
        description="class_weights, sampler: 1 evens classes out completely, 0.5 goes half the way (square root).",
    )


def balance_form(value: Any) -> Any:
    """The long form of `balance`: a strategy's name, a cap or caps by class may stand alone."""
    if value is None:
        return {}
    if isinstance(value, Balance):
        return value
    if isinstance(value, str) and value in get_args(Strategy):
        return {"strategy": value}
    if isinstance(value, Mapping) and any(key in Balance.model_fields for key in value):
        return value
    if isinstance(value, Mapping | int):
        return {"caps": _caps(value)}
    if value in get_args(Measure):
        return {"caps": value}
    raise ValueError(f"{value!r} is no strategy ({', '.join(get_args(Strategy))}) and no cap: {_CAP_RULE}")


def _names(value: Any) -> Any:
    """Column names that YAML read as numbers, as text."""
    if isinstance(value, str | int):
        value = [value]
    return [str(name) for name in value] if isinstance(value, list | tuple) else value


class Table(BaseModel):
    """Where the labels of a multi-label dataset are written, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        min_length=1,
        description="A CSV, TSV, Parquet or Arrow file, or a folder of list files (one a label, named after it, with "
        "a picture's name on each line); relative to root.",
    )
    format: Literal["auto", "one_hot", "labels", "lists"] = Field(
        "auto",
        description="one_hot: a column a label, of 0/1 or true/false; labels: a column of label names; lists: a folder "
        "of lists. auto: lists for a folder, labels with one column beside the files' that is not all 0/1.",
    )
    images: str = Field("", description="The pictures' folder, relative to root; by default root.")
    file_column: str | None = Field(None, description="The column of file names; by default the first.")
    label_columns: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = Field(
        None, min_length=1, description="one_hot: the columns that are labels; by default data.classes, or all others."
    )
    label_column: str | None = Field(None, description="labels: the column of label names.")
    separator: str | None = Field(
        None,
        min_length=1,
        description='labels: between the labels of a cell, such as " "; by default the first of | ; , in the column.',
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Between columns of a text file; by default as its header shows."
    )
    split_column: str | None = Field(None, description="The column with train, val or test, if the table has one.")
    names: str = Field("{}", description='How a name in the table becomes a file name, such as "im{}.jpg".')
    unlabelled: Literal["keep", "drop"] = Field(
        "keep", description="Pictures without a label: keep them as examples that have none, or leave them out."
    )

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


def table_form(value: Any) -> Any:
    """The long form of `table`: a path may stand alone."""
    return {"path": value} if isinstance(value, str) else value
