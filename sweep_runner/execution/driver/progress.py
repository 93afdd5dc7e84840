"""How far a running sweep is, as plain text: for a terminal, a notebook, or whoever else shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep_runner.execution.keeper.confirming import how_far
from sweep_runner.results.display import clock, counted, in_brief, in_words, names_in_brief, shared, shortened
from sweep_runner.results.events import State
from sweep_runner.results.state import RANKED, SweepState

if TYPE_CHECKING:
    from sweep_runner.execution.keeper.keeper import Keeper
    from sweep_runner.search.trial import Proposal

SHOWN_STATES: tuple[State, ...] = ("COMPLETED", "PRUNED", "PAUSED", "FAILED", "INFEASIBLE", "RUNNING")
_GAP = 2  # blanks between columns
_NAME_WIDTH = 18
_LEAST_PARAMS = 18
_MOST_EPOCHS = 4  # trials
_MOST_ROWS = 40


@dataclass(frozen=True)
class Progress:
    """A running sweep at one moment.

    Attributes:
        name: of the sweep.
        done: trials that have ended, of how many.
        best: the best value so far and whose it is; empty without one.
        times: elapsed, and how long still.
        states: how many trials are in which state, and what else is to be known.
        columns: of the running trials.
        rows: their cells, a row per trial.
        alike: the params that all trials of the sweep share; empty if there are none.
        brief: the params as values alone, for a narrow screen: their names, then a cell per row.
        epochs: how far the running trials are, while none has ended: nothing else shows that it goes on.
    """

    name: str
    done: str
    best: str
    times: str
    states: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alike: str
    brief: tuple[str, ...] = ()
    epochs: str = ""

    @property
    def line(self) -> str:
        """All but the running trials, in one line."""
        return "; ".join(part for part in (self.done, self.best, self.states, self.epochs, self.times) if part)


def num_ended(state: SweepState) -> int:
    """Trials that have ended or wait for others. What is run again with other seeds is counted apart."""
    return sum(trial.ended is not None and trial.confirms is None for trial in state.trials.values())


def progress_of(
    keeper: Keeper,
    state: SweepState,
    num_trials: int,
    num_epochs: int | None,
    elapsed_s: float,
    ended_before: int,
    several_hosts: bool,
) -> Progress:
    """Looks at a running sweep.

    Args:
        keeper: knows what runs.
        state: of all trials.
        num_trials: planned.
        num_epochs: of a trial, when they all have as many.
        elapsed_s: since this run began.
        ended_before: trials that had ended when it began.
        several_hosts: whether it matters where a trial runs.
    """
    ended = num_ended(state)
    counts = state.counts()
    states = [", ".join(f"{counts[name]} {name.lower()}" for name in SHOWN_STATES if counts[name]) or "starting"]
    pace = sum((live.metrics or {}).get("images_per_s", 0.0) for live in keeper.live.values())
    states += [f"{pace:,.0f} images/s"] if pace else []
    states += [keeper.sight] if keeper.sight else []
    now = time.time()
    again = how_far(state, keeper.spec.search.confirm)
    states += [
        text
        for text in (
            again,
            keeper.paused,
            keeper.waiting,
            keeper.end.ending.outlook(now, searching=keeper.end.searching),
        )
        if text
    ]
    best = state.best((*RANKED, "RUNNING"))
    known = "" if best is None or best.best_value is None else f"{best.best_value:.4f} (trial {best.trial})"
    new, left = ended - ended_before, num_trials - ended
    times = f"{clock(elapsed_s)} elapsed"
    # After `extend`, paused trials go on: fewer have ended than when it began.
    if new > 0 and left > 0 and state.search.stopped is None:
        to_go, allowed = elapsed_s / new * left, keeper.end.ending.left_s(now)
        if allowed is None or to_go <= allowed:
            times += f", about {clock(to_go)} to go"
        else:
            fitting = counted(ended + int(allowed * new / elapsed_s), "trial")
            times += f", {clock(allowed)} to go: time for about {fitting}"
    columns, rows, alike, brief = _running(keeper, state, num_epochs, several_hosts)
    return Progress(
        name=keeper.spec.name,
        done=f"{ended}/{num_trials} trials",
        best=f"best {state.objective.metric} {known}" if known else "",
        times=times,
        states="; ".join(states),
        columns=columns,
        rows=rows,
        alike=alike,
        brief=brief,
        epochs="" if new > 0 else _epochs(keeper, num_epochs),
    )


def _epochs(keeper: Keeper, num_epochs: int | None) -> str:
    of = f" of {num_epochs}" if num_epochs else ""
    lives = sorted(keeper.live.items())[:_MOST_EPOCHS]
    return ", ".join(f"trial {number}: epoch {live.epoch}{of}" for number, live in lives)


def ended_progress(name: str, state: SweepState, num_trials: int) -> Progress:
    """The last look at a sweep: nothing runs any more."""
    counts = state.counts()
    best = state.best()
    known = best is not None and best.best_value is not None
    return Progress(
        name=name,
        done=f"{num_ended(state)}/{num_trials} trials",
        best=f"best {state.objective.metric} {best.best_value:.4f} (trial {best.trial})" if best and known else "",
        times=f"in {clock(state.duration_s)}",
        states=", ".join(f"{counts[each]} {each.lower()}" for each in SHOWN_STATES if counts[each]),
        columns=(),
        rows=(),
        alike="",
    )


def _running(
    keeper: Keeper, state: SweepState, num_epochs: int | None, several_hosts: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], str, tuple[str, ...]]:
    objective = state.objective.metric
    lives = sorted(keeper.live.items())
    everything = [trial.params for trial in state.trials.values()] + [live.proposal.params for _, live in lives]
    alike = shared(list(keeper.spec.space), everything)
    labels = {number: _label(live.proposal) for number, live in lives}
    names = any(labels.values())
    paced = any((live.metrics or {}).get("images_per_s") is not None for _, live in lives)
    columns = ("trial", *(["name"] if names else []), "epoch", objective, "best", "for")
    columns += ("images/s",) if paced else ()
    columns += (("host",) if several_hosts else ()) + ("params",)
    varying = [name for name in keeper.spec.space if name not in alike]
    brief = [names_in_brief(varying)]
    rows = []
    for number, live in lives:
        summary = state.trials.get(number)
        metrics = live.metrics or {}
        value, best = metrics.get(objective), summary.best_value if summary else None
        pace = metrics.get("images_per_s")
        params = {name: value for name, value in live.proposal.params.items() if name not in alike}
        brief.append(in_brief(params, varying))
        rows.append(
            (
                str(number),
                *([labels[number]] if names else []),
                f"{live.epoch}" + (f"/{num_epochs}" if num_epochs else ""),
                "" if value is None else f"{value:.4f}",
                "" if best is None else f"{best:.4f}",
                clock(time.time() - live.started),
                *(["" if pace is None else f"{pace:,.0f}"] if paced else []),
                *([summary.host if summary else ""] if several_hosts else []),
                in_words(params),
            )
        )
    return columns, tuple(rows), in_words(alike), tuple(brief)


def _label(proposal: Proposal) -> str:
    """A baseline's name, or which trial is run again."""
    return proposal.name or ("" if proposal.confirms is None else f"{proposal.confirms} again")


def fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, brief: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """What of the running trials fits into so many characters: number, epoch and values always do.

    The params get what is left. If they need more, they are shown as values alone (`brief`, see `Progress`), cut with
    an ellipsis; if little is left, first `images/s` goes, then `host`, `name`.
    """
    kept = list(range(len(columns)))
    widths = [max([len(column), *(len(row[k]) for row in rows)]) for k, column in enumerate(columns)]
    for k, column in enumerate(columns):
        if column == "name":
            widths[k] = min(widths[k], _NAME_WIDTH)
    for goes in ("", "images/s", "host", "name"):
        kept = [k for k in kept if columns[k] != goes]
        left = width - sum(widths[k] + _GAP for k in kept if columns[k] != "params")
        if left >= min(_LEAST_PARAMS, widths[-1]):
            break
    if brief and left < widths[-1]:
        columns = [*columns[:-1], shortened(brief[0], max(0, left))]
        rows = [[*row[:-1], cell] for row, cell in zip(rows, brief[1:], strict=True)]
    limits = {k: max(0, left) if k == len(columns) - 1 else widths[k] for k in kept}
    kept = [k for k in kept if limits[k] > 1]
    return [columns[k] for k in kept], [[shortened(row[k], limits[k]) for k in kept] for row in rows[:_MOST_ROWS]]
