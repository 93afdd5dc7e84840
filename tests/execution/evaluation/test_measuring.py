"""What models take, measured when a sweep has ended: once per architecture, and told to every trial that has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.execution.evaluation.assistant import Assistant
from sweep_runner.execution.evaluation.finalize import FinalTask, finalize
from sweep_runner.execution.evaluation.measuring import due_for_measuring, measure_kept, record_facts
from sweep_runner.results.events import EpochReported, TrialEnded, TrialStarted
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import fold
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.plan import Plan
from tests.support.sized import BROKEN, CALLS, UNMEASURABLE, accuracy

SIZED: dict[str, Any] = {
    "name": "sized",
    "trainable": "tests.support.sized:Sized",
    "space": {"width": [2, 4, 8, UNMEASURABLE, BROKEN]},
}


@pytest.fixture
def plan(write_spec: Callable[..., Path]) -> Plan:
    return load_plan(write_spec(**SIZED))


@pytest.fixture
def assistant() -> Iterator[Assistant]:
    with Assistant() as assistant:
        yield assistant


@contextmanager
def recorder_of(plan: Plan, root: Path, widths: list[int]) -> Iterator[Recorder]:
    """A sweep in which a trial of each of these widths has ended (further ones than there are already)."""
    root.mkdir(exist_ok=True)
    with Recorder(SweepPaths(root), plan.spec.objective, ["width"], {}, flush_interval_s=3600) as recorder:
        for number, width in enumerate(widths):
            if number in recorder.state.trials:
                continue
            recorder.record(TrialStarted(time=1.0, trial=number, attempt=1, seed=0, params={"width": width}))
            metrics = {"val_accuracy": accuracy(width, 1)}
            recorder.record(EpochReported(time=2.0, trial=number, attempt=1, epoch=1, metrics=metrics))
            recorder.record(TrialEnded(time=3.0, trial=number, attempt=1, state="COMPLETED"))
        yield recorder


def measured(root: Path) -> list[int]:
    return [int(line) for line in (root / "data" / CALLS).read_text().splitlines()]


def test_each_architecture_is_measured_once_and_all_its_trials_learn_it(
    plan: Plan, assistant: Assistant, tmp_path: Path
) -> None:
    root, paths = tmp_path / "sized", SweepPaths(tmp_path / "sized")
    said: list[str] = []
    with recorder_of(plan, root, [2, 4, 2, 8]) as recorder:
        # Of trial 3 there is no checkpoint.
        notes = measure_kept(plan, recorder, paths, [0, 1, 2], assistant, said.append, lambda: False)
        assert [note for note in notes if "not measured" in note] == []
        assert measured(root) == [4, 2], "the better one first"
        assert said[0] == "measuring latency, 1 of 2 architectures: width 4"
        assert due_for_measuring(plan, recorder.state, [0, 1, 2]) == {}
    rows = {row["trial"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    assert [rows[number]["onnx_latency_ms"] for number in range(4)] == [2.0, 4.0, 2.0, None]
    assert [rows[number]["num_parameters"] for number in range(4)] == [2000, 4000, 2000, None]
    assert "CPU" in rows[0]["measured_on"]
    assert rows[3]["measured_on"] is None

    # The sweep was given more trials: what is known of an architecture holds for them, too.
    with recorder_of(plan, root, [2, 4, 2, 8, 4]) as recorder:
        measure_kept(plan, recorder, paths, [0, 1, 4], assistant, said.append, lambda: False)
        assert recorder.state.trials[4].facts["onnx_latency_ms"] == 4.0
    assert measured(root) == [4, 2]
    assert fold(read_events(paths.log), plan.spec.objective).trials[4].facts["onnx_latency_ms"] == 4.0


def test_what_finds_no_time_is_left_to_a_resume(plan: Plan, assistant: Assistant, tmp_path: Path) -> None:
    root, paths = tmp_path / "sized", SweepPaths(tmp_path / "sized")
    left = iter([60.0, 0.0])
    with recorder_of(plan, root, [2, 4, 8]) as recorder:
        notes = measure_kept(
            plan, recorder, paths, [0, 1, 2], assistant, lambda _: None, lambda: False, lambda: next(left)
        )
        told = "no time was left to measure the latency of 2 architectures (search.stop.after); "
        assert [note for note in notes if note.startswith(told) and "sweep resume" in note]
        assert len(measured(root)) == 1
        measure_kept(plan, recorder, paths, [0, 1, 2], assistant, lambda _: None, lambda: False)
    assert sorted(measured(root)) == [2, 4, 8]


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(
    plan: Plan, assistant: Assistant, tmp_path: Path
) -> None:
    paths = SweepPaths(tmp_path / "sized")
    with recorder_of(plan, paths.root, [BROKEN, UNMEASURABLE, 2]) as recorder:
        notes = measure_kept(plan, recorder, paths, [0, 1, 2], assistant, lambda _: None, lambda: False)
        assert "the latency of width 17 (trial 0) was not measured: this width breaks" in notes
        assert recorder.state.trials[1].facts == {"num_parameters": 1000.0 * UNMEASURABLE}
        assert recorder.state.trials[2].facts["onnx_latency_ms"] == 2.0


def test_nothing_is_measured_where_it_is_not_wanted_or_nobody_knows_facts(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    for changes in ({**SIZED, "export": {"latency": False}}, {**SIZED, "export": {"formats": []}}, {}):
        plan = load_plan(write_spec(**changes))
        width = {} if not changes else {"width": 2}
        state = fold([TrialStarted(time=1.0, trial=0, attempt=1, seed=0, params=width)], plan.spec.objective)
        assert due_for_measuring(plan, state, [0]) == {}


def test_a_published_package_is_measured_and_says_so_itself(plan: Plan, tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    task = FinalTask(
        trainable=plan.spec.trainable, data={}, data_folder=str(tmp_path / "data"), config={"width": 4, "epochs": 4},
        checkpoint=str(tmp_path), staging=str(staging), splits=(), export=True, info={}, num_threads=1,
        facts=("num_parameters", "onnx_latency_ms"),
    )  # fmt: skip
    result = finalize(task)
    card = json.loads((staging / "package" / "model.json").read_text())
    assert card["facts"]["onnx_latency_ms"] == result.facts["onnx_latency_ms"] == 4.0
    assert card["machine"] == result.machine
    with recorder_of(plan, tmp_path / "sized", [4, 2]) as recorder:
        record_facts(plan, recorder, 0, result)
        assert due_for_measuring(plan, recorder.state, [0, 1]) == {"width 2": 1}
