"""A whole sweep with every tracker, through Ray's start and end, read back with the trackers' own tools."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from tests.support.sweeps import SPEC, log_of, merged, sweep
from tests.support.wandb_runs import read_run


@pytest.mark.ray
def test_every_tracker_holds_what_the_log_holds(tmp_path: Path) -> None:
    for tracker in ("tensorboard", "wandb", "mlflow"):
        pytest.importorskip(tracker)
    file = tmp_path / "small.yaml"
    loggers = ["csv", "tensorboard", "mlflow", "wandb"]
    file.write_text(yaml.safe_dump(merged(SPEC, {"loggers": loggers})))
    environment = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": "", "WANDB_DIR": "", "WANDB_SILENT": "true"}
    done = sweep("run", file, "--results", tmp_path / "results", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    for words in ("dropped", "Traceback", "not caught up"):
        assert words not in done.stderr, done.stderr

    root = tmp_path / "results" / "small"
    events = [event for event in log_of(root) if event["kind"] == "epoch"]
    logged = {(event["trial"], event["epoch"]): event["metrics"]["val_accuracy"] for event in events}
    assert len(logged) == 6 * 4
    found = {
        "csv": of_csv(root),
        "tensorboard": of_tensorboard(root),
        "mlflow": of_mlflow(root),
        "wandb": of_wandb(root),
    }
    for tracker, values in found.items():
        assert values == pytest.approx(logged, rel=1e-6), tracker  # TensorBoard has 32 bits


Values = dict[tuple[int, int], float]


def of_csv(root: Path) -> Values:
    rows = csv.DictReader((root / "trackers/csv/metrics.csv").open())
    return {
        (int(row["trial"]), int(row["epoch"])): float(row["value"]) for row in rows if row["metric"] == "val_accuracy"
    }


def of_tensorboard(root: Path) -> Values:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values: Values = {}
    for trial in range(6):
        found = EventAccumulator(str(root / f"trackers/tensorboard/trial-{trial:04d}"))
        found.Reload()
        values |= {(trial, point.step): point.value for point in found.Scalars("val_accuracy")}
    return values


def of_mlflow(root: Path) -> Values:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'trackers/mlflow/mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    return {
        (int(run.data.tags["trial"]), point.step): point.value
        for run in runs
        for point in client.get_metric_history(run.info.run_id, "val_accuracy")
    }


def of_wandb(root: Path) -> Values:
    import wandb  # noqa: F401 - its record types need it

    values: Values = {}
    files = sorted((root / "trackers/wandb").glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 6
    for file in files:
        run = read_run(file)
        assert run.exit_code is not None, f"{file} was cut off"
        values |= {(int(run.config["trial"]), int(row["_step"])): row["val_accuracy"] for row in run.rows}
    return values
