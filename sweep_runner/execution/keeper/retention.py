"""Which checkpoints stay on disk: the best epoch of the few best trials of the sweep, and of its baselines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable

from sweep_runner.results.events import State
from sweep_runner.results.front import Point, front, point_of
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.model import SOUP_CHECKPOINTS, SweepSpec
from trainables.checkpoints import attempt_folders

_RANKED: tuple[State, ...] = ("COMPLETED", "PRUNED")


class Retention:
    """Drops the checkpoints of ended trials that are not among the best (or on the Pareto front) and no baselines.

    A FAILED trial keeps its own, to find out why it failed, and a PAUSED one those from which it may go on. Where the
    best are to be confirmed, all of them keep theirs, because any may win; repetitions keep none.

    Attributes:
        also: told of each trial that drops checkpoints and of the epoch that it keeps (None: none).
    """

    def __init__(self, paths: SweepPaths, spec: SweepSpec, state: SweepState) -> None:
        self.also: Callable[[int, int | None], None] = lambda trial, keep_epoch: None
        self._paths = paths
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0
        self._keep = spec.keep
        self._most = num_kept(spec)
        self._confirmed = state.search.confirmed
        self._baselines: set[int] = set()
        self._kept: list[tuple[float, int]] = []
        self._objective = spec.objective
        self._front: dict[int, Point] = {}
        before = [summary for summary in state.trials.values() if _may_stay(summary)]
        for summary in before:
            self._rank(summary)
        # A driver that was killed between an end and what follows from it has left what nobody keeps.
        for summary in before:
            self._drop(summary.trial, summary.best_epoch if self._stays(summary) else None)

    def ended(self, summary: TrialSummary) -> None:
        """Takes note of an ended trial and removes what is no longer among the best."""
        if not _may_stay(summary):
            return
        for number in self._rank(summary):
            if number not in self._baselines and number not in self._confirmed:
                self._drop(number, None)
        if self._stays(summary) and summary.confirms is None:
            self._drop(summary.trial, summary.best_epoch)

    def tell_again(self, ended: Iterable[TrialSummary]) -> None:
        """Tells `also` of every trial that has ended: a crash may have come before it had done what it was told."""
        for summary in ended:
            if _may_stay(summary):
                self.also(summary.trial, summary.best_epoch if self._stays(summary) else None)

    def _stays(self, summary: TrialSummary) -> bool:
        kept = {number for _, number in self._kept}
        return summary.trial in self._baselines | self._confirmed | kept | set(self._front)

    def _rank(self, summary: TrialSummary) -> list[int]:
        """Adds a trial to the ranking; the numbers that fall out of it."""
        if summary.best_value is None or summary.confirms is not None:
            return [summary.trial]
        if self._keep.baselines and summary.name is not None:
            self._baselines.add(summary.trial)
        # Of two that are as good the earlier one stays: its number is lower.
        self._kept.append((-self._sign * summary.best_value, summary.trial))
        self._kept.sort()
        fallen = [number for _, number in self._kept[self._most :]]
        del self._kept[self._most :]
        if not self._objective.also:
            return fallen
        # Each trial on the Pareto front is an answer, and may be exported.
        before = set(self._front)
        point = point_of(summary, self._objective)
        if point is not None and not summary.over_limit:
            on_front = front({**self._front, summary.trial: point})
            self._front = {number: self._front.get(number, point) for number in on_front}
        kept = {number for _, number in self._kept} | set(self._front)
        return sorted({*fallen, *before} - kept)

    def _drop(self, number: int, keep_epoch: int | None) -> None:
        self.also(number, keep_epoch)
        attempts = attempt_folders(self._paths.trial(number))
        for folder in (each / "checkpoints" for each in attempts if (each / "checkpoints").is_dir()):
            if keep_epoch is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for checkpoint in folder.iterdir():
                if checkpoint.name != f"epoch-{keep_epoch:05d}":
                    shutil.rmtree(checkpoint, ignore_errors=True)


def num_kept(spec: SweepSpec) -> int:
    """How many of the best trials keep their best checkpoint: as many as anything that follows the search may want."""
    confirmed = spec.search.confirm.top if spec.search.confirm is not None else 0
    return max(spec.keep.best, confirmed, SOUP_CHECKPOINTS if spec.export.soup else 0, spec.export.ensemble or 0)


def _may_stay(summary: TrialSummary) -> bool:
    return summary.state in _RANKED and summary.copy_of is None
