"""From the JSON forms that travel to the objects that work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.contract import Trainable
from trainables.loading import load_trainable


def build_trainable(trainable: str, data: Mapping[str, Any], data_folder: str) -> Trainable[Any, Any]:
    """The trainable from the JSON forms of its name and its data section."""
    trainable_class = load_trainable(trainable)
    return trainable_class(trainable_class.data_class.model_validate(dict(data)), Path(data_folder))


def build(
    trainable: str, data: Mapping[str, Any], data_folder: str, config: Mapping[str, Any]
) -> tuple[Trainable[Any, Any], Any]:
    """The trainable and its config from their JSON forms."""
    built = build_trainable(trainable, data, data_folder)
    return built, built.config_class.model_validate(dict(config))
