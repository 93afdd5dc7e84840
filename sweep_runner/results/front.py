"""The Pareto front of a sweep with several objectives: the trials that none beats in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sweep_runner.results.state import Objective, SweepState, TrialSummary, finite

if TYPE_CHECKING:
    from trainables.contract import Mode

Point = tuple[float, ...]
"""What a trial has of each objective, with signs by which more is better."""


def goals_of(objective: Objective) -> tuple[tuple[str, Mode], ...]:
    """The further objectives: the column of each, and which way is better."""
    return tuple((goal.column, goal.better_is) for goal in objective.also)


def further_values(summary: TrialSummary, objective: Objective) -> tuple[float | None, ...]:
    """What a trial has of the further objectives at its best epoch; None: it has none, or no finite one."""
    known = {**summary.best_metrics, **summary.facts}
    if summary.num_parameters is not None:
        known.setdefault("num_parameters", summary.num_parameters)
    return tuple(finite(known.get(column)) for column, _ in goals_of(objective))


def point_of(summary: TrialSummary, objective: Objective) -> Point | None:
    """Where a trial lies; None where it has not all of it."""
    first, rest = finite(summary.best_value), further_values(summary, objective)
    if first is None or any(value is None for value in rest):
        return None
    modes = (objective.mode, *(mode for _, mode in goals_of(objective)))
    return tuple(
        (value or 0.0) * (1.0 if mode == "max" else -1.0) for value, mode in zip((first, *rest), modes, strict=True)
    )


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse and somewhere better."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def front(points: Mapping[int, Point]) -> set[int]:
    """The numbers of those that none dominates; of equal ones all."""
    left: dict[int, Point] = {}
    # From the best by the first objective down: whatever dominates a point comes before it.
    for number in sorted(points, key=lambda number: points[number], reverse=True):
        if not any(dominates(other, points[number]) for other in left.values()):
            left[number] = points[number]
    return set(left)


def front_of(state: SweepState) -> set[int]:
    """The front of a sweep: of trials with a result, without copies and without those over a limit."""
    found: Sequence[TrialSummary] = [each for each in state.ranked() if each.copy_of is None]
    points = {each.trial: point for each in found if (point := point_of(each, state.objective)) is not None}
    return front(points)
