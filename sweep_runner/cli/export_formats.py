"""Further formats of a package: what `sweep export --formats` asks for, and adds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.cli.common import Out
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import SweepPaths
from trainables.formats import FORMATS, ONNX, missing

if TYPE_CHECKING:
    from sweep_runner.results.state import SweepState
    from sweep_runner.spec.plan import Plan


def wanted_formats(plan: Plan, formats: str | None, max_drop: float | None) -> Mapping[str, Any] | None:
    """The formats to add, as `formats_wanted` gives them; None: those of the sweep file, which is for a new package.

    Raises:
        RequestError: a name is none of a format.
    """
    from sweep_runner.execution.publishing.further_formats import formats_wanted
    from sweep_runner.spec.explain import did_you_mean
    from trainables.contract import Trainable

    if formats is None:
        if max_drop is not None:
            raise RequestError("--max-drop says what a format may lose: name one", hint="Add --formats onnx-int8.")
        return None
    given = list(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    for name in given:
        if name != ONNX and name not in FORMATS:
            raise RequestError(
                f"--formats {formats}: {name!r} is none of {', '.join((ONNX, *FORMATS))}",
                hint=did_you_mean(name, (ONNX, *FORMATS)),
            )
    names = [name for name in FORMATS if name in given]  # the float model is in every package
    if names and plan.trainable.add_formats is Trainable.add_formats:
        raise RequestError(f"trainable {plan.spec.trainable!r} has no formats beside its own package")
    for name, command in missing(names).items():
        raise RequestError(
            f"--formats {formats}: the package of {name} is not installed", hint=f"Install it: {command}"
        )
    export = plan.spec.export
    if max_drop is not None:
        export = export.model_copy(update={"max_drop": max_drop})
    return formats_wanted(export, plan.trainable.facts, test=False, names=names)


def add_to(
    package: Path, plan: Plan, paths: SweepPaths, state: SweepState, wanted: Mapping[str, Any], out: Out
) -> None:
    """Adds formats to a package of the sweep: to a copy, which takes its place when it is whole."""
    from sweep_runner.execution.evaluation.finalize import publish
    from sweep_runner.execution.publishing.further_formats import add_to_package
    from sweep_runner.execution.publishing.tasks import partial_of

    number = int(json.loads((package / "model.json").read_bytes())["origin"]["trial"])
    out.say(f"adding {', '.join(wanted['names'])} to {package}")
    partial = partial_of(package)
    try:
        shutil.copytree(package, partial)
        lines = add_to_package(plan, paths, state.trials[number], partial, wanted)
        publish(partial, package)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for line in lines:
        out.say(line)
    out.result(str(package))
