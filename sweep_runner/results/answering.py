"""Works out what a sweep's answer is worth, from its log and the predictions on val."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sweep_runner.results.answer import Answer, ranking
from sweep_runner.results.events import EpochReported
from sweep_runner.results.log import read_events
from sweep_runner.results.parts import evaluation_path
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.rightness import groups_of, scores
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.results.tables import read_part
from trainables.intervals import share
from trainables.outcomes import MOST_EXAMPLES, unpacked
from trainables.selection import MOST_COMPARED, MOST_VALUES, alike, on_unseen

Scores = npt.NDArray[np.float32]

_CLOSE = 0.005
"""By how much an objective and the mean of outcomes may differ: outcomes right in part are rounded, and a final
evaluation may add up in another order. More, and the objective is another measure."""


@dataclass(frozen=True)
class _Val:
    """What is known of val: how right each trial's best model was on it, and which examples belong together."""

    rows: Mapping[int, Scores]
    groups: Sequence[Hashable] | None
    epochs: Mapping[tuple[int, int], Scores]
    unlike: int  # trials whose outcomes are of another number of examples


def work_out(state: SweepState, paths: SweepPaths, evaluated: Sequence[int]) -> Answer:
    """What holds of the answer of a sweep that has ended.

    Args:
        state: with a best trial.
        paths: of the sweep.
        evaluated: the trials whose predictions on val are there.
    """
    trials = ranked(state)
    metric = state.objective.metric
    winner = trials[0]
    bare = Answer(
        winner=winner.trial,
        ranked=ranking((each.trial, each.best_epoch) for each in trials),
        evaluated=tuple(evaluated),
        chosen=winner.trial,
    )
    val = _read(trials, paths, evaluated)
    if not val.rows and not evaluated:
        return bare  # its trainable judges nothing example by example, and never claimed to
    if winner.trial not in val.rows:
        return _silent(bare, "the best trial's outcome on each val example is not recorded: trials cannot be compared")
    if state.objective.mode == "min" or not _is_mean(winner.best_value, val.rows[winner.trial]):
        return _silent(
            bare, f"trials are ranked by {metric}, not by accuracy: their differences are not tested for significance"
        )
    fitting = [each for each in trials if each.trial in val.rows and _is_mean(each.best_value, val.rows[each.trial])]
    compared = fitting[:MOST_COMPARED]
    rows = np.stack([val.rows[each.trial] for each in compared])
    shares = {each.trial: share(row, val.groups) for each, row in zip(compared, rows, strict=True)}
    told = alike(rows, val.groups)
    # With confirmed trials the winner is that of the means, and may be none of those that are alike on this one run.
    same = {compared[place].trial for place in told.members} | {winner.trial}
    notes = []
    if val.unlike:
        were = "trial was" if val.unlike == 1 else "trials were"
        notes.append(f"{val.unlike} {were} evaluated on other val examples than the best and not compared")
    unseen, why_not = _unseen(state, trials, val)
    return _with(
        bare,
        compared=tuple(each.trial for each in compared),
        alike=tuple(each.trial for each in compared if each.trial in same),
        enough=told.enough,
        shares=shares,
        unseen=unseen,
        why_not=(*notes, *([why_not] if why_not else [])),
    )


def ranked(state: SweepState) -> list[TrialSummary]:
    """The trials that have a place of their own in the leaderboard, best first."""
    return [each for each in state.ranked() if each.copy_of is None]


def _unseen(state: SweepState, trials: Sequence[TrialSummary], val: _Val) -> tuple[Any, str]:
    """What to expect of the winner on unseen data, or why nothing can be said."""
    prefix = "performance on unseen data is not estimated: "
    if len(trials) < 2:
        return None, prefix + "only one trial has a value to choose by"
    if state.search.confirmed:
        why = "the best trials were repeated with other seeds, and the estimate assumes a choice by single runs"
        return None, prefix + why
    known = {trial for trial, _ in val.epochs}
    lacking = [each.trial for each in trials if each.trial not in known]
    complete = sum(each.epochs for each in trials) == len(val.epochs)
    if lacking or not complete:
        number = len(lacking) or sum(
            each.epochs != sum(trial == each.trial for trial, _ in val.epochs) for each in trials
        )
        size = len(val.rows[trials[0].trial])
        why = f"val has {size:,} examples, and outcomes are recorded for at most {MOST_EXAMPLES:,}"
        if size <= MOST_EXAMPLES:
            why = f"{number} of {len(trials)} trials have no recorded outcomes per val example and epoch"
        return None, prefix + why
    order = sorted(val.epochs)  # of equals the search takes the lower trial and the earlier epoch
    most = max(2, MOST_VALUES // len(val.rows[trials[0].trial]))
    if len(order) > most:
        best = sorted(order, key=lambda key: -float(val.epochs[key].mean()))[:most]
        order = sorted(best)
    found = on_unseen(np.stack([val.epochs[key] for key in order]), val.groups)
    if found is None:
        return None, prefix + "val has too few groups"
    return found, ""


def _read(trials: Sequence[TrialSummary], paths: SweepPaths, evaluated: Sequence[int]) -> _Val:
    wanted = {each.trial: each.best_epoch for each in trials}
    tables = {trial: table for trial in evaluated if (table := _predictions(paths, trial)) is not None}
    winner = trials[0].trial
    epochs: dict[tuple[int, int], Scores] = {}
    for event in read_events(paths.log):
        if isinstance(event, EpochReported) and event.outcomes and event.trial in wanted:
            try:
                epochs.setdefault((event.trial, event.epoch), unpacked(event.outcomes))
            except ValueError:
                continue  # of a later version: as if it were not there, which is told
    rows = {
        each.trial: epochs[each.trial, each.best_epoch]
        for each in trials
        if each.best_epoch is not None and (each.trial, each.best_epoch) in epochs
    }
    for trial, table in tables.items():
        if trial in wanted:
            rows.setdefault(trial, np.asarray(scores(table), dtype=np.float32))
    if winner not in rows:
        return _Val({}, None, {}, 0)
    size = len(rows[winner])
    groups = groups_of(tables[winner]) if winner in tables and len(tables[winner]) == size else None
    same = {trial: row for trial, row in rows.items() if len(row) == size}
    fitting = {key: row for key, row in epochs.items() if len(row) == size}
    return _Val(same, groups, fitting, len(rows) - len(same))


def _predictions(paths: SweepPaths, trial: int) -> pa.Table | None:
    try:
        return read_part(evaluation_path(paths.table("predictions"), trial, "val"))
    except (OSError, pa.ArrowInvalid):
        return None  # damaged: whoever shows predictions says so


def _is_mean(value: float | None, row: Scores) -> bool:
    return value is not None and abs(value - float(row.mean(dtype=np.float64))) <= _CLOSE


def _silent(answer: Answer, why: str) -> Answer:
    return _with(answer, why_not=(why,))


def _with(answer: Answer, **changes: Any) -> Answer:
    import dataclasses

    return dataclasses.replace(answer, **changes)
