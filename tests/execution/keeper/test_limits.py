"""Limits of a sweep file: over them nothing is trained, and nothing is published; a kill in between changes nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_runner.errors import RequestError
from sweep_runner.execution.evaluation.finalize import FinalResult, FinalTask, finalize
from sweep_runner.execution.keeper.gate import apply_limits
from sweep_runner.execution.publishing.finish import finish_search
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Study
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.plan import Plan
from tests.support.sized import BROKEN, CALLS, SLOWER_EXPORTED, UNMEASURABLE
from tests.support.sized_sweeps import InThisProcess, opened, train_all
from tests.support.sweeps import log_of, merged, sweep

SIZED: dict[str, Any] = {
    "name": "sized",
    "trainable": "tests.support.sized:Sized",
    "fixed": {"epochs": 2},
    "space": {"width": [2, 4, SLOWER_EXPORTED, 20]},
    "search": {"sampler": "grid", "trials": 4},
    "limits": {"num_parameters": 10_000},
    "keep": {"best": 3},
}


@pytest.fixture
def make_plan(write_spec: Callable[..., Path]) -> Callable[..., Plan]:
    return lambda **changes: load_plan(write_spec(**merged(SIZED, changes)))


@pytest.fixture(autouse=True)
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "another_process" not in request.fixturenames:
        monkeypatch.setattr("sweep_runner.execution.keeper.gate.Measurement", InThisProcess)


@pytest.fixture
def another_process() -> None:
    """Measures as a sweep does."""


def here(tasks: Sequence[FinalTask], stopped: Callable[[], bool]) -> list[FinalResult]:
    return [finalize(task) for task in tasks]


def states(recorder: Recorder) -> dict[int, str]:
    return {summary.params["width"]: summary.state for summary in recorder.state.trials.values()}


@pytest.mark.usefixtures("another_process")
def test_what_is_over_a_limit_is_not_trained_and_says_why(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan, paths = make_plan(), SweepPaths(tmp_path / "sized")
    said: list[str] = []
    with opened(plan, paths.root) as (keeper, gate, recorder, study):
        gate.measure_ahead(said.append, lambda: False)
        assert "3 of 4 architectures are within the limits; the others:" in said
        assert "  width 20: num_parameters 20,000, over limits.num_parameters (10,000)" in said
        assert sorted(train_all(keeper, paths)) == [2, 4, 8]
        assert states(recorder) == {2: "COMPLETED", 4: "COMPLETED", 8: "COMPLETED", 20: "INFEASIBLE"}
        (wide,) = (each for each in recorder.state.trials.values() if each.params["width"] == 20)
        assert wide.reason == "not trained: num_parameters 20,000, over limits.num_parameters (10,000)"
        assert (wide.epochs, wide.num_parameters) == (0, 20_000)
        assert {record.state for record in study.trials() if record.params["width"] == 20} == {"INFEASIBLE"}
        frozen = study._study.get_trials()[wide.trial]
        assert frozen.constraints == {"num_parameters": pytest.approx(1.0)}, "twice the limit"


class Died(BaseException):
    """The driver was killed."""


def test_a_kill_between_any_two_writes_ends_the_same(
    make_plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver dies before each write to the log and to the study in turn, and another one goes on."""
    plan = make_plan(space={"width": [20, 2]}, search={"sampler": "grid", "trials": 2})
    left = [10**9]

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def until_killed(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Died
            return write(*arguments, **options)

        return until_killed

    monkeypatch.setattr(Recorder, "record", dying(Recorder.record))
    monkeypatch.setattr(Study, "tell", dying(Study.tell))
    for kill_at in range(2, 99):
        paths = SweepPaths(tmp_path / f"killed-{kill_at}")
        left[0] = kill_at
        try:
            with opened(plan, paths.root) as (keeper, _, _, _):
                train_all(keeper, paths)
            was_killed = False
        except Died:
            was_killed = True
        left[0] = 10**9
        with opened(plan, paths.root) as (keeper, _, recorder, study):
            train_all(keeper, paths)
            assert states(recorder) == {2: "COMPLETED", 20: "INFEASIBLE"}, f"killed before write {kill_at}"
            assert study.is_over
            assert recorder.state.trials[0].over_limit or recorder.state.trials[1].over_limit
        ends = [record["trial"] for record in log_of(paths.root) if record["kind"] == "end"]
        assert sorted(ends) == [0, 1], "each trial ends once"
        if not was_killed:
            break
    assert kill_at > 8, "there were that many writes to be killed at"


def test_limits_that_nothing_keeps_are_told_before_anything_is_trained(
    make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = make_plan(limits={"num_parameters": 1000})
    with opened(plan, tmp_path / "sized") as (_, gate, recorder, _):
        with pytest.raises(RequestError, match="no architecture of the space is within the limits") as caught:
            gate.measure_ahead(lambda _: None, lambda: False)
        assert "width 2: num_parameters 2,000, over limits.num_parameters (1,000)" in str(caught.value)
        assert recorder.state.trials == {}


def test_what_was_measured_is_not_measured_again(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan, paths = make_plan(limits={"onnx_latency_ms": {"max": 10}}), SweepPaths(tmp_path / "sized")
    for _ in range(2):
        with opened(plan, paths.root) as (_, gate, _, _):
            gate.measure_ahead(lambda _: None, lambda: False)
    assert sorted((paths.data / CALLS).read_text().split()) == ["2", "20", "4", "8"]


def test_what_cannot_be_measured_is_over_the_limit(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    widths = [2, UNMEASURABLE, BROKEN]
    plan = make_plan(space={"width": widths}, limits={"onnx_latency_ms": 100}, search={"sampler": "grid", "trials": 3})
    with opened(plan, tmp_path / "sized") as (keeper, _, recorder, study):
        train_all(keeper, SweepPaths(tmp_path / "sized"))
        assert states(recorder) == {2: "COMPLETED", UNMEASURABLE: "INFEASIBLE", BROKEN: "INFEASIBLE"}
        reasons = {each.params["width"]: each.reason for each in recorder.state.trials.values()}
        assert "onnx_latency_ms cannot be measured for this model" in reasons[UNMEASURABLE]
        assert "(this width breaks)" in reasons[BROKEN]
        assert study.is_over


def test_cheap_limits_spare_the_export(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    """What has too many parameters is not exported to see how long it takes."""
    plan = make_plan(limits={"num_parameters": 5000, "onnx_latency_ms": 100})
    with opened(plan, tmp_path / "sized") as (_, gate, recorder, _):
        gate.measure_ahead(lambda _: None, lambda: False)
        asked = {name: set(each.asked) for name, each in recorder.state.measured.items()}
    assert asked["width 2"] == {"num_parameters", "onnx_latency_ms"}
    assert asked["width 20"] == {"num_parameters"}


def test_the_winner_keeps_the_limits_as_exported(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    """Width 8 is the best, and takes ten times as long when it is exported."""
    plan, paths = make_plan(limits={"onnx_latency_ms": 10}), SweepPaths(tmp_path / "sized")
    said: list[str] = []
    with opened(plan, paths.root) as (keeper, _, recorder, _):
        train_all(keeper, paths)
        best = recorder.state.best()
        assert best is not None
        assert best.params["width"] == SLOWER_EXPORTED
        finish = finish_search(plan, paths, recorder, here, said.append)
        assert finish.package == paths.best
        assert json.loads((paths.best / "model.json").read_text())["width"] == 4
        assert not finish.failed
        assert any("onnx_latency_ms 80, over limits.onnx_latency_ms (10)" in note for note in finish.notes)
        assert any("the next best trial is used" in line for line in said)
        left = recorder.state.best()
        assert left is not None
        assert left.params["width"] == 4
    # Seen again from the log alone, and after the limit was raised.
    with opened(plan, paths.root) as (_, _, recorder, _):
        assert recorder.state.best() == left
    raised = make_plan(limits={"onnx_latency_ms": 100})
    with opened(raised, paths.root) as (_, _, recorder, _):
        apply_limits(raised, recorder)
        assert (again := recorder.state.best()) is not None
        assert again.params["width"] == SLOWER_EXPORTED


def test_a_limit_that_no_trained_model_keeps_loses_nothing(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    """A limit may come after trials were trained."""
    free, paths = make_plan(limits={}, keep={"best": 4}), SweepPaths(tmp_path / "sized")
    with opened(free, paths.root) as (keeper, gate, _, _):
        assert gate.is_open
        assert len(train_all(keeper, paths)) == 4
    strict = make_plan(limits={"num_parameters": 3000}, keep={"best": 4})
    with opened(strict, paths.root) as (_, gate, recorder, _):
        gate.measure_ahead(lambda _: None, lambda: False)
        finish = finish_search(strict, paths, recorder, here, lambda _: None)
        assert json.loads((paths.best / "model.json").read_text())["width"] == 2
        assert not finish.failed
    none = make_plan(limits={"num_parameters": 1500}, keep={"best": 4})
    with opened(none, paths.root) as (_, _, recorder, _):
        finish = finish_search(none, paths, recorder, here, lambda _: None)
        assert finish.failed
        assert "no trial is within the limits" in finish.notes[-1]
        assert all(each.epochs == 2 for each in recorder.state.trials.values())


@pytest.mark.ray
def test_a_real_sweep_with_limits_and_two_objectives(tmp_path: Path) -> None:
    """As a user meets it: what is told, exit codes, and that a resume measures and trains nothing again."""
    changes = {"objective": ["val_accuracy", "onnx_latency_ms"], "export": {"latency": False}, "dashboard": False}
    spec = merged(SIZED, changes)
    (tmp_path / "sized.yaml").write_text(yaml.safe_dump(spec))
    repository = str(Path(__file__).parents[3])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return sweep(*arguments, "--results", "results", cwd=tmp_path, PYTHONPATH=repository)

    nothing = run("run", "sized.yaml", "--set", "name=none", "--set", "limits.num_parameters=100")
    assert nothing.returncode == 2, nothing.stderr
    assert "no architecture of the space is within the limits" in nothing.stderr
    assert "Traceback" not in nothing.stderr

    done = run("run", "sized.yaml")
    assert done.returncode == 0, done.stderr
    assert "width 20: num_parameters 20,000, over limits.num_parameters (10,000)" in done.stderr
    assert "Pareto front of val_accuracy, onnx_latency_ms: trials " in done.stderr
    root = tmp_path / "results" / "sized"
    best = json.loads((root / "best" / "model.json").read_text())
    assert best["width"] == SLOWER_EXPORTED, "latency is an objective here, and no limit"
    assert best["facts"]["onnx_latency_ms"] == 80.0
    measured = (root / "data" / CALLS).read_text().split()
    # First what costs nothing, then latency; of width 20 not even that.
    assert sorted(measured) == ["2", "2", "20", "4", "4", "8", "8"]
    before = len(log_of(root))
    again = run("resume", "sized")
    assert again.returncode == 0, again.stderr
    assert [record["kind"] for record in log_of(root)[before:]] == ["sweep", "sweep"]
    assert (root / "data" / CALLS).read_text().split() == measured
