"""A sweep's commands without Ray, so that hundreds of runs take minutes: all is real but who runs the trials.

The keeper's assignments are trained one after another in the driver's own process, by the code that a worker runs; the
end of the search is evaluated and exported there, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from sweep_runner.execution.evaluation.finalize import finalize
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.publishing.finish import Finish, finish_search
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.execution.worker.training import WorkerHandle, train
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Study
from trainables.contract import EpochReport, Evaluation, NoData, Trainable, TrialHandle


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 3
    lr: float = 0.1


class Story(Trainable[Config, NoData]):
    """Learns nothing, and leaves all that a classifier leaves. Trial 1 fails as long as a file `broken` is there."""

    config_class = Config

    def train(self, config: Config, handle: TrialHandle) -> None:
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            if handle.number == 1 and Path("broken").exists():
                raise ValueError("it is broken")
            handle.report(EpochReport(epoch, {"score": config.lr + epoch}), save=_save)

    def evaluate(self, config: Config, checkpoint: Path, split: str, num_threads: int = 1) -> Evaluation:
        assert (checkpoint / "weights").read_bytes() == b"w" * 100
        labels = {"example": ["x", "y"], "labels": [["yes"], ["no"]], "predicted": [["yes"], ["no"]]}
        rows = pa.table({"split": [split] * 2, **labels, "p_yes": [0.9, 0.2], "p_no": [0.1, 0.8]})
        classes = pa.table({"split": [split] * 2, "class": ["yes", "no"], "support": [1, 1]})
        return Evaluation({f"{split}_accuracy": 1.0}, 2, rows, classes)

    def export(
        self, config: Config, checkpoint: Path, folder: Path, info: Mapping[str, Any], num_threads: int = 1
    ) -> Mapping[str, Any]:
        (folder / "model.onnx").write_bytes(b"m" * 100)
        (folder / "model.json").write_text(json.dumps({"origin": dict(info)}))
        return {"agrees": True}


def _save(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 100)


class _Direct(WorkerHandle):
    """Asks the keeper itself."""

    def __init__(self, assignment: Assignment, keeper: Keeper) -> None:
        super().__init__(assignment)
        self._keeper = keeper

    def _send(self, report: EpochReport) -> None:
        if not self._keeper.on_message(
            self.assignment.trial, Message(trial=self.assignment.trial, attempt=self.attempt, report=report)
        ):
            self.stopped = True
            raise SystemExit


def search_here(self: Any, study: Study, recorder: Recorder) -> Finish:
    """In place of `Run._search`."""
    plan, paths = self._plan, self._paths
    place = self._remote.place if self._remote is not None else None
    keeper = Keeper(plan.spec, paths, study, recorder, 1, 1, remote=place)
    if self._remote is not None:
        keeper.on_drop(self._remote.drop)
    while (assignment := keeper.next()) is not None:
        try:
            outcome = train(assignment, lambda one=assignment: _Direct(one, keeper))  # type: ignore[misc]
        except SystemExit:
            continue
        keeper.on_message(assignment.trial, outcome)
    assert keeper.finished
    if self._remote is not None:
        self._remote.check()
    self._bring_checkpoints(recorder)
    return finish_search(plan, paths, recorder, lambda tasks, stopped: [finalize(task) for task in tasks], str)
