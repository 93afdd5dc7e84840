"""Sweeps of `Sized` in this process: a driver's objects over what is on disk, with limits and further objectives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sweep_runner.execution.evaluation.assistant import Assistant
from sweep_runner.execution.evaluation.measuring import CannotMeasure, Measurement, measure
from sweep_runner.execution.keeper.gate import Gate
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Study
from sweep_runner.spec.plan import Plan
from tests.support.sized import accuracy
from trainables.checkpoints import write_checkpoint
from trainables.contract import EpochReport, no_progress
from trainables.errors import TrainableError


class InThisProcess(Measurement):
    """Measures without another process, which takes a second to start."""

    def begin(self, assistant: Assistant) -> None:
        self.polled = 0

    def poll(self, assistant: Assistant, timeout_s: float = 0.0) -> Mapping[str, float] | None:
        self.polled += 1
        if self.polled < 3:
            return None  # as long as it takes
        try:
            return measure(self._task, no_progress)
        except TrainableError as error:
            raise CannotMeasure(str(error)) from error


@contextmanager
def opened(plan: Plan, root: Path) -> Iterator[tuple[Keeper, Gate, Recorder, Study]]:
    """What a driver that has just started has of a sweep on disk."""
    root.mkdir(exist_ok=True)
    paths, spec = SweepPaths(root), plan.spec

    with (
        Recorder(paths, spec.objective, list(spec.space), {}, flush_interval_s=3600) as recorder,
        Study.open(paths.study, spec, plan.max_epochs) as study,
    ):
        recorder.record(SweepChanged(time=time.time(), state="RUNNING"))
        (paths.root / "environment.json").write_text("{}")
        gate = Gate(plan, paths, recorder)
        try:
            yield Keeper(spec, paths, study, recorder, 2, gate=gate), gate, recorder, study
        finally:
            gate.close()


def train_all(keeper: Keeper, paths: SweepPaths) -> list[int]:
    """Trains whatever the keeper hands out, until nothing is left; the widths in their order."""
    widths = []
    while True:
        assignment = keeper.next()
        if assignment is None:
            if keeper.finished:
                return widths
            time.sleep(0.01)  # something is being measured
            continue
        width = assignment.config["width"]
        widths.append(width)
        goes_on = True
        for epoch in range(assignment.recorded_epochs + 1, assignment.config["epochs"] + 1):
            write_state(paths.trial(assignment.trial) / f"attempt-{assignment.attempt}", epoch, width)
            report = EpochReport(epoch, {"val_accuracy": accuracy(width, epoch)})
            message = Message(trial=assignment.trial, attempt=assignment.attempt, report=report)
            goes_on = keeper.on_message(assignment.trial, message)
            if not goes_on:
                break
        if not goes_on:
            continue
        done = Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
        keeper.on_message(assignment.trial, done)


def write_state(attempt: Path, epoch: int, width: int) -> None:
    history = tuple(EpochReport(each, {"val_accuracy": accuracy(width, each)}) for each in range(1, epoch + 1))
    write_checkpoint(attempt, history, lambda target: (target / "state.json").write_text("{}"))
