"""How examples are divided into train, val and test: the `split` part of the data section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_FRACTIONS = {"train": 0.64, "val": 0.16, "test": 0.20}
"""A fifth is kept for the test, and a fifth of the rest for validation."""


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
        if not isinstance(values, Mapping) or set(values) - set(cls.model_fields):
            return values  # a misspelt key is told first: it may be the missing one
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


def _listed(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {fraction:g}" for name, fraction in fractions.items())
