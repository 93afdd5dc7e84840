"""Pictures of the data: examples of an evaluation, and what a trial's network was fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep_runner.results.leaderboard import TrialRow
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn

if TYPE_CHECKING:
    from sweep_runner.spec.model import SweepSpec

THUMBNAIL = 96
"""Pixels: about 3 kB as JPEG."""
_NUM_FED = 12


def pictures_of(
    paths: SweepPaths, spec: SweepSpec | None, examples: Sequence[str], warn: Warn, size: int = THUMBNAIL
) -> Mapping[str, bytes]:
    """Small pictures by example, no side longer than `size` pixels; none where the data is gone, or its trainable shows
    none."""
    from pydantic import ValidationError

    from trainables.errors import TrainableError

    if spec is None or not examples:
        return {}
    try:
        trainable = _trainable(paths, spec, warn)
        return {} if trainable is None else trainable.pictures(examples, size)
    except (TrainableError, ValidationError, OSError, pa.ArrowInvalid) as error:
        warn(f"no images: {(str(error).splitlines() or [type(error).__name__])[0]}")
        return {}


def fed_to(paths: SweepPaths, spec: SweepSpec | None, row: TrialRow, warn: Warn) -> tuple[bytes, str] | None:
    """A picture of what a trial's network was fed, and what is to be seen on it; None where there is none.

    Data that is gone is told of by `pictures_of`.
    """
    from pydantic import ValidationError

    from trainables.errors import TrainableError

    if spec is None or row.row["seed"] is None:
        return None
    try:
        trainable = _trainable(paths, spec, lambda text: None)
        if trainable is None:
            return None
        config = trainable.config_class.model_validate(spec.config_of(row.params))
        found: tuple[bytes, str] | None = trainable.pictures_fed(config, int(row.row["seed"]), _NUM_FED)
        return found
    except (TrainableError, ValidationError, OSError, pa.ArrowInvalid):
        return None


def _trainable(paths: SweepPaths, spec: SweepSpec, warn: Warn) -> Any:
    """The sweep's trainable; None where its code is not ours to run."""
    from trainables.loading import load_trainable
    from trainables.own_modules import not_imported

    if foreign := not_imported(spec.trainable, spec.data):
        warn(
            f"no images: the results name {' and '.join(foreign)}, and what results name is not run. "
            "If it is yours: sweep report NAME --own-modules"
        )
        return None
    found = load_trainable(spec.trainable)
    return found(found.data_class.model_validate(spec.data), paths.data)
