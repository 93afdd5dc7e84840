"""The MLflow tracker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from sweep_runner.tracking.tracker import TrackedSweep

_NOT_IN_NAMES = re.compile(r"[^\w\-./: ]", re.ASCII)
"""MLflow refuses any other character in the name of a metric or param (mlflow.utils.validation)."""
_NAMES_TAG = "names_here"


class MlflowTracker:
    """A run per trial in an experiment of the sweep's name, at MLFLOW_TRACKING_URI or in a SQLite file here.

    A name that MLflow does not take gets underscores (`recall@5` is `recall_5`); the run's tag `names_here` says which
    is which. Where the experiment of that name was deleted, the next free one is taken (`NAME-2`).
    """

    def __init__(self, sweep: TrackedSweep) -> None:
        import os

        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{sweep.folder / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        self._sweep = sweep
        self._experiment = self._open_experiment(sweep.name)
        self._runs: dict[int, str] = {}
        self._names = _Names()
        self._told: dict[int, int] = {}  # how many names the run of a trial has in its tag

    def trial_started(self, trial: int, params: Mapping[str, Any], name: str | None) -> None:
        if trial in self._runs:
            return
        folder = str(self._sweep.folder)
        # The folder is compared here: in a filter a path may hold quotes.
        for run in self._client.search_runs([self._experiment], filter_string=f"tags.trial = '{trial}'"):
            if run.data.tags.get("folder") == folder:
                self._runs[trial] = run.info.run_id
                return
        tags = {"trial": str(trial), "folder": folder}
        run = self._client.create_run(self._experiment, run_name=name or f"trial-{trial}", tags=tags)
        self._runs[trial] = run.info.run_id
        for key, there in self._names.of(params).items():
            self._client.log_param(run.info.run_id, there, params[key])
        self._tell_names(trial)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self.trial_started(trial, {}, None)
        names = self._names.of(metrics)
        for metric, value in metrics.items():
            self._client.log_metric(self._runs[trial], names[metric], value, step=epoch)
        self._tell_names(trial)

    def trial_ended(self, trial: int, state: str, params: Mapping[str, Any], best: Mapping[str, float]) -> None:
        self.trial_started(trial, params, None)
        run = self._runs[trial]
        bests = {f"best_{metric}": value for metric, value in best.items()}
        for name, there in self._names.of(bests).items():
            self._client.log_metric(run, there, bests[name])
        self._tell_names(trial)
        self._client.set_tag(run, "state", state)
        self._client.set_terminated(run, status="FINISHED" if state in ("COMPLETED", "PRUNED") else "FAILED")

    def sweep_ended(self, state: str) -> None:
        return

    def _open_experiment(self, name: str) -> str:
        """The experiment of that name; of one that was deleted the name is taken, and it stays deleted."""
        for number in count(1):
            candidate = name if number == 1 else f"{name}-{number}"
            found = self._client.get_experiment_by_name(candidate)
            if found is None:
                return str(self._client.create_experiment(candidate))
            if found.lifecycle_stage == "active":
                return str(found.experiment_id)
        raise AssertionError("there is always a next number")

    def _tell_names(self, trial: int) -> None:
        if len(self._names.changed) > self._told.get(trial, 0):
            self._told[trial] = len(self._names.changed)
            self._client.set_tag(self._runs[trial], _NAMES_TAG, json.dumps(self._names.changed, ensure_ascii=False))


class _Names:
    """Names that MLflow takes, for any name; two names never become one.

    Attributes:
        changed: name there → name here, where they differ.
    """

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Name here → name there. Of names that come together those that MLflow takes stay as they are."""
        wanted = list(names)
        for name in sorted(wanted, key=lambda name: _fitting(name) != name):
            if name in self._known:
                continue
            there = _fitting(name)
            if there in self._known.values():
                there = f"{there}-{hashlib.blake2b(name.encode(errors='replace'), digest_size=3).hexdigest()}"
            self._known[name] = there
            if there != name:
                self.changed[there] = name
        return {name: self._known[name] for name in wanted}


def _fitting(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name).lstrip("/.") or "_"
