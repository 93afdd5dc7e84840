"""`export.soup` and what else makes one model of several, checked against the rest of the sweep file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from sweep_runner.errors import Problem
from sweep_runner.spec.document import Places
from sweep_runner.spec.model import SweepSpec
from trainables.combining import Combines
from trainables.contract import Trainable

Found = tuple[str, str, str]
"""The key of `export`, what is wrong, and what to do."""


def check_candidates(
    spec: SweepSpec,
    trainable: type[Trainable[Any, Any]],
    data: BaseModel | None,
    candidates: Mapping[str, Sequence[Any]],
    places: Places,
    problems: list[Problem],
) -> None:
    """Adds what keeps a sweep from making one model of several.

    Args:
        spec: the sweep.
        trainable: its class.
        data: the data section; None: it is wrong itself.
        candidates: what each config key can be.
        places: of the sweep file.
        problems: to add to.
    """
    export = spec.export
    if export.temperature and not trainable.scales:
        message = f"export.temperature: {spec.trainable} does not apply a temperature to the model that it exports"
        problems.append(Problem(message, places.where(("export", "temperature")), "Leave export.temperature out."))
    if export.ensemble is not None and 1 < spec.search.trials < export.ensemble:
        message = f"export.ensemble is {export.ensemble}: the sweep has {spec.search.trials} trials"
        problems.append(Problem(message, places.where(("export", "ensemble")), "Raise search.trials, or take fewer."))
    asked = {"soup": export.soup, "ensemble": export.ensemble}
    for key in (key for key, value in asked.items() if value is not None):
        for message, hint in _wrong(key, spec, trainable, data, candidates):
            problems.append(Problem(f"export.{key}: {message}", places.where(("export", key)), hint))


def _wrong(
    key: str,
    spec: SweepSpec,
    trainable: type[Trainable[Any, Any]],
    data: BaseModel | None,
    candidates: Mapping[str, Sequence[Any]],
) -> Iterator[tuple[str, str]]:
    leave_out = f"Leave export.{key} out."
    if not issubclass(trainable, Combines):
        yield f"{spec.trainable} cannot make one model of several checkpoints", leave_out
        return
    if spec.search.trials < 2:
        yield "the sweep has one trial, and it takes the checkpoints of several", "Raise search.trials."
    if not spec.export.formats:
        yield "export.formats is empty, so that no model is published", leave_out
    if data is not None and trainable.num_models(data) > 1:
        yield (
            "with data.split.folds a trial leaves one model per fold, none of which has seen all of train",
            f"Leave export.{key} or data.split.folds out.",
        )
    elif spec.export.refit:
        yield (
            "export.refit publishes a model that is retrained on train and val, and this one that is made of "
            "checkpoints that have not seen val",
            f"Leave export.{key} or export.refit out.",
        )
    if key == "soup" and (why := trainable.why_no_soup(candidates)):
        yield why, leave_out
