"""Promotion: trials pause at rungs, and the best of those that have reached a rung go on from their checkpoints.

Asynchronous successive halving as it was published (Li et al. 2020, arXiv:1810.05934), within groups of trials that
are alike: networks differ in how fast they learn, so values at a rung are compared among trials of one network. The
first trial of a group goes on at once, so that every network is seen to its end.

Who pauses, who goes on and who is given up are pure functions of the recorded values, so that a replay after a crash
decides the same, and `sweep explain` can tell it from the log.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep_runner.search.pruners import Values, nth_best
from sweep_runner.spec.strategies import Promotion

Group = tuple[str, ...]
"""The values of the parameters of `group_by`, as text: trials with the same ones compete."""


@dataclass(frozen=True)
class Standing:
    """How a trial stands at a rung among those of its group that have reached it.

    Attributes:
        epoch: of the rung.
        value: the trial's there.
        rivals: trial → value: the others that have reached the rung.
        num_kept: how many of all of them go on.
        place: the trial's, from 1; the lower number is ahead of an equal value.
        group: in which they compete.
        mode: which way is better.
    """

    epoch: int
    value: float
    rivals: Mapping[int, float]
    num_kept: int
    place: int
    group: Group
    mode: Literal["min", "max"]

    @property
    def passed(self) -> bool:
        """Whether the trial goes on."""
        return self.place <= self.num_kept and not math.isnan(self.value)

    @property
    def threshold(self) -> float | None:
        """The worst value of a rival that goes on in the trial's place; None when there are too few rivals for one."""
        return nth_best(self.rivals.values(), self.num_kept, self.mode)

    def __str__(self) -> str:
        among = f" with {', '.join(self.group)}" if self.group else ""
        needs = "" if self.passed or self.threshold is None else f" (needs {self.threshold:.4g})"
        return (
            f"rung at epoch {self.epoch}: {self.value:.4g} is rank {self.place} of {len(self.rivals) + 1} trials"
            f"{among}; the best {self.num_kept} continue{needs}"
        )


def group_of(options: Promotion, params: Mapping[str, Any]) -> Group:
    """The group of a trial with these params."""
    return tuple(f"{name}={params[name]}" for name in options.group_by or () if name in params)


class Competition:
    """Decides about the trials of a sweep from what they have reported so far.

    Args:
        options: as `pruners.resolve` gives them.
        mode: which way is better.
        values: all trials' values recorded so far; those that come are seen.
        groups: each trial's group.
    """

    def __init__(
        self, options: Promotion, mode: Literal["min", "max"], values: Values, groups: Mapping[int, Group]
    ) -> None:
        self._options = options
        self._mode = mode
        self._values = values
        self._groups = groups

    def standing(self, number: int, epoch: int) -> Standing | None:
        """How a trial stands at the highest rung that it had reached at an epoch; None below the first rung."""
        rung = self._highest_rung(epoch)
        reached = {} if rung is None else self._reached(self._groups[number], rung)
        if rung is None or number not in reached:
            return None
        return next(self._standings(rung, self._groups[number], [number]))

    def pauses(self, number: int, epoch: int) -> str | None:
        """Why a trial pauses after the epoch that it has just reported; None to go on.

        Do not ask at a trial's last epoch.
        """
        own = self._values.get(number, {})
        if epoch not in own:
            return None
        before = max((step for step in own if step < epoch), default=0)
        rung = self._highest_rung(epoch)
        if rung is None or rung <= before:  # no rung between the last report and this one
            return None
        found = self.standing(number, epoch)
        assert found is not None, "it has just reached the rung"
        return None if found.passed else str(found)

    def promoted(self, paused: Collection[int]) -> int | None:
        """The paused trial that goes on next; None when all have to wait.

        Of several the one at the highest rung, then the one whose place is best, then the lowest number.
        """
        found = [(-each.epoch, each.place, number) for number, each in self._all_standings(paused) if each.passed]
        return min(found)[-1] if found else None

    def given_up(self, paused: Collection[int], most: int) -> list[int]:
        """The paused trials that end because more than `most` wait: at the lowest rungs, the farthest from going on."""
        ordered = sorted(
            (-each.epoch, each.place / each.num_kept, number) for number, each in self._all_standings(paused)
        )
        return sorted(number for *_, number in ordered[most:])

    def _all_standings(self, paused: Collection[int]) -> Iterator[tuple[int, Standing]]:
        """Each paused trial's standing. One pass over all trials for each group and rung, not for each trial."""
        waiting: dict[tuple[int, Group], list[int]] = {}
        for number in sorted(paused):
            rung = self._highest_rung(max(self._values[number], default=0))
            if rung is not None:
                waiting.setdefault((rung, self._groups[number]), []).append(number)
        for (rung, group), numbers in waiting.items():
            yield from zip(numbers, self._standings(rung, group, numbers), strict=True)

    def _standings(self, rung: int, group: Group, numbers: Sequence[int]) -> Iterator[Standing]:
        reached = self._reached(group, rung)
        ordered = sorted(reached, key=lambda number: _rank(reached[number], number, self._mode))
        places = {number: place for place, number in enumerate(ordered, start=1)}
        num_kept = max(1, len(reached) // self._options.reduction_factor)
        for number in numbers:
            rivals = {other: value for other, value in reached.items() if other != number}
            yield Standing(rung, reached[number], rivals, num_kept, places[number], group, self._mode)

    def _reached(self, group: Group, rung: int) -> dict[int, float]:
        """The trials of a group that have reached a rung, each with its value there."""
        return {
            number: value
            for number, steps in self._values.items()
            if self._groups.get(number) == group and (value := _at(rung, steps)) is not None
        }

    def _highest_rung(self, epoch: int) -> int | None:
        assert self._options.min_epochs is not None, "resolve the options first"
        if epoch < self._options.min_epochs:
            return None
        rung = self._options.min_epochs
        while rung * self._options.reduction_factor <= epoch:
            rung *= self._options.reduction_factor
        return rung


def _at(rung: int, steps: Mapping[int, float]) -> float | None:
    """The value with which a trial reached a rung: at its epoch, or at the first one reported after it."""
    if rung in steps:
        return steps[rung]
    later = [step for step in steps if step > rung]
    return steps[min(later)] if later else None


def _rank(value: float, number: int, mode: Literal["min", "max"]) -> tuple[bool, float, int]:
    """Ascending: best first; what is not a number last; of equal values the lower number first."""
    if math.isnan(value):
        return True, 0.0, number
    return False, -value if mode == "max" else value, number
