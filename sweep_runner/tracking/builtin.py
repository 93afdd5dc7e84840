"""The built-in trackers but MLflow: CSV, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from typing import Any

from sweep_runner.tracking.tracker import TrackedSweep


class CsvTracker:
    """`metrics.csv`, one row per metric: trial, epoch, metric, value; `trials.csv`, one row per trial that ended."""

    def __init__(self, sweep: TrackedSweep) -> None:
        self._metrics = (sweep.folder / "metrics.csv").open("a", newline="", encoding="utf-8")
        self._trials = (sweep.folder / "trials.csv").open("a", newline="", encoding="utf-8")
        self._metric = sweep.metric
        if self._metrics.tell() == 0:
            csv.writer(self._metrics).writerow(["trial", "epoch", "metric", "value"])
            csv.writer(self._trials).writerow(["trial", "state", f"best_{sweep.metric}", "params"])

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        return

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        csv.writer(self._metrics).writerows([trial, epoch, metric, value] for metric, value in metrics.items())
        self._metrics.flush()

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        shown = " ".join(f"{key}={value}" for key, value in params.items())
        csv.writer(self._trials).writerow([trial, state, best.get(self._metric, ""), shown])
        self._trials.flush()

    def sweep_ended(self, state: str) -> None:
        self._metrics.close()
        self._trials.close()


class TensorBoardTracker:
    """A run per trial, with its params in the HParams tab. Open with `tensorboard --logdir FOLDER`."""

    def __init__(self, sweep: TrackedSweep) -> None:
        import tensorboardX  # noqa: F401 - found missing at the start, not at the first trial

        self._sweep = sweep
        self._writers: dict[int, Any] = {}

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        self._writer(trial)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        writer = self._writer(trial)
        for metric, value in metrics.items():
            writer.add_scalar(metric, value, epoch)
        writer.flush()

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        from tensorboardX.summary import hparams

        writer = self._writer(trial)
        chosen = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in params.items()}
        metrics = {f"best/{self._sweep.metric}": best.get(self._sweep.metric, math.nan)}
        # Into the run's own file: `add_hparams` opens a second one, named by the second, which in a short trial is
        # the name of the first and takes its place.
        for summary in hparams({**chosen, "state": state}, metrics):
            writer.file_writer.add_summary(summary)
        for metric, value in metrics.items():
            writer.add_scalar(metric, value)
        self._writers.pop(trial).close()

    def sweep_ended(self, state: str) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, trial: int) -> Any:
        from tensorboardX import SummaryWriter

        if trial not in self._writers:
            folder = self._sweep.folder / f"trial-{trial:04d}"
            self._writers[trial] = SummaryWriter(logdir=str(folder))
        return self._writers[trial]


class WandbTracker:
    """A run per trial, grouped by sweep, written offline: `wandb sync` sends it if the user wants that.

    With WANDB_MODE=online set by the user, runs are sent while they happen.
    """

    def __init__(self, sweep: TrackedSweep) -> None:
        import wandb

        self._wandb = wandb
        self._sweep = sweep
        self._runs: dict[int, Any] = {}

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        self._run(trial, params, name)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._run(trial, {}, None).log(dict(metrics), step=epoch)

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        run = self._run(trial, params, None)
        run.summary.update({"state": state, **{f"best/{metric}": value for metric, value in best.items()}})
        run.finish(exit_code=0 if state in ("COMPLETED", "PRUNED") else 1)
        del self._runs[trial]

    def sweep_ended(self, state: str) -> None:
        for run in self._runs.values():
            # Those that a completed sweep leaves open are of paused trials, which did not fail.
            run.finish(exit_code=0 if state == "COMPLETED" else 1)
        self._wandb.teardown()

    def _run(self, trial: int, params: Mapping[str, Any], name: str | None) -> Any:
        import os

        if trial not in self._runs:
            mode: Any = os.environ.get("WANDB_MODE", "offline")
            self._runs[trial] = self._wandb.init(
                project=self._sweep.name,
                group=self._sweep.name,
                name=name or f"trial-{trial}",
                config={"trial": trial, **params},
                dir=str(self._sweep.folder),
                mode=mode,
                reinit="create_new",
                settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True),
            )
        return self._runs[trial]
