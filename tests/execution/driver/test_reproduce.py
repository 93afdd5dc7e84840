"""`sweep reproduce`: recorded trials again, in this process and without Ray."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from sweep_runner.cli.main import main
from sweep_runner.results.environment import capture_environment
from sweep_runner.results.events import EpochReported, SweepChanged, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.requirements import requirements
from sweep_runner.spec.check import load_plan
from trainables.contract import EpochReport, NoData, Trainable, TrialHandle
from trainables.local import LocalHandle

SYNTHETIC: dict[str, Any] = {
    "name": "small",
    "trainable": "synthetic",
    "fixed": {"epochs": 4, "noise": 0.1},
    "space": {"lr": [0.01, 0.1]},
    "search": {"sampler": "grid", "trials": 2},
}
DIGITS: dict[str, Any] = {
    "name": "small",
    "data": {"dataset": "digits", "limit": 200},
    "fixed": {
        "epochs": 3, "input_resolution": 16, "color": "grayscale", "model": "mlp6", "pretrained": False, "width": 32,
        "finetune": "scratch", "mixed_precision": "no", "dropout": 0.2,
    },
    "space": {"lr": [0.001, 0.003]},
    "search": {"sampler": "grid", "trials": 2},
}  # fmt: skip
FAULTY: dict[str, Any] = {
    "name": "small",
    "trainable": f"{__name__}:Faulty",
    "fixed": {"epochs": 3},
    "space": {"what": ["raises", "fine"]},
    "objective": {"metric": "score", "mode": "max"},
    "search": {"sampler": "grid", "trials": 2},
}
Record = Callable[..., SweepPaths]


class FaultyConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 3
    what: str = "fine"


class Faulty(Trainable[FaultyConfig, NoData]):
    """Fails in epoch 2, if told to."""

    config_class = FaultyConfig

    def train(self, config: FaultyConfig, handle: TrialHandle) -> None:
        for epoch in range(1, config.epochs + 1):
            if epoch == 2 and config.what == "raises":
                raise RuntimeError("the flux is off")
            handle.report(EpochReport(epoch, {"score": epoch / 10}))


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Trains trial 0 of a sweep in this process, in attempts that end at the epochs given, and records it."""
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path / "results"))

    def make(
        spec: Mapping[str, Any],
        params: Mapping[str, Any],
        stops: Sequence[int] = (),
        end: Any = "COMPLETED",
        last: int | None = None,
        **events: Any,
    ) -> SweepPaths:
        paths = SweepPaths(tmp_path / "results" / "small")
        paths.root.mkdir(parents=True)
        paths.spec.write_text(yaml.safe_dump(dict(spec)))
        paths.environment.write_text(json.dumps(capture_environment(["sweep", "run"])))
        plan = load_plan(paths.spec)
        paths.data.mkdir()
        trainable = plan.trainable(plan.data, paths.data)
        prepared = trainable.prepare(plan.candidates)
        begun: dict[str, Any] = {"trial": 0, "seed": 7, "params": params, "num_threads": 1}
        with Recorder(paths, plan.spec.objective, list(plan.spec.space), {}) as recorder:
            running = SweepChanged(
                time=1.0, state="RUNNING", data_fingerprint=prepared.fingerprint, digests=prepared.digests
            )
            recorder.record(running)
            for attempt, stop in enumerate((*stops, last), start=1):
                recorder.record(TrialStarted(time=2e9, attempt=attempt, **begun))

                def on_report(report: Any, attempt: int = attempt, stop: int | None = stop) -> None:
                    told = EpochReported(
                        time=2e9, trial=0, attempt=attempt, epoch=report.epoch, metrics=report.metrics,
                        host=platform.node(), device="cpu",
                    )  # fmt: skip
                    recorder.record(told)
                    if report.epoch == stop:
                        raise SystemExit

                handle = LocalHandle(
                    paths.trial(0), attempt=attempt, seed=7, metric=plan.spec.objective.metric, on_report=on_report
                )
                try:
                    trainable.train(plan.make_config(params), handle)
                except SystemExit:
                    if attempt > len(stops):
                        continue
                    recorder.record(TrialPaused(time=2e9, trial=0, attempt=attempt, epoch=stop or 0, reason="a rung"))
                except RuntimeError:
                    assert end == "FAILED"
            recorder.record(TrialEnded(time=2e9, trial=0, attempt=len(stops) + 1, state=end, **events))
            recorder.record(SweepChanged(time=2e9, state="COMPLETED"))
        return paths

    return make


def reproduce(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["reproduce", "small", *arguments]) == code
    out, err = capsys.readouterr()
    return out + err


def change_log(paths: SweepPaths, kind: str, **changes: Any) -> None:
    """Changes the last event of a kind, as if it had been recorded so."""
    lines = [json.loads(line) for line in paths.log.read_text().splitlines()]
    found = [line for line in lines if line["kind"] == kind][-1]
    for name, value in changes.items():
        found[name] = {**found[name], **value} if isinstance(value, dict) else value
    paths.log.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "xxh3"}) + "\n" for line in lines))


def everything(paths: SweepPaths) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in paths.root.rglob("*")}


def test_a_trial_that_was_paused_twice_is_the_same_to_the_last_digit(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = record(DIGITS, {"lr": 0.003}, stops=(1, 2))
    before = everything(paths)
    said = reproduce(capsys)
    assert "figures of 3 epochs are the same to the last digit" in said
    assert "3 attempts, paused after epoch 1, 2; here it runs without a break" in said
    assert everything(paths) == before, "the sweep's folder is as it was"


def test_one_figure_that_is_off_is_named_and_is_exit_code_1(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record(SYNTHETIC, {"lr": 0.1})
    assert "the same to the last digit" in reproduce(capsys, "0")
    change_log(paths, "epoch", metrics={"val_loss": 3.5})
    said = reproduce(capsys, "0", code=1)
    assert "1 are not the same to the last digit" in said
    assert "4\tval_loss\t3.5\t" in said
    found = json.loads(reproduce(capsys, "0", "--json", "--quiet", code=1))
    assert not found["reproduced"]
    assert [(row["epoch"], row["metric"], row["recorded"]) for row in found["deviations"]] == [(4, "val_loss", 3.5)]
    assert "reproduced within 99 %" in reproduce(capsys, "0", "--tolerance", "0.99")


def test_epoch_times_are_no_figures(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record(SYNTHETIC, {"lr": 0.1})
    change_log(paths, "epoch", metrics={"epoch_s": 1e6})
    assert "the same to the last digit" in reproduce(capsys)


def test_a_pruned_trial_is_stopped_where_it_was(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record(SYNTHETIC, {"lr": 0.01}, end="PRUNED", last=2)
    said = reproduce(capsys)
    assert "figures of 2 epochs are the same" in said
    assert "ended as PRUNED after epoch 2: the run stops there" in said


def test_other_versions_are_said_and_allow_five_percent(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record(SYNTHETIC, {"lr": 0.1})
    environment = json.loads(paths.environment.read_text())
    del environment["versions"]["pillow"]
    paths.environment.write_text(json.dumps(environment))
    assert "the same to the last digit" in reproduce(capsys), "what is not on record is no other version"
    environment["versions"]["torch"] = "1.0"
    paths.environment.write_text(json.dumps(environment))
    said = reproduce(capsys)
    assert "not as recorded: torch 1.0 →" in said
    assert "within 5 %" in said


def test_other_data_ends_before_training(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record(DIGITS, {"lr": 0.003})
    paths.spec.write_text(yaml.safe_dump({**DIGITS, "data": {"dataset": "digits", "limit": 150}}))
    said = reproduce(capsys, code=1)
    assert "the data has changed" in said
    assert "epoch 1" not in said


def test_a_failed_trial_has_to_fail_again(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    paths = record(FAULTY, {"what": "raises"}, end="FAILED", reason="RuntimeError: the flux is off")
    assert "it failed: RuntimeError: the flux is off, as recorded" in reproduce(capsys, "0")
    change_log(paths, "start", params={"what": "fine"})
    assert "it did not fail here; recorded: RuntimeError" in reproduce(capsys, "0", code=1)


def test_what_cannot_be_reproduced_is_refused_in_words(
    record: Record, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paths = record(SYNTHETIC, {"lr": 0.1})
    assert "has no trial 9" in reproduce(capsys, "9", code=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is not empty" in reproduce(capsys, "--folder", str(tmp_path / "full"), code=2)
    paths.spec.write_text(
        yaml.safe_dump({**FAULTY, "resources": {"workers": 2}, "trainable": "image_classifier",
                        "data": {"dataset": "digits"}, "fixed": {}, "space": {"lr": [0.1, 0.2]},
                        "objective": {"metric": "val_accuracy"}})
    )  # fmt: skip
    assert "trained by 2 workers together" in reproduce(capsys, code=2)


def test_each_row_of_the_leaderboard_tells_its_command(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record(SYNTHETIC, {"lr": 0.1})
    assert main(["show", "small", "0"]) == 0
    assert "sweep reproduce small 0" in capsys.readouterr().out
    assert main(["report", "small"]) == 0
    assert "sweep reproduce small 0" in Path(capsys.readouterr().out.strip()).read_text()


def test_requirements_name_versions_and_neither_folders_nor_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    origins: dict[str, dict[str, Any] | None] = {
        "plain": None,
        "mine": {"url": "file:///home/me/mine", "dir_info": {"editable": True}},
        "fork": {"url": "https://git.example/fork", "vcs_info": {"vcs": "git", "commit_id": "abc123"}},
    }
    for name, direct in origins.items():
        folder = tmp_path / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        if direct is not None:
            (folder / "direct_url.json").write_text(json.dumps(direct))
    text = requirements(metadata.distributions(path=[str(tmp_path)]))
    assert text.splitlines()[1:] == [
        "# fork == 1.2: installed from version control, commit abc123",
        "# mine == 1.2: an editable install",
        "plain == 1.2",
    ]
    everything_here = requirements()
    assert "://" not in everything_here
    assert sys.prefix not in everything_here
    assert "numpy == " in everything_here
