"""The comparisons that stopped, paused or promoted a trial, made again from the log in the order of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sweep_runner.results.events import EpochReported, Event, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.log import read_events
from sweep_runner.results.lookup import spec_file
from sweep_runner.results.paths import SweepPaths
from sweep_runner.search.promotion import Competition, Group, Standing, group_of
from sweep_runner.search.pruners import Rung, resolve, rungs_passed
from sweep_runner.spec.loader import load_resolved
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.strategies import Promotion, Pruner

Comparison = Rung | Standing
"""A trial beside its rivals at a rung, as they stood when it was decided."""


class Decision(NamedTuple):
    """What a comparison led to.

    Attributes:
        rung: the comparison.
        verdict: in words: went on, stopped, paused, went on later, waits, given up.
    """

    rung: Comparison
    verdict: str


def decisions_of(board: Leaderboard, paths: SweepPaths, row: TrialRow) -> list[Decision]:
    """Every comparison of a trial, oldest first; none for pruners that know no rungs."""
    spec = load_resolved(spec_file(paths)).spec
    options = resolve(spec, row.row["epochs"])
    if isinstance(options, Promotion):
        found = list(_of_promotion(options, spec, paths, row.trial))
        # At its last epoch nobody asks: nothing is left to save.
        return [each for each in found if row.state != "COMPLETED" or each.rung.epoch < row.row["epochs"]]
    return _of_pruner(options, spec, paths, row)


def _of_pruner(options: Pruner, spec: SweepSpec, paths: SweepPaths, row: TrialRow) -> list[Decision]:
    values: dict[int, dict[int, float]] = {}
    found: list[Rung] = []
    for event in _of_the_search(paths):
        if not isinstance(event, EpochReported) or not _take(values, event, spec):
            continue
        if event.trial == row.trial and (not found or found[-1].passed):
            made = rungs_passed(options, spec.objective.mode, values, row.trial, event.epoch)
            # What has not changed since the trial reached the rung is not told again.
            found += [rung for rung in made if not rung.again or not rung.passed]
    if row.state == "COMPLETED" and found and not found[-1].passed:
        found.pop()  # at its last epoch nobody asks: nothing is left to save
    return [Decision(rung, "went on" if rung.passed else "stopped") for rung in found]


def _of_promotion(options: Promotion, spec: SweepSpec, paths: SweepPaths, trial: int) -> Iterator[Decision]:
    values: dict[int, dict[int, float]] = {}
    groups: dict[int, Group] = {}
    competition = Competition(options, spec.objective.mode, values, groups)
    paused_at: int | None = None
    rung = 0  # the highest one that the trial has reached

    def now(epoch: int, verdict: str) -> Iterator[Decision]:
        standing = competition.standing(trial, epoch)
        if standing is not None:
            yield Decision(standing, verdict)

    for event in _of_the_search(paths):
        if isinstance(event, TrialStarted):
            groups[event.trial] = group_of(options, {**spec.fixed, **event.params})
            if event.trial == trial and paused_at is not None:
                yield from now(paused_at, "went on later")
                paused_at = None
        elif isinstance(event, EpochReported):
            if _take(values, event, spec) and event.trial == trial:
                reached = competition.standing(trial, event.epoch)
                if reached is not None and reached.epoch > rung and competition.pauses(trial, event.epoch) is None:
                    yield Decision(reached, "went on")
                rung = max(rung, reached.epoch if reached is not None else 0)
        elif isinstance(event, TrialPaused) and event.trial == trial and not event.stopped:
            paused_at = event.epoch
            yield from now(event.epoch, "paused")
        elif isinstance(event, TrialEnded) and event.trial == trial and paused_at is not None:
            yield from now(paused_at, "given up")
            paused_at = None
    if paused_at is not None:
        yield from now(paused_at, "waits")


def _of_the_search(paths: SweepPaths) -> Iterator[Event]:
    """The events of the log, without those of trials that run others again: no pruner looks at these."""
    again: set[int] = set()
    for event in read_events(paths.log):
        if isinstance(event, TrialStarted) and event.confirms is not None:
            again.add(event.trial)
        if getattr(event, "trial", None) not in again:
            yield event


def _take(values: dict[int, dict[int, float]], event: EpochReported, spec: SweepSpec) -> bool:
    """Adds a report; whether it is a new one with the objective."""
    steps = values.setdefault(event.trial, {})
    if event.epoch in steps or spec.objective.metric not in event.metrics:
        return False
    steps[event.epoch] = event.metrics[spec.objective.metric]
    return True
