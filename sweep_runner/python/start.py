"""`run_sweep`: a sweep from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweep_runner.errors import RequestError
from sweep_runner.python.session import Request, overrides_of, plain, run
from sweep_runner.python.show import screen
from sweep_runner.python.sweep import Sweep
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.spec.changes import differences
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.loader import load_resolved
from sweep_runner.spec.model import SweepSpec
from trainables import notebook
from trainables.errors import TrainableError

_KEYS = frozenset(SweepSpec.model_fields)


def run_sweep(
    sweep: str | os.PathLike[Any] | Mapping[str, Any],
    *,
    results: str | os.PathLike[Any] = "results",
    trainable: str | Callable[..., Any] | None = None,
    resume: bool = False,
    fresh: bool = False,
    quiet: bool = False,
    **sections: Any,
) -> Sweep:
    """Runs a sweep to its end and returns it. In Jupyter a table shows how far it is, in place.

    An interrupt (Jupyter's stop button, Ctrl-C) stops the sweep within seconds and raises KeyboardInterrupt; what was
    done is kept, and `resume=True` goes on. A second one ends it at once.

    Args:
        sweep: a sweep file, or a mapping of what would stand in it.
        results: the results folder.
        trainable: what trains, as in the file; or a class or function of this notebook: a subclass of `Trainable`, or a
            function whose arguments are the hyperparameters (see `trainables.notebook.of_function`).
        resume: go on with the sweep of this name if there is one: with these settings, as `sweep resume --file` does.
        fresh: put a sweep of this name aside and start over.
        quiet: show warnings only.
        sections: override keys of the sweep: `search={"trials": 4}`, `fixed={"epochs": 2}`, `name="again"`.

    Returns:
        The sweep: `.best`, `.top()`, `.trials()`, `.report()`, `.predict(images)`.

    Raises:
        RequestError: something is wrong with the sweep, or there is one of this name.
        SweepError: it failed.
        KeyboardInterrupt: it was stopped; it can be resumed.
    """
    if unknown := sorted(set(sections) - _KEYS):
        raise RequestError(
            f"run_sweep has no argument {unknown[0]!r}", hint=f"A sweep has the keys {', '.join(sorted(_KEYS))}."
        )
    if "://" in os.fspath(results):
        raise RequestError(f"results={os.fspath(results)!r}: from Python, results must be a folder")
    root = Path(results).expanduser().absolute()
    values: dict[str, Any] | None = dict(sweep) if isinstance(sweep, Mapping) else None
    trains: Any = trainable or (values or {}).get("trainable")
    if trains is not None and not isinstance(trains, str):
        try:
            trains = notebook.hold(trains)
        except TrainableError as error:
            raise RequestError(str(error)) from error
    if trains is not None:
        sections["trainable"] = trains
    if values is not None:
        values.pop("trainable", None)
    source = Path(os.fspath(sweep)).expanduser() if values is None else plain(values)  # type: ignore[arg-type]
    overrides = list(overrides_of(sections))
    plan = load_plan(source, overrides)
    there = ResultsPaths(root).sweep(plan.spec.name)
    going_on = resume and there.spec.is_file()
    changed: list[str] = []
    if going_on:
        before = load_resolved(there.spec).spec
        plan = load_plan(source, overrides, before=before)
        changed = [str(change) for change in differences(before, plan.spec)]
    elif there.spec.is_file() and not fresh:
        raise RequestError(
            f"{there.root}: a sweep named {plan.spec.name!r} exists already",
            hint="Continue it: resume=True. Move it aside and start over: fresh=True. Run under another name: "
            f"name='OTHER'. Open it: Sweep({plan.spec.name!r}).",
        )
    shown = screen(quiet)
    if plan.taken is not None and not going_on:
        shown.show({"kind": "note", "text": f"The sweep has no space. It uses this one:\n{plan.taken.text}"})
    for warning in plan.warnings:
        shown.show({"kind": "warning", "text": warning})
    run(Request(plan, root, going_on, fresh, changed), shown)
    return Sweep(plan.spec.name, root)
