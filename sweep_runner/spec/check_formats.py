"""`export.formats`, checked against what the trainable can export."""

from __future__ import annotations

from typing import Any

from sweep_runner.errors import Problem
from sweep_runner.spec.document import Places
from sweep_runner.spec.model import SweepSpec
from trainables.contract import Trainable
from trainables.formats import further_formats, missing


def check_formats(
    spec: SweepSpec, trainable: type[Trainable[Any, Any]], places: Places, problems: list[Problem]
) -> None:
    """Adds what is wrong with the formats of the model package."""
    wanted = further_formats(spec.export.formats)
    if wanted and trainable.add_formats is Trainable.add_formats:
        problems.append(
            Problem(
                f"export.formats asks for {', '.join(wanted)}, and the trainable {spec.trainable!r} makes no further "
                "formats of its model",
                places.where(("export", "formats")),
                "Leave them out, or give the trainable a method add_formats.",
            )
        )
    for name, command in missing(wanted).items():
        problems.append(
            Problem(
                f"export.formats asks for {name}, whose package is not installed",
                places.where(("export", "formats")),
                f"Install it: {command}",
            )
        )
