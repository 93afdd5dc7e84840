"""From the JSON forms that travel to the objects that work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.contract import Trainable
from trainables.loading import load_trainable


def build(
    trainable: str, data: Mapping[str, Any], data_folder: str, config: Mapping[str, Any]
) -> tuple[Trainable[Any, Any], Any]:
    """The trainable and its config from their JSON forms."""
    trainable_class = load_trainable(trainable)
    parsed = trainable_class.data_class.model_validate(dict(data))
    return trainable_class(parsed, Path(data_folder)), trainable_class.config_class.model_validate(dict(config))
