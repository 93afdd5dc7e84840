"""One trial's model, exported when somebody asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.evaluation.finalize import FinalResult, finalize
from sweep_runner.execution.publishing.further_formats import formats_wanted
from sweep_runner.execution.publishing.resolutions import resized_config
from sweep_runner.execution.publishing.tasks import checkpoint_of, make_staging, task_of_trial
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState
from sweep_runner.spec.plan import Plan


def export_trial(
    plan: Plan,
    paths: SweepPaths,
    state: SweepState,
    trial: int,
    target: Path,
    resolution: int | None = None,
    formats: Mapping[str, Any] | None = None,
) -> FinalResult:
    """Exports one trial's model into `target`, in this process and without touching the test split.

    With another resolution than it was trained at it is evaluated on val there, and says so. `formats` are wanted
    beside the model itself, as `formats_wanted` gives them; by default those of the sweep file.

    Raises:
        RequestError: the trial has no checkpoint, or its trainable no package.
        SweepError: the exported model does not agree with the trained one.
    """
    summary = state.trials[trial]
    checkpoint = checkpoint_of(paths, summary)
    if resolution is not None and plan.spec.export.refit:
        raise RequestError(
            f"--resolution {resolution}: with export.refit the model is retrained on train and val, and no examples "
            "are left to judge it by at another resolution"
        )
    if checkpoint is None:
        kept = [number for number in state.trials if checkpoint_of(paths, state.trials[number]) is not None]
        raise RequestError(
            f"{paths.name}: trial {trial} has no checkpoint on disk (only those of the best trials are kept)",
            hint=f"trials with a checkpoint: {', '.join(map(str, kept)) or 'none'}",
        )
    staging = make_staging(paths)
    try:
        if formats is None:
            formats = formats_wanted(plan.spec.export, plan.trainable.facts, test=False)
        # A model that was asked for by its number may be over a limit.
        task = replace(
            task_of_trial(plan, paths, state, summary, checkpoint, staging, (), True), limits={}, formats=formats
        )
        if resolution is not None:
            resized = resized_config(plan, plan.spec.config_of(summary.params), paths.data, resolution)
            info = {**task.info, "metrics": {}, "final_metrics": {}, "answer": [], "intervals": {}}
            info |= {"resolution": resolution}
            task = replace(task, config=resized, splits=("val",), info=info, predictions={})
        result = finalize(task)
        if result.error:
            raise SweepError(result.error)
        if result.verified is None:
            raise RequestError(f"trainable {plan.spec.trainable!r} has no model package to export")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staging / "package", target)
        return result
    finally:
        shutil.rmtree(staging, ignore_errors=True)
