"""The `data` section of a sweep file: its keys, checked against the dataset that they speak of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, field_validator, model_validator

from trainables.image.datasets import BUILT_IN, dataset_class
from trainables.image.settings.data import DataSettings
from trainables.image.settings.values import absolute

_CUT = ("crops", "foreground")
_OF_VIEWS = {"margin": _CUT, "min_size": _CUT, "mask": ("foreground",), "background": ("foreground",)}
"""Settings that mean something in some views only."""


class DataConfig(DataSettings):
    """What images there are, which are used, and how they are divided."""

    dataset: str = Field(
        "digits",
        description=f'{", ".join(BUILT_IN)}, or "package.module:attribute" (your own Dataset). '
        "Default: what is recognised in root; without root, digits.",
    )

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
        known = recognise(Path(absolute(values["root"])), given)
        config = handler({**known.settings, **given, "root": values["root"], "dataset": known.dataset})
        config._found = known.found
        return config

    @property
    def found(self) -> str:
        """How the dataset was recognised; empty when it was named."""
        return self._found

    @field_validator("dataset")
    @classmethod
    def _dataset_exists(cls, dataset: str) -> str:
        dataset_class(dataset)
        return dataset

    @model_validator(mode="after")
    def _settings_belong_to_the_dataset(self) -> Self:
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
        of_other_views = (key for key, views in _OF_VIEWS.items() if self.view not in views)
        return frozenset({*dataset_class(self.dataset).unused_settings, *of_other_views})
