"""What a sweep that has ended can claim: how sure its winner is, who cannot be told apart from it, what to expect on
unseen data. Worked out once, kept in the log and in the `sweeps` table, and told everywhere in the same words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from trainables.intervals import Share
from trainables.selection import Unseen

if TYPE_CHECKING:
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow

_MOST_NAMED = 10
_FELT = 0.005
"""A drop from val that is worth a word."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What holds of a sweep's answer.

    Attributes:
        winner: the best trial.
        ranked: the trials that it was the best of, with their best epochs, as `trial:epoch`, best first: of another
            leaderboard the answer says nothing.
        evaluated: those of them whose predictions on val are there.
        compared: the trials that were compared with each other on the same val examples; fewer than two: none were.
        alike: those of them that cannot be told apart from the best, the winner among them.
        enough: about how many val examples would tell the best two apart.
        shares: of each compared trial, its share of right answers on val.
        unseen: what to expect of the winner on unseen data.
        why_not: why there is no such expectation, or no comparison, in words; empty: there are both.
        prefer: `smaller`, `faster`, or empty.
        chosen: the trial that is published: the winner, or what is preferred among those that are alike.
        why_chosen: in words, where something was preferred.
    """

    winner: int
    ranked: tuple[str, ...]
    evaluated: tuple[int, ...] = ()
    compared: tuple[int, ...] = ()
    alike: tuple[int, ...] = ()
    enough: int | None = None
    shares: Mapping[int, Share] = field(default_factory=dict)
    unseen: Unseen | None = None
    why_not: tuple[str, ...] = ()
    prefer: str = ""
    chosen: int
    why_chosen: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, for the log and the table."""
        return dataclasses.asdict(self) | {
            "shares": {str(trial): dataclasses.asdict(share) for trial, share in self.shares.items()}
        }

    @classmethod
    def read(cls, values: Mapping[str, Any] | None) -> Self | None:
        """What `to_json` made; None without it, or when it is of a version that told other things."""
        try:
            return None if values is None else cls._from_json(values)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    @classmethod
    def _from_json(cls, values: Mapping[str, Any]) -> Self:
        lists = {name: tuple(values[name]) for name in ("ranked", "evaluated", "compared", "alike", "why_not")}
        unseen = values["unseen"]
        return cls(
            **{
                **values,
                **lists,
                "shares": {int(trial): Share(**share) for trial, share in values["shares"].items()},
                "unseen": None if unseen is None else Unseen(**unseen),
            }
        )

    @property
    def is_loose(self) -> bool:
        """Whether val is too small for what was found: half of those compared, or more, may be the best."""
        return len(self.compared) > 2 and 2 * len(self.alike) >= len(self.compared)

    def lines(self) -> Iterator[str]:
        """What the user is told, a sentence or two each."""
        share = self.shares.get(self.winner)
        on_val = f"{share} on val" if share else ""
        if self.unseen is not None:
            of = f"the best of {self.unseen.num_candidates:,} epochs of {len(self.ranked):,} trials"
            felt = self.unseen.drop >= _FELT
            bias = "so its val figure is optimistic" if felt else "which hardly biases its val figure"
            yield (
                f"{on_val or f'{self.unseen.seen:.3f} on val'}; expect about {self.unseen.value:.3f} on unseen data "
                f"like val (95 %: {self.unseen.low:.3f} to {self.unseen.high:.3f}): trial {self.winner} was selected "
                f"as {of}, {bias}"
            )
        elif on_val:
            yield f"{on_val}, the metric of the selection, so the figure is optimistic"
        if len(self.compared) > 1:
            yield self._who_is_alike()
        if self.is_loose:
            size = f"val has {share.num_examples:,} examples, too few" if share else "val is too small"
            enough = f"; to separate the best two would take about {self.enough:,}" if self.enough else ""
            yield f"{size} for the observed differences: the order is mostly chance{enough}"
        yield from self.why_not
        if self.why_chosen:
            yield self.why_chosen

    def _who_is_alike(self) -> str:
        of = f"{len(self.compared):,} of {len(self.ranked):,} trials could be compared"
        if len(self.compared) == len(self.ranked):
            of = f"all {len(self.ranked):,} trials were compared"
        if len(self.alike) < 2:
            return f"trial {self.winner} is significantly better than the others ({of})"
        named = sorted(self.alike)
        if len(named) > _MOST_NAMED:
            first = [self.winner, *(trial for trial in self.alike if trial != self.winner)][:_MOST_NAMED]
            rest = len(named) - _MOST_NAMED
            return f"trials {', '.join(map(str, first))} and {rest} more do not differ significantly ({of})"
        return f"trials {words(named)} do not differ significantly ({of})"


def interval(share: Share) -> str:
    """`0.76 to 0.94`, for a column."""
    return f"{share.low:.3f} to {share.high:.3f}"


def words(numbers: Sequence[int]) -> str:
    """`0, 1 and 7`."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def answer_of(board: Leaderboard) -> Answer | None:
    """What a sweep's tables say of its answer; None while it is not worked out, or of another leaderboard."""
    text = board.sweep.values.get("answer")
    if not text:
        return None
    answer = Answer.read(json.loads(text))
    if answer is None or len(answer.ranked) != len(board.ranked):
        return None
    return answer if answer.ranked == ranking(board.best_epochs.items()) else None


def published(board: Leaderboard) -> TrialRow | None:
    """The trial whose model is published, or will be: the best, or what is preferred among those that are alike."""
    answer = answer_of(board)
    if answer is not None:
        return board.trial(answer.chosen)
    return min(board.ranked, key=lambda row: row.rank or 0, default=None)


def published_first(board: Leaderboard) -> list[TrialRow]:
    """The ranked trials, before them the one whose model is published."""
    first = published(board)
    return [] if first is None else [first, *(row for row in board.ranked if row.trial != first.trial)]


def ranking(trials: Iterable[tuple[int, int | None]]) -> tuple[str, ...]:
    """A leaderboard in short: trials with their best epochs, best first."""
    return tuple(f"{trial}:{epoch}" for trial, epoch in trials)
