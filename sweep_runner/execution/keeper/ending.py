"""When a search ends before its trials are used up: the rules of `search.stop`, checked against what was recorded.

`at` and `no_gain` look at the record alone. `after` looks at the clock besides; what it decides is recorded at once, so
that a resume finds the search ended, whatever the clock says then.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from sweep_runner.execution.keeper.confirming import candidates, next_repetition
from sweep_runner.execution.keeper.retention import num_kept
from sweep_runner.results.events import SearchStopped, StopRule
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.search.study import Study
from sweep_runner.spec.ending import Stop
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.plan import Plan
from trainables.contract import Trainable
from trainables.quantities import duration_text

_MOST_FOR_THE_END = 0.5
"""Of the budget: a search that has no time at all would make no model either."""
_START_S = 30.0
"""What evaluation and export take beside their passes over the data: starting a process, importing, verifying."""
_REFIT_EPOCH = 1.25
"""An epoch over train and val, in epochs over train: by the default split of 0.64 and 0.16."""
_STARTS = 3.0
"""On a slow or busy machine they take this many times what the first worker took to start, which imports as much.
Measured under a load of 17 on two cores: 30 s to start, 118 s for the end with four passes of 12 s."""


_JUDGED = 0.25
"""Of the pass over train and val that stored features took, what judging a model on val or on test takes again: the
backbone has to run on a fifth of these examples, or on a quarter, by the default split."""


@dataclass(frozen=True)
class EndWork:
    """What follows the search.

    Attributes:
        passes: over the data, each taken for as long as the longest epoch.
        start_s: what comes besides, at least.
        epochs: the most that a trial has; None: not known.
        refits: the best trial is trained anew on train and val, up to its best epoch.
    """

    passes: int = 0
    start_s: float = 0.0
    epochs: int | None = None
    refits: bool = False

    @classmethod
    def of(cls, plan: Plan) -> EndWork:
        """Of a sweep: val for each kept trial, test for the best one, and a model that is verified."""
        evaluates = plan.trainable.evaluate is not Trainable.evaluate
        exports = bool(plan.spec.export.formats) and plan.trainable.export is not Trainable.export
        kept = min(num_kept(plan.spec) + len(plan.spec.baselines) * plan.spec.keep.baselines, plan.num_trials)
        passes = (kept + 1) * evaluates + exports + _passes_of_candidates(plan.spec, kept)
        return cls(passes, _START_S if passes else 1.0, plan.max_epochs, exports and bool(plan.spec.export.refit))


class Ending:
    """The rules of one sweep. Decides; the keeper acts.

    Args:
        spec: the sweep.
        state: as it is recorded; what comes is seen.
        work: what follows the search.
        at_a_time: how many trials run at a time.
    """

    def __init__(
        self, spec: SweepSpec, state: SweepState, work: EndWork, at_a_time: Callable[[], int] = lambda: 1
    ) -> None:
        self._spec = spec
        self._stop = spec.search.stop or _NO_RULE
        self._confirm = spec.search.confirm
        self._state = state
        self._work = work
        self._at_a_time = at_a_time

    # The search -------------------------------------------------------------------------------------------

    def due(self, now: float) -> SearchStopped | None:
        """What ends the search at once, running trials included; None when it goes on."""
        return self._reached(now) or (self._time_is_up(now) if self._left_s(now) <= 0 else None)

    def holds_back(self, now: float) -> SearchStopped | None:
        """Why no further trial begins, while those that run may go on; None when one may."""
        if (gainless := self._without_gain(now)) is not None:
            return gainless
        return self._time_is_up(now) if self._left_s(now) < self._first_report_s() else None

    def leaves_time(self, now: float, seconds: float, *, repetition: bool) -> bool:
        """Whether what takes so many seconds, in the search or as part of a repetition, still fits into the budget."""
        return self._left_s(now, repetition=repetition) >= seconds

    # Confirming -------------------------------------------------------------------------------------------

    def next_repetition(self, now: float) -> TrialSummary | None:
        """The trial that is to be run again next; None when none is, or no time is left for it."""
        found = next_repetition(self._state, self._confirm)
        if found is None or not self.leaves_time(now, _again_s(found), repetition=True):
            return None
        return found

    # Both -------------------------------------------------------------------------------------------------

    def is_over(self, study: Study) -> bool:
        """Whether no trial is left to run: nothing of the search, and nothing to be run again."""
        trials = self._state.trials
        if self._state.search.stopped is None:
            recorded = {trial.number for trial in study.trials()} == set(trials)
            if not recorded or not study.is_over:
                return False
        if any(each.ended is None for each in trials.values() if each.started is not None):
            return False
        if self._confirm is None or not any(each.best_value is not None for each in trials.values()):
            return True
        search = self._state.search
        waits = any(each.stopped and each.confirms is not None for each in trials.values())
        left = self.leaves_time(self._state.updated or 0.0, 1.0, repetition=True)
        return search.confirmation is not None and not (waits and left) and self.next_repetition(0.0) is None

    def outlook(self, now: float, *, searching: bool = True) -> str:
        """How the wall-clock budget stands, in words; empty without one.

        Args:
            now: seconds since the epoch (UTC).
            searching: whether the search still goes on.
        """
        if self._stop.after is None:
            return ""
        spent = self._state.spent_s(now)
        text = f"{duration_text(min(spent, self._stop.after))} of {duration_text(self._stop.after)} are used"
        left = self._left_s(now)
        if searching and self._state.search.stopped is None and left > 0:
            kept = self._stop.after - spent - left
            what = "to confirm and for the model" if self._confirm is not None else "for the model"
            text += f", the search has {duration_text(left)} left, and {duration_text(kept)} are kept {what}"
        return text

    def left_s(self, now: float) -> float | None:
        """Seconds that the search has left; None without a wall-clock budget."""
        return None if self._stop.after is None else max(0.0, self._left_s(now))

    # The rules --------------------------------------------------------------------------------------------

    def _reached(self, now: float) -> SearchStopped | None:
        wanted, search, objective = self._stop.at, self._state.search, self._state.objective
        if wanted is None or search.best_value is None or objective.better(wanted, search.best_value):
            return None
        if search.best_before is not None and not objective.better(wanted, search.best_before):
            return None  # it was reached before the search was extended, and more was asked for
        reached = f"{objective.metric} {search.best_value:.4g}"
        reason = f"trial {search.best_trial} has reached {reached}; {wanted:g} was the target"
        return self._verdict(now, "at", wanted, reason)

    def _without_gain(self, now: float) -> SearchStopped | None:
        most, search = self._stop.no_gain, self._state.search
        if most is None or len(search.without_gain) < most:
            return None
        best = "" if search.best_value is None else f" than {search.best_value:.4g} (trial {search.best_trial})"
        reason = f"{len(search.without_gain)} trials have brought no better {self._state.objective.metric}{best}"
        return self._verdict(now, "no_gain", float(most), reason)

    def _time_is_up(self, now: float) -> SearchStopped:
        assert self._stop.after is not None
        begun = sum(each.confirms is None for each in self._state.trials.values())
        kept = self._end_s() + self._confirming_s()
        reason = (
            f"the time is used up, except {duration_text(max(1.0, kept))} reserved for the end: {begun} of "
            f"{self._spec.search.trials} trials had started"
        )
        return self._verdict(now, "after", self._stop.after, reason)

    def _verdict(self, now: float, rule: StopRule, limit: float, reason: str) -> SearchStopped:
        return SearchStopped(time=now, rule=rule, limit=limit, reason=f"{words_of(rule, limit)}: {reason}")

    # Time -------------------------------------------------------------------------------------------------

    def _left_s(self, now: float, *, repetition: bool = False) -> float:
        """Of the budget, before what follows: for the search, repetitions and the end; for a repetition, the end."""
        if self._stop.after is None:
            return float("inf")
        kept = self._end_s() + (0.0 if repetition else self._confirming_s())
        return self._stop.after - kept - self._state.spent_s(now)

    def _end_s(self) -> float:
        """What evaluation and export will take: as they took before, else by the longest epoch."""
        assert self._stop.after is not None
        if (before := self._state.search.end_s) is not None:
            return min(1.5 * before + 2.0, _MOST_FOR_THE_END * self._stop.after)
        trials = self._state.trials.values()
        longest = max((max(each.epoch_s or 0.0, _JUDGED * each.shared_s) for each in trials), default=0.0)
        starts = [(each.started or 0.0, each.start_s) for each in trials if each.start_s is not None]
        start_s = self._work.start_s
        if starts and self._work.passes:
            start_s = max(start_s, _STARTS * min(starts)[1])
        epochs = float(self._work.passes)
        if self._work.refits and (best := self._state.best()) is not None:
            epochs += _REFIT_EPOCH * (best.best_epoch or 0)
        return min(start_s + epochs * longest, _MOST_FOR_THE_END * self._stop.after)

    def _confirming_s(self) -> float:
        """What the repetitions will take: as long as the best trials so far, where these lack as long as whole ones."""
        if self._confirm is None:
            return 0.0
        assert self._stop.after is not None
        chosen = candidates(self._state, self._confirm)
        repetitions = self._confirm.seeds - 1
        took = [_again_s(each) for each in chosen]
        due = [repetitions - len(self._state.repetitions.get(each.trial, ())) for each in chosen]
        paces = [each.epoch_s for each in self._state.trials.values() if each.epoch_s is not None]
        if not paces:
            return 0.0
        missing = max(0, min(self._confirm.top, self._spec.search.trials) - len(took))
        took += [(self._work.epochs or 1) * statistics.median(paces)] * missing
        due += [repetitions] * missing
        whole = sum(max(0, number) * again_s for number, again_s in zip(due, took, strict=True))
        # The last ones leave places empty: not all of it is divided.
        rounds = whole / self._at_a_time() + max(took) * (self._at_a_time() > 1) * (whole > 0)
        return min(rounds, _MOST_FOR_THE_END * (self._stop.after - self._end_s()))

    def _first_report_s(self) -> float:
        """How soon a trial has brought something: the quickest so far; nothing is known before the first."""
        known = (each.epoch_s for each in self._state.trials.values())
        return min((epoch_s for epoch_s in known if epoch_s is not None), default=0.0)


def _again_s(trial: TrialSummary) -> float:
    """How long running a trial again takes: as many epochs."""
    return trial.epochs * (trial.epoch_s or 0.0)


_NO_RULE = Stop.model_construct(after=None, at=None, no_gain=None)


def words_of(rule: StopRule, limit: float) -> str:
    """A rule as the file has it: `search.stop.after (2h)`."""
    return f"search.stop.{rule} ({duration_text(limit) if rule == 'after' else f'{limit:g}'})"


def still_stands(stopped: SearchStopped, stop: Stop | None) -> bool:
    """Whether the rule that ended the search is in the file as it was then."""
    return stop is not None and getattr(stop, stopped.rule) == stopped.limit


def _passes_of_candidates(spec: SweepSpec, kept: int) -> int:
    """How often the data is gone over to make and judge a soup and an ensemble.

    Of a soup each further checkpoint over train and val, of an ensemble each model over val and, where it is published,
    test; and each is exported and verified.
    """
    soup = 2 * (kept - 1) + 3 if spec.export.soup and kept > 1 else 0
    return soup + (2 * min(kept, spec.export.ensemble) + 1 if spec.export.ensemble else 0)
