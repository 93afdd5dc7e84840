"""Sweeps with several objectives: what is proposed, told, ranked and kept; and what cannot have several is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.main import main
from sweep_runner.errors import RequestError
from sweep_runner.execution.evaluation.finalize import finalize
from sweep_runner.execution.publishing.finish import finish_search
from sweep_runner.execution.publishing.tasks import kept_trials
from sweep_runner.results.front import front_of
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.loader import dump_spec, load_resolved
from sweep_runner.spec.plan import Plan
from tests.support.sized import UNMEASURABLE
from tests.support.sized_sweeps import InThisProcess, opened, train_all
from tests.support.sweeps import merged

GOALS: dict[str, Any] = {
    "name": "goals",
    "trainable": "tests.support.sized:Sized",
    "fixed": {"epochs": 3},
    "space": {"width": {"low": 20, "high": 60}, "lr": {"low": 1.0e-4, "high": 1.0, "log": True}},
    "objective": ["val_accuracy", "onnx_latency_ms"],
    "limits": {"num_parameters": 40_000},
    "search": {"sampler": "tpe", "trials": 24},
    "keep": {"best": 1},
}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep_runner.execution.keeper.gate.Measurement", InThisProcess)


@pytest.fixture
def make_plan(write_spec: Callable[..., Path]) -> Callable[..., Plan]:
    return lambda **changes: load_plan(write_spec(**merged(GOALS, changes)))


@pytest.mark.parametrize("pruner", ["none", "promotion"])
@pytest.mark.parametrize("sampler", ["tpe", "nsga-ii", "random"])
def test_a_sweep_goes_on_and_ends_with_its_front(
    make_plan: Callable[..., Plan], tmp_path: Path, sampler: str, pruner: str
) -> None:
    kind = {"kind": pruner, **({"min_epochs": 1, "group_by": []} if pruner == "promotion" else {})}
    paths = SweepPaths(tmp_path / "goals")
    for trials in (12, 24):  # the second time from what is on disk
        plan = make_plan(search={"sampler": sampler, "trials": trials}, pruner=kind)
        with opened(plan, paths.root) as (keeper, _, recorder, study):
            train_all(keeper, paths)
            assert len(recorder.state.trials) == trials
            assert study.is_over
            assert len(study._study.directions) == 2
            front = front_of(recorder.state)
            for frozen in study._study.get_trials():
                summary = recorder.state.trials[frozen.number]
                if summary.state == "COMPLETED":
                    assert frozen.values == [summary.best_value, float(summary.params["width"])]
                elif summary.state == "INFEASIBLE":
                    assert summary.params["width"] > 40
                    assert frozen.constraints["num_parameters"] > 0
                else:
                    assert frozen.user_attrs["goals"] == [summary.best_value, float(summary.params["width"])]
            if pruner == "none":
                # The wider the better and the slower: whatever may be trained is on the front.
                trained = {n for n, each in recorder.state.trials.items() if each.state == "COMPLETED"}
                assert front == {n for n in trained if recorder.state.trials[n].copy_of is None}
            assert front <= set(kept_trials(paths, recorder.state)), "each is an answer that may be exported"
    rows = {row["trial"]: row for row in pq.read_table(paths.tables / "trials").to_pylist()}
    assert {number for number, row in rows.items() if row["pareto_front"]} == front


def test_the_best_by_the_first_objective_is_exported_and_every_table_tells_the_front(
    make_plan: Callable[..., Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(space={"width": [2, 8, 30]}, search={"sampler": "grid", "trials": 3}, keep={"best": 1})
    paths = SweepPaths(tmp_path / "goals")
    with opened(plan, paths.root) as (keeper, _, recorder, _):
        train_all(keeper, paths)
        finish = finish_search(plan, paths, recorder, lambda tasks, _: [finalize(each) for each in tasks], print)
        assert finish.package is not None
    assert json.loads((paths.best / "model.json").read_text())["width"] == 30
    capsys.readouterr()
    assert main(["top", "goals", "--front", "--results", str(tmp_path)]) == 0
    header, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert [line[header.index("onnx_latency_ms")] for line in lines] == ["30", "8", "2"]
    assert {line[header.index("pareto_front")] for line in lines} == {"yes"}
    assert main(["top", "goals", "--json", "--results", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["goals"] == [{"column": "onnx_latency_ms", "mode": "min"}]
    assert len(told["front"]) == 3


def test_a_trial_that_lacks_a_goal_is_on_no_front(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(space={"width": [2, UNMEASURABLE]}, search={"sampler": "tpe", "trials": 2}, limits={})
    with opened(plan, tmp_path / "goals") as (keeper, _, recorder, study):
        widths = train_all(keeper, SweepPaths(tmp_path / "goals"))
        assert set(widths) <= {2, UNMEASURABLE}
        on_front = {recorder.state.trials[number].params["width"] for number in front_of(recorder.state)}
        assert on_front <= {2}
        assert study.is_over


def test_a_resolved_file_says_the_same(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    goals = ["val_accuracy", {"metric": "onnx_latency_ms", "batch": 8, "threads": "all"}, "val_loss"]
    plan = make_plan(objective=goals, search={"trials": 5})
    assert [goal.column for goal in plan.spec.objective.also] == ["onnx_latency_batch8_all_threads_ms", "val_loss"]
    assert [goal.better_is for goal in plan.spec.objective.also] == ["min", "min"]
    assert plan.spec.search.sampler == "tpe"
    assert any("search.sampler is tpe" in warning for warning in plan.warnings)
    (tmp_path / "resolved.yaml").write_text(dump_spec(plan.spec))
    assert load_resolved(tmp_path / "resolved.yaml").spec == plan.spec


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"objective": ["onnx_latency_ms", "val_accuracy"]}, "must be a metric of each epoch"),
        ({"objective": ["val_accuracy", "val_acuracy"]}, "Did you mean val_accuracy"),
        ({"objective": ["val_accuracy", "val_accuracy"]}, "val_accuracy is an objective already"),
        ({"objective": ["val_accuracy", {"metric": "val_loss", "mode": "max"}]}, "better the other way: min"),
        ({"objective": ["val_accuracy", {"metric": "num_parameters", "batch": 3}]}, "belong to onnx_latency_ms only"),
        ({"search": {"sampler": "guided", "trials": 3}}, "tpe, nsga-ii, random, grid, qmc"),
        ({"search": {"sampler": "gp", "trials": 3}}, "supports a single objective"),
        ({"pruner": "median"}, "stops trials by val_accuracy alone"),
        ({"limits": {"val_loss": 3}}, "known only after training"),
        ({"limits": {"latency": 3}}, "Did you mean onnx_latency_ms"),
        ({"limits": {"num_parameters": {"max": 5, "threads": 2}}}, "belong to onnx_latency_ms only"),
        ({"limits": {"num_parameters": 0}}, "must be above 0"),
        ({"limits": {"num_parameters": "many"}}, "is not a size"),
        (
            {"trainable": "synthetic", "space": {"lr": [0.1]}, "objective": "val_accuracy"},
            "knows nothing about a model",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    make_plan: Callable[..., Plan], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(RequestError) as caught:
        make_plan(**changes)
    assert told in "\n".join(f"{each.message} {each.hint}" for each in caught.value.problems)
