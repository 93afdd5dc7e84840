"""Which trials are run again with other seeds when the search has ended, and what that comes to (`search.confirm`).

Everything here is a pure function of what was recorded, so that a resume goes on with the same repetitions.
"""

from __future__ import annotations

from sweep_runner.results.events import Confirmed
from sweep_runner.results.ranking import place
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.ending import Confirm


def candidates(state: SweepState, confirm: Confirm) -> list[TrialSummary]:
    """The trials that are to be confirmed: the best by their own value, best first; all where there are fewer."""
    found = [each for each in state.ranked() if each.copy_of is None]
    mode = state.objective.mode
    return sorted(found, key=lambda each: place(each.best_value or 0.0, each.trial, mode))[: confirm.top]


def next_repetition(state: SweepState, confirm: Confirm | None) -> TrialSummary | None:
    """The trial that is to be run again next; None when all have been.

    In rounds, so that every one has been run again once before one is for the second time: time may run out.
    """
    if confirm is None:
        return None
    chosen = candidates(state, confirm)
    for repetition in range(1, confirm.seeds):
        for each in chosen:
            if len(state.repetitions.get(each.trial, ())) < repetition:
                return each
    return None


def num_due(state: SweepState, confirm: Confirm) -> int:
    """How many repetitions are still to begin."""
    done = (len(state.repetitions.get(each.trial, ())) for each in candidates(state, confirm))
    return sum(max(0, confirm.seeds - 1 - number) for number in done)


def conclusion(state: SweepState, confirm: Confirm, time: float) -> Confirmed:
    """What the repetitions come to: the trials that count by the mean of their runs from now on.

    When time ran out before each of the best was run again, none does: their values could not be compared.
    """
    chosen = candidates(state, confirm)
    again = {each.trial: [state.trials[number] for number in state.repetitions.get(each.trial, ())] for each in chosen}
    settled = [trial for trial, runs in again.items() if any(run.state not in ("PAUSED", "RUNNING") for run in runs)]
    if len(settled) < len(chosen):
        reason = (
            f"not enough time to repeat each of the best {len(chosen)} trials: {len(settled)} were repeated, so all "
            f"are ranked by their original value"
        )
        return Confirmed(time=time, trials=(), reason=reason)
    trials = tuple(trial for trial, runs in again.items() if any(run.state == "COMPLETED" for run in runs))
    failed = [str(trial) for trial in again if trial not in trials]
    reason = f"no repetition of trial {', '.join(failed)} was completed" if failed else ""
    return Confirmed(time=time, trials=trials, reason=reason)


def how_far(state: SweepState, confirm: Confirm | None) -> str:
    """How many repetitions have ended, in words; empty before they begin."""
    if confirm is None or not state.repetitions:
        return ""
    runs = [state.trials[number] for numbers in state.repetitions.values() for number in numbers]
    ended = sum(run.ended is not None for run in runs)
    return f"confirming: {ended} of {len(runs) + num_due(state, confirm)} repetitions have ended"
