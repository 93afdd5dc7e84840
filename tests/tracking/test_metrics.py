"""Prometheus metrics without Ray: what is told, to whom, and where it is found."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from sweep_runner.cli.main import main
from sweep_runner.cli.metrics import dashboard_file
from sweep_runner.durable import SweepLock
from sweep_runner.execution.resources.gpus import GpuSight
from sweep_runner.results.events import AttemptFailed, EpochReported, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from sweep_runner.tracking.endpoint import metrics_endpoint
from sweep_runner.tracking.metrics import METRICS, SweepCollector

Series = dict[tuple[str, str], float]
"""(metric, trial or state) → value."""

TOKEN = "a-token-of-mine"


@pytest.fixture
def paths(tmp_path: Path) -> SweepPaths:
    paths = SweepPaths(tmp_path / "results" / "small")
    paths.root.mkdir(parents=True)
    return paths


@pytest.fixture
def recorder(paths: SweepPaths) -> Iterator[Recorder]:
    """Of a sweep in which trial 0 has ended, 1 runs, 2 has failed once and waits, 3 has just begun."""
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))
        for trial in range(4):
            start(recorder, trial, "plain" if trial == 1 else None)
        for trial, epoch, accuracy in ((0, 1, 0.7), (1, 1, 0.8), (1, 2, 0.75)):
            report(recorder, trial, epoch, accuracy)
        end(recorder, 0)
        recorder.record(AttemptFailed(time=4.0, trial=2, attempt=1, reason="it fell"))
        yield recorder


def start(recorder: Recorder, trial: int, name: str | None = None) -> None:
    recorder.record(TrialStarted(time=2.0, trial=trial, attempt=1, seed=1, params={"lr": 0.1}, name=name))


def report(recorder: Recorder, trial: int, epoch: int, accuracy: float) -> None:
    metrics = {
        "val_accuracy": accuracy,
        "images_per_s": 100.0,
        "data_wait_fraction": 0.25,
        "peak_memory_bytes": 3e9 / epoch,
    }
    recorder.record(
        EpochReported(time=3.0, trial=trial, attempt=1, epoch=epoch, metrics=metrics, host="node-7", device="cpu")
    )


def end(recorder: Recorder, trial: int) -> None:
    recorder.record(TrialEnded(time=4.0, trial=trial, attempt=1, state="COMPLETED"))


def serving(
    recorder: Recorder, paths: SweepPaths, warnings: list[str], listen: bool | str = True
) -> AbstractContextManager[str]:
    token = paths.root.parent / "token"
    token.write_text(f"{TOKEN}\n")
    return metrics_endpoint(
        SweepCollector("small", 9, recorder.look, lambda: GpuSight(1, 0.5, 3 << 30, 4 << 30, 4 << 30)),
        paths,
        listen,
        token,
        warnings.append,
    )


def scraped(address: str, token: str = TOKEN) -> Series:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.labels["sweep"] == "small" for sample in samples)
    return {(each.name, each.labels.get("trial", each.labels.get("state", ""))): each.value for each in samples}


def test_what_runs_is_told_and_what_has_ended_is_not(recorder: Recorder, paths: SweepPaths) -> None:
    warnings: list[str] = []
    with serving(recorder, paths, warnings) as address:
        seen = scraped(address)
        assert {state: seen["sweep_trials", state] for state in ("running", "waiting", "completed", "failed")} == {
            "running": 2,
            "waiting": 1,
            "completed": 1,
            "failed": 0,
        }
        assert (seen["sweep_trials_planned", ""], seen["sweep_best_trial", ""]) == (9, 1)
        assert seen["sweep_best_objective", ""] == 0.8
        assert {trial for name, trial in seen if name.startswith("sweep_trial_")} == {"1"}
        assert seen["sweep_trial_objective", "1"] == 0.75
        assert seen["sweep_trial_epoch", "1"] == 2
        assert seen["sweep_trial_images_per_second", "1"] == 100
        assert seen["sweep_trial_data_wait_fraction", "1"] == 0.25
        assert seen["sweep_trial_peak_memory_bytes", "1"] == 3e9, "of both epochs"
        assert seen["sweep_images_per_second", ""] == 100
        assert (seen["sweep_gpu_use", ""], seen["sweep_gpu_memory_bytes", ""]) == (0.5, 3 << 30)
        assert {name for name, _ in seen} == set(METRICS)

        report(recorder, 3, 1, 0.9)
        end(recorder, 1)
        seen = scraped(address)
        assert {trial for name, trial in seen if name.startswith("sweep_trial_")} == {"3"}
        assert seen["sweep_best_objective", ""] == 0.9
    with pytest.raises(urllib.error.URLError):
        scraped(address)
    assert warnings == []


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x"])
def test_without_the_token_nothing_is_told(recorder: Recorder, paths: SweepPaths, token: str) -> None:
    with serving(recorder, paths, []) as address, pytest.raises(urllib.error.HTTPError, match="401") as refused:
        scraped(address, token)
    assert b"sweep metrics" in refused.value.read()


def test_it_is_found_while_it_runs_and_what_a_killed_sweep_left_goes(recorder: Recorder, paths: SweepPaths) -> None:
    dead = paths.metrics_target.with_name("dead.json")
    dead.parent.mkdir()
    dead.write_text("[]")
    with SweepLock(paths.lock), serving(recorder, paths, []) as address:
        assert not dead.exists()
        (found,) = json.loads(paths.metrics_target.read_text())
        assert f"http://{found['targets'][0]}/metrics" == address
        assert found["labels"] == {"instance": "small"}
        assert address.startswith("http://127.0.0.1:")
        with serving(recorder, SweepPaths(paths.root.parent / "other"), []):
            assert paths.metrics_target.exists(), "this one runs"
    assert not paths.metrics_target.exists()


def test_a_port_that_is_taken_is_a_warning(recorder: Recorder, paths: SweepPaths) -> None:
    warnings: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(recorder, paths, warnings, wanted) as address:
            assert address == ""
            assert not paths.metrics_target.exists()
    (warning,) = warnings
    assert wanted in warning


def test_it_can_be_left_out(recorder: Recorder, paths: SweepPaths) -> None:
    with serving(recorder, paths, [], listen=False) as address:
        assert address == ""
        assert not paths.metrics_target.exists()


def test_the_command_prints_what_prometheus_takes(
    recorder: Recorder, paths: SweepPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(paths.root.parent / "config"))
    with SweepLock(paths.lock), serving(recorder, paths, []) as address:
        assert main(["metrics", "--results", str(paths.root.parent)]) == 0
        printed = capsys.readouterr()
        assert f"small is running, with metrics at {address}" in printed.err
        assert main(["metrics", "small", "--json", "--results", str(paths.root.parent)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["running"] == {"small": address.removeprefix("http://").removesuffix("/metrics")}
    (job,) = yaml.safe_load(printed.out)["scrape_configs"]
    assert job["file_sd_configs"] == [{"files": [str(paths.metrics_target.with_name("*.json"))]}]
    assert job["authorization"]["credentials_file"] == told["token_file"]
    assert Path(told["token_file"]).read_text() not in printed.out + printed.err
    assert Path(told["grafana_dashboard"]).is_file()
    assert main(["metrics", "small", "--results", str(paths.root.parent)]) == 0
    assert "small is not running" in capsys.readouterr().err


def test_grafana_knows_all_that_the_dashboard_says() -> None:
    """Read into Grafana's own model and written again: what the model does not know would be lost."""
    register_default_plugins()
    content = json.loads(dashboard_file().read_text())
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(content)))
    assert _common(content, written) == content


def test_the_dashboard_looks_orderly() -> None:
    content = json.loads(dashboard_file().read_text())
    assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in content["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "no panel lies on another"
    assert max(x for x, _ in cells) < 24
    assert [variable["name"] for variable in content["templating"]["list"]] == ["datasource", "sweep", "trial"]
    link = Path(__file__).parents[2] / "deploy/grafana/sweep-runner.json"
    assert link.read_text() == dashboard_file().read_text()


def _common(one: object, other: object) -> object:
    """`one`, without what `other` lacks or has otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _common(value, other[key]) for key, value in one.items() if key in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_common(*pair) for pair in zip(one, other, strict=True)]
    return one if one == other else other
