"""Runs a search engine on learning curves: two trials at a time; an epoch costs one unit, once per trial."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from benchmarks.curves.sources import Curves
from sweep_runner.search.distributions import Params

AT_A_TIME = 2
After = Literal["go on", "pause", "stop"]


@dataclass(frozen=True)
class Job:
    """A trial to train: a new one, or one that goes on."""

    trial: int
    params: Params


class Engine(Protocol):
    """A search, as a runner sees it."""

    def next(self) -> Job | None:
        """What a free place trains; None: nothing more."""
        ...

    def report(self, trial: int, epoch: int, value: float) -> After:
        """Takes the value of an epoch, which is not the last."""
        ...

    def end(self, trial: int, value: float) -> None:
        """Takes the value of the last epoch."""
        ...


@dataclass
class Course:
    """What a run reported, in order.

    Attributes:
        rows: (trial, epoch, observed value) of each unit of cost.
        truth: trial and epoch → what the model is worth.
    """

    rows: list[tuple[int, int, float]] = field(default_factory=list)
    truth: dict[tuple[int, int], float] = field(default_factory=dict)


def run(engine: Engine, curves: Curves, seed: int, trainings: int) -> Course:
    """Runs an engine until the cost of so many full trainings is spent.

    Args:
        engine: fresh.
        curves: a higher value is better.
        seed: of the noise.
        trainings: the budget, in trainings of all epochs.
    """
    replay, course = curves.start(seed), Course()
    live: deque[Job] = deque()
    reached: dict[int, int] = {}
    while len(course.rows) < trainings * curves.epochs:
        while len(live) < AT_A_TIME and (job := engine.next()) is not None:
            live.append(job)
        if not live:
            break
        job = live.popleft()
        epoch = reached.get(job.trial, 0) + 1
        value = replay.observed(job.trial, job.params, epoch)
        reached[job.trial] = epoch
        course.rows.append((job.trial, epoch, value))
        course.truth[job.trial, epoch] = replay.truth(job.trial, epoch)
        if epoch == curves.epochs:
            engine.end(job.trial, value)
        elif engine.report(job.trial, epoch, value) == "go on":
            live.append(job)
    return course


Choose = Callable[[Mapping[int, Sequence[float]]], tuple[int, int]]
"""From each trial's values, epoch 1 first, to the (trial, epoch) that is published."""


def luckiest(values: Mapping[int, Sequence[float]]) -> tuple[int, int]:
    """The best single observation, as nearly all tools publish it."""
    return max(
        ((trial, epoch) for trial, row in values.items() for epoch in range(1, len(row) + 1)),
        key=lambda at: (values[at[0]][at[1] - 1], -at[0], -at[1]),
    )


def steadiest(values: Mapping[int, Sequence[float]]) -> tuple[int, int]:
    """The best mean of five epochs in a row; of fewer, less 0.02 / √n: a trial of one lucky epoch does not win."""

    def score(at: tuple[int, int]) -> float:
        last = values[at[0]][max(0, at[1] - 5) : at[1]]
        return sum(last) / len(last) - 0.02 / len(last) ** 0.5

    ends = ((trial, epoch) for trial, row in values.items() for epoch in range(1, len(row) + 1))
    return max(ends, key=lambda at: (score(at), -at[0], -at[1]))


def blended(values: Mapping[int, Sequence[float]]) -> tuple[int, int]:
    """Half by the observation itself, half by the mean of it and the two before: where swings are partly chance."""

    def score(at: tuple[int, int]) -> float:
        row, epoch = values[at[0]], at[1]
        last = row[max(0, epoch - 3) : epoch]
        return (row[epoch - 1] + sum(last) / len(last)) / 2

    ends = ((trial, epoch) for trial, row in values.items() for epoch in range(1, len(row) + 1))
    return max(ends, key=lambda at: (score(at), -at[0], -at[1]))


def regrets(course: Course, curves: Curves, choose: Choose, after: Sequence[int]) -> list[float]:
    """In points, what is published after the cost of so many full trainings, against the best there is."""
    found = []
    for trainings in after:
        values: dict[int, list[float]] = {}
        for trial, _, value in course.rows[: trainings * curves.epochs]:
            values.setdefault(trial, []).append(value)
        found.append(100 * (curves.best - course.truth[choose(values)]))
    return found


def epochs_until(course: Course, value: float) -> int | None:
    """The cost in epochs until a search had seen a value so good; None if it never did."""
    return next((cost for cost, (_, _, seen) in enumerate(course.rows, start=1) if seen >= value), None)
