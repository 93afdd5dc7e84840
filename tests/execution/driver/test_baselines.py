"""What is special about baselines: they may run to their end, and their checkpoints stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_runner.execution.keeper.retention import Retention
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.model import Objective, SweepSpec
from tests.support.sweeps import open_keeper
from trainables.contract import EpochReport

BASELINES = {"poor": {"lr": 1.0e-4}, "usual": {"lr": 1.0e-3}}
MakeSpec = Callable[..., SweepSpec]


@pytest.mark.parametrize("pruned", [True, False])
def test_baselines_run_to_their_end_when_asked_for(tmp_path: Path, make_spec: MakeSpec, pruned: bool) -> None:
    spec = make_spec(
        baselines=BASELINES,
        pruner={"kind": "threshold", "lower": 0.5},
        search={"sampler": "random", "trials": 4, "prune_baselines": pruned},
    )
    with open_keeper(spec, tmp_path / "sweep", max_live=4) as keeper:
        assignments = [keeper.next() for _ in range(4)]
        goes_on = {}
        for assignment in assignments:
            assert assignment is not None
            message = Message(
                trial=assignment.trial, attempt=assignment.attempt, report=EpochReport(1, {"val_accuracy": 0.1})
            )
            goes_on[assignment.name or assignment.trial] = keeper.on_message(assignment.trial, message)
    assert goes_on == {"poor": not pruned, "usual": not pruned, 2: False, 3: False}


@pytest.mark.parametrize("baselines", [True, False])
def test_checkpoints_of_baselines_stay_beside_those_of_the_best(
    make_spec: MakeSpec, tmp_path: Path, baselines: bool
) -> None:
    paths = SweepPaths(tmp_path)
    retention = Retention(paths, make_spec(keep={"best": 1, "baselines": baselines}), SweepState(Objective()))
    for number, (name, value) in enumerate([("poor", 0.2), (None, 0.4), (None, 0.6), ("late", 0.3), (None, 0.5)]):
        for epoch in (1, 2):
            folder = paths.attempt(number, 1) / "checkpoints" / f"epoch-{epoch:05d}"
            folder.mkdir(parents=True)
        summary = TrialSummary(number, name, state="PRUNED" if number % 2 else "COMPLETED")
        summary.best_epoch, summary.best_value = 1, value
        retention.ended(summary)
    kept = sorted(f"{path.parts[-4]}/{path.name[-1]}" for path in tmp_path.glob("trials/*/*/checkpoints/*"))
    assert kept == (["0/1", "2/1", "3/1"] if baselines else ["2/1"])


def test_a_sweep_that_is_opened_again_knows_its_baselines(make_spec: MakeSpec, tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path)
    state = SweepState(Objective())
    for number, (name, value) in enumerate([("poor", 0.2), (None, 0.4)]):
        (paths.attempt(number, 1) / "checkpoints" / "epoch-00001").mkdir(parents=True)
        summary = TrialSummary(number, name, state="COMPLETED", best_epoch=1, best_value=value)
        state.trials[number] = summary
    retention = Retention(paths, make_spec(keep={"best": 1}), state)
    (paths.attempt(2, 1) / "checkpoints" / "epoch-00001").mkdir(parents=True)
    retention.ended(TrialSummary(2, None, state="COMPLETED", best_epoch=1, best_value=0.9))
    assert sorted(path.parts[-4] for path in tmp_path.glob("trials/*/*/checkpoints/*")) == ["0", "2"]
