"""Trackers hold what the log has, read back by the trackers' own tools."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sweep_runner.results.events import EpochReported, SweepChanged, TrialPaused, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective, SweepSpec
from sweep_runner.tracking.follow import trackers
from tests.support.evaluated import write_evaluated_sweep

NUM_TRIALS, NUM_EPOCHS = 3, 4
OWN = "tests.support.tracked:Lines"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return write_evaluated_sweep(
        tmp_path / "results", ["a", "b"], epochs=NUM_EPOCHS, baselines=["plain"], num_others=2, examples=20
    )


def follow(sweep: SweepPaths, *loggers: str) -> list[str]:
    told: list[str] = []
    with trackers(SweepSpec(name=sweep.name, loggers=loggers), sweep, told.append):
        pass
    return told


def test_csv_has_every_metric_of_every_epoch_once_also_when_the_sweep_is_resumed(sweep: SweepPaths) -> None:
    assert follow(sweep, "csv") == []
    assert follow(sweep, "csv") == []
    rows = list(csv.DictReader((sweep.root / "trackers/csv/metrics.csv").open()))
    assert len(rows) == NUM_TRIALS * NUM_EPOCHS * 4
    assert len(list(csv.DictReader((sweep.root / "trackers/csv/trials.csv").open()))) == NUM_TRIALS


def test_an_own_tracker_is_told_in_the_order_of_the_log(sweep: SweepPaths) -> None:
    assert follow(sweep, OWN) == []
    lines = (sweep.root / "trackers" / OWN.replace(":", ".") / "lines.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [each[0] for each in told] == (["start"] + ["epoch"] * NUM_EPOCHS + ["end"]) * NUM_TRIALS + ["sweep"]
    assert told[-1] == ["sweep", "COMPLETED"]


def test_one_that_fails_is_told_once_and_the_others_go_on(sweep: SweepPaths) -> None:
    (told,) = follow(sweep, "tests.support.tracked:Failing", "csv")
    assert "dropped" in told
    assert "no room in the tracker" in told
    assert (sweep.root / "trackers/csv/metrics.csv").stat().st_size > 1000


def test_one_that_does_not_exist_is_told(sweep: SweepPaths) -> None:
    (told,) = follow(sweep, "no_such_package:Tracker")
    assert "no_such_package" in told


def test_tensorboard_reads_curves_and_hparams(sweep: SweepPaths) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert follow(sweep, "tensorboard") == []
    found = EventAccumulator(str(sweep.root / "trackers/tensorboard/trial-0001"))
    found.Reload()
    assert [point.step for point in found.Scalars("val_accuracy")] == [1, 2, 3, 4]
    assert found.Scalars("best/val_accuracy")
    assert "_hparams_/session_start_info" in found.summary_metadata


def test_wandb_leaves_offline_runs(sweep: SweepPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert follow(sweep, "wandb") == []
    files = list((sweep.root / "trackers/wandb").glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == NUM_TRIALS
    assert any(b"val_accuracy" in file.read_bytes() for file in files)


def test_wandb_takes_a_paused_trial_of_a_completed_sweep_for_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from tests.support.wandb_runs import read_run

    monkeypatch.delenv("WANDB_MODE", raising=False)
    paths = SweepPaths(tmp_path / "small")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))
        recorder.record(TrialStarted(time=1.0, trial=0, attempt=1, seed=0, params={"lr": 0.1}))
        recorder.record(EpochReported(time=2.0, trial=0, attempt=1, epoch=1, metrics={"val_accuracy": 0.5}))
        recorder.record(TrialPaused(time=2.0, trial=0, attempt=1, epoch=1, reason="rung at epoch 1"))
        recorder.record(SweepChanged(time=3.0, state="COMPLETED"))
    assert follow(paths, "wandb") == []
    (file,) = (paths.root / "trackers/wandb").glob("wandb/offline-run-*/run-*.wandb")
    assert read_run(file).exit_code == 0


def test_mlflow_takes_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote in the path, metrics that MLflow does not take, an experiment that was deleted."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    from sweep_runner.tracking.mlflow_tracker import MlflowTracker
    from sweep_runner.tracking.tracker import TrackedSweep

    folder = tmp_path / 'o\'brien "x"'
    folder.mkdir()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.create_experiment("small"))
    metrics = {"recall@5": 0.5, "recall_5": 0.25, "top-k (5)": 0.75, "größe": 1.0}
    for _ in range(2):  # the second is a resumed sweep, and goes on with the same run
        tracker = MlflowTracker(TrackedSweep(name="small", folder=folder, metric="recall@5", mode="max"))
        tracker.trial_started(0, {"x?": 1}, None)
        tracker.epoch_reported(0, 1, metrics)
        tracker.trial_ended(0, "COMPLETED", {"x?": 1}, metrics)
    experiment = client.get_experiment_by_name("small-2")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    names = json.loads(run.data.tags["names_here"])
    found = {names.get(name, name): value for name, value in run.data.metrics.items()}
    assert {name: found[name] for name in metrics} == metrics
    assert found["best_recall@5"] == 0.5


def test_mlflow_has_a_run_a_trial_in_a_file(sweep: SweepPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert follow(sweep, "mlflow") == []
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{sweep.root / 'trackers/mlflow/mlflow.db'}")
    experiment = client.get_experiment_by_name(sweep.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == NUM_TRIALS
    assert all(len(client.get_metric_history(run.info.run_id, "val_accuracy")) == NUM_EPOCHS for run in runs)
    assert {run.info.status for run in runs} == {"FINISHED"}
