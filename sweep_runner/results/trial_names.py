"""How a trial is named: a number, a baseline's name, `best` or nothing (the best); with its sweep, NAME/TRIAL."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sweep_runner.errors import RequestError

if TYPE_CHECKING:
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow

BEST = "best"


def split_name(name: str, *trials: str | None) -> tuple[str, str | None]:
    """The sweep and the trial of what a command was given.

    Args:
        name: NAME or NAME/TRIAL.
        trials: the trial, where it was given apart from the name; None: it was not.

    Raises:
        RequestError: two different trials are named.
    """
    sweep, slash, inside = name.partition("/")
    given = list(dict.fromkeys(trial for trial in (inside if slash else None, *trials) if trial))
    if len(given) > 1:
        raise RequestError(
            f"two trials are named: {' and '.join(given)}",
            hint=f"Name one: {sweep} {given[0]}, {sweep}/{given[0]} or {sweep} --trial {given[0]}.",
        )
    return sweep, given[0] if given else None


def pick_trial(sweep: str, names: Mapping[int, str | None], best: int | None, trial: str | None) -> int:
    """The number of the trial that is meant. A baseline that is called as a number, or `best`, goes before these.

    Args:
        sweep: its name.
        names: number → baseline's name, of every trial.
        best: the best trial; None: none has a value yet.
        trial: as the user named it; None: the best.

    Raises:
        RequestError: there is none such; says which there are.
    """
    named = {name: number for number, name in names.items() if name is not None}
    if trial is not None and trial in named:
        return named[trial]
    if trial is None or trial == BEST:
        if best is None:
            there = f"Name one of its trials: {ranges(sorted(names))}." if names else f"See: sweep top {sweep}"
            raise RequestError(f"no trial of sweep {sweep!r} has a value yet, so there is no best trial", hint=there)
        return best
    if trial.isdecimal():
        if int(trial) in names:
            return int(trial)
        there = f"its trials are {ranges(sorted(names))}" if names else "no trial has started yet"
        raise RequestError(f"sweep {sweep!r} has no trial {trial}", hint=there)
    near = difflib.get_close_matches(trial, [*named, BEST], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"give a trial's number, {BEST}, or a baseline: {_listed(named)}"
    raise RequestError(f"sweep {sweep!r} has no baseline {trial!r}", hint=hint)


def find_trial(board: Leaderboard, trial: str | None) -> TrialRow:
    """The trial that is meant. See `pick_trial`."""
    names = board.names
    best = board.ranked[0].trial if board.ranked else None
    return board.trial(pick_trial(board.sweep.sweep, names, best, trial))


def find_trials(board: Leaderboard, trials: Sequence[str | None]) -> list[TrialRow]:
    """The trials that are meant, each once; of a copy, the trial that was trained. See `pick_trial`."""
    found: dict[int, TrialRow] = {}
    for trial in trials:
        row = find_trial(board, trial)
        original = row.row["copy_of"]
        row = row if original is None else board.trial(original)
        found.setdefault(row.trial, row)
    return list(found.values())


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 5` for [0, 1, 2, 3, 5]."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def _listed(named: Mapping[str, int]) -> str:
    return ", ".join(named) or "none"
