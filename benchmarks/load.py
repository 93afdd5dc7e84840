"""Many trials in one sweep: does the driver grow, does it slow down, how many reports a second does it take?

`python -m benchmarks.load` drives keeper, study and recorder in this process, with workers that compute a formula;
`--ray` runs the same sweep through Ray. One sampler or pruner after the other: `--sampler random tpe`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sweep_runner.execution.keeper import Keeper
from sweep_runner.execution.messages import Assignment, Message
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.model import SweepSpec
from trainables.contract import EpochReport
from trainables.synthetic import SyntheticConfig, curve

SPACE: dict[str, Any] = {
    "lr": {"low": 1.0e-5, "high": 1.0, "log": True},
    "noise": {"low": 0.0, "high": 0.1},
    "optimizer": {"values": ("adam", "sgd")},
    "momentum": {"low": 0.0, "high": 0.99, "when": {"optimizer": ("sgd",)}},
}


@dataclass
class Course:
    """What was seen of a sweep, after each trial that ended.

    Attributes:
        ended_s: seconds since the start.
        rss_bytes: of this process.
        deciding_s: of that, seconds in `Keeper.next`: the sampler, and the durable hand-out.
        num_reports: reports taken so far.
    """

    ended_s: list[float] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    deciding_s: float = 0.0
    decided_s: list[float] = field(default_factory=list)
    num_reports: int = 0

    def slice_s(self, begin: int, end: int) -> float:
        """Seconds from the end of one trial to that of another."""
        return self.ended_s[end - 1] - (self.ended_s[begin - 1] if begin else 0.0)


def spec_of(sampler: str, trials: int, epochs: int, pruner: str = "none") -> SweepSpec:
    """A sweep of the synthetic trainable over four parameters, one of them conditional."""
    return SweepSpec.model_validate(
        {
            "name": "load",
            "trainable": "synthetic",
            "fixed": {"epochs": epochs},
            "space": SPACE,
            "search": {"sampler": sampler, "trials": trials},
            "pruner": {"kind": pruner},
            "dashboard": False,
        }
    )


@contextmanager
def open_keeper(spec: SweepSpec, root: Path, max_live: int = 2) -> Iterator[Keeper]:
    """A keeper with its study and recorder over a new folder."""
    root.mkdir(parents=True, exist_ok=True)
    paths = SweepPaths(root)

    def assign(proposal: Proposal, attempt: int, seed: int, recorded_epochs: int) -> Assignment:
        return Assignment(
            sweep=spec.name,
            trial=proposal.number,
            name=proposal.name,
            attempt=attempt,
            seed=seed,
            folder=str(paths.trial(proposal.number)),
            num_threads=1,
            metric=spec.objective.metric,
            mode=spec.objective.mode,
            recorded_epochs=recorded_epochs,
            trainable=spec.trainable,
            data={},
            data_folder=str(paths.data),
            config=spec.config_of(proposal.params),
        )

    with (
        Recorder.open(paths, spec.objective, list(spec.space), {}) as recorder,
        Study.open(paths.study, spec) as study,
    ):
        yield Keeper(spec, paths, study, recorder, max_live, assign)


def drive(keeper: Keeper, course: Course) -> None:
    """Trains what the keeper hands out, the live trials in turn, until nothing is left."""
    process = psutil.Process()
    live: deque[tuple[Assignment, SyntheticConfig, int]] = deque()
    began = time.perf_counter()

    def fill() -> None:
        asked = time.perf_counter()
        while (assignment := keeper.next()) is not None:
            config = SyntheticConfig.model_validate(dict(assignment.config))
            live.append((assignment, config, assignment.recorded_epochs))
        course.deciding_s += time.perf_counter() - asked

    fill()
    while live:
        assignment, config, epoch = live.popleft()
        if epoch < config.epochs:
            accuracy = curve(config, epoch + 1, assignment.seed)
            metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "lr": config.lr, "epoch_s": 0.01}
            message = Message(attempt=assignment.attempt, report=EpochReport(epoch + 1, metrics), host="here")
            course.num_reports += 1
        else:
            message = Message(attempt=assignment.attempt, outcome="completed")
        if keeper.on_message(assignment.trial, Message.from_json(message.to_json())):
            live.append((assignment, config, epoch + 1))
            continue
        course.ended_s.append(time.perf_counter() - began)
        course.rss_bytes.append(process.memory_info().rss)
        course.decided_s.append(course.deciding_s)
        fill()


def measure(sampler: str, trials: int, epochs: int, pruner: str, folder: Path) -> Course:
    """Runs one sweep without Ray."""
    spec = spec_of(sampler, trials, epochs, pruner)
    course = Course()
    with open_keeper(spec, folder) as keeper:
        drive(keeper, course)
    return course
