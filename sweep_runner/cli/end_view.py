"""What the summary of a sweep says of how its search ended, and of what was confirmed."""

from __future__ import annotations

from collections.abc import Iterator

from sweep_runner.results.candidates import rows_of_candidates, text_table
from sweep_runner.results.display import counted
from sweep_runner.results.state import SweepState


def end_lines(state: SweepState) -> Iterator[str]:
    """Which trials paused as a rule ended the search, and what running the best again came to.

    The rule itself, and why trials were not run again, stands over the leaderboard.
    """
    if state.search.stopped is not None:
        cut = [number for number, each in state.trials.items() if each.stopped and each.confirms is None]
        if cut:
            plural = len(cut) > 1
            numbers = ", ".join(map(str, cut))
            yield (
                f"trial{'s' if plural else ''} {numbers} paused at that time, and will continue from "
                f"{'their checkpoints' if plural else 'its checkpoint'} if the search continues (sweep extend)"
            )
    best = state.best()
    runs = None if best is None else state.runs(best.trial)
    if best is not None and runs is not None:
        values = ", ".join(f"{value:.4f}" for value in runs.values[1:])
        yield (
            f"confirmed: trial {best.trial} has the best mean, {state.objective.metric} {runs}: "
            f"{runs.values[0]:.4f} in the search, {values} again. Its original checkpoint is published"
        )


def candidate_lines(state: SweepState, sweep: str) -> Iterator[str]:
    """The models that there were to choose from, where it was more than one; and why one of them is published."""
    rows = rows_of_candidates(sweep, state)
    if len(rows) < 2:
        return
    yield "models to publish (*: published):"
    for line in text_table(rows):
        yield f"  {line}"
    for row in rows:
        if row["reason"]:
            yield f"{row['candidate']}: {row['reason']}"


def trials_text(state: SweepState) -> str:
    """`20 trials`, and how many repetitions of the best beside them."""
    again = sum(each.confirms is not None for each in state.trials.values())
    text = counted(len(state.trials) - again, "trial")
    return f"{text} and {again} repetition{'s' if again > 1 else ''} of the best" if again else text
