"""What the log adds up to: one compact summary per trial, without the rows. Memory does not grow with epochs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from sweep_runner.results.events import (
    Answered,
    AttemptFailed,
    CandidateJudged,
    CandidateTested,
    Confirmed,
    EpochReported,
    Event,
    FinalEvaluated,
    GpusShared,
    LimitChecked,
    ModelMeasured,
    SearchStopped,
    SearchWentOn,
    State,
    SweepChanged,
    TrialEnded,
    TrialPaused,
    TrialReopened,
    TrialStarted,
)
from sweep_runner.results.events import SweepState as SweepStatus
from sweep_runner.results.ranking import Runs, place, runs_of
from sweep_runner.results.search_progress import SearchProgress

RANKED: tuple[State, ...] = ("COMPLETED", "PRUNED", "PAUSED")
"""Trials in these states have a result that stands, so that one of them can be the sweep's best."""


_OF_THE_END = (FinalEvaluated, ModelMeasured, Answered, CandidateJudged, CandidateTested, SweepChanged)
"""Events that are no part of the search."""


class Further(Protocol):
    """A further objective; `sweep_runner.spec.goals.Goal` is one."""

    @property
    def column(self) -> str: ...
    @property
    def better_is(self) -> Literal["min", "max"]: ...


class Objective(Protocol):
    """What the sweep looks for; `sweep_runner.spec.model.Objective` is one."""

    @property
    def metric(self) -> str: ...
    @property
    def mode(self) -> Literal["min", "max"]: ...
    @property
    def also(self) -> Sequence[Further]: ...
    def better(self, one: float, other: float) -> bool: ...


@dataclass(slots=True)
class EpochSet:
    """Which epochs are known. Epochs come in order, so this is one number and a few exceptions."""

    upto: int = 0
    others: set[int] = field(default_factory=set)

    def __contains__(self, epoch: int) -> bool:
        return 1 <= epoch <= self.upto or epoch in self.others

    def __len__(self) -> int:
        return self.upto + len(self.others)

    def add(self, epoch: int) -> None:
        if epoch != self.upto + 1:
            if epoch not in self:
                self.others.add(epoch)
            return
        self.upto += 1
        while self.others and self.upto + 1 in self.others:
            self.upto += 1
            self.others.remove(self.upto)


@dataclass(slots=True)
class TrialSummary:
    """One trial, as far as it has come.

    Attributes:
        trial: its number.
        name: the baseline's name.
        state: WAITING also between two attempts.
        reason: why it ended or waits, or why its last attempt failed.
        started, ended: seconds since the epoch (UTC): first start; end, or when it paused.
        first_report: likewise, of the first report.
        failures: attempts that failed and were followed by another, since the trial was last opened.
        node_losses: likewise, attempts that ended because their node was lost.
        known_epochs: the epochs that were reported.
        best_epoch: best by the objective; a NaN or infinite value never is. None: none yet.
        best_value: the objective at that epoch.
        best_metrics: every metric at that epoch.
        last_metrics: every metric at the highest epoch.
        final_metrics: of the final evaluation on `val` or `test`, with `<split>_num_examples`.
        final_epochs: of which epoch's checkpoint that evaluation is, by split; None: not known.
        test_use: which use of the test split by the sweep it was, from 1; None: the trial was not judged on test.
        duration_s: summed over all attempts, up to the last report of a running one; without `shared_s`.
        shared_s: what of these attempts went into something that other trials use, too.
        copy_of: the trial with the same configuration whose result this one shares.
        facts: what its model takes (see `trainables.facts`), as far as that was measured.
        measured_on: the machine on which it was.
        confirms: the trial that this one runs again with another seed.
        stopped: it is PAUSED because the search has ended, and not at a rung.
        gpus: of a worker of its last attempt: whole ones, or a share of one.
        over_limit: the limits that its model breaks, in words: it is not the sweep's best.
        warnings: what did not run as wished, in words, as the trial said.
    """

    trial: int
    name: str | None = None
    state: State = "WAITING"
    reason: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    attempt: int = 0
    failures: int = 0
    node_losses: int = 0
    started: float | None = None
    ended: float | None = None
    first_report: float | None = None
    known_epochs: EpochSet = field(default_factory=EpochSet)
    best_epoch: int | None = None
    best_value: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    last_epoch: int | None = None
    last_metrics: Mapping[str, float] = field(default_factory=dict)
    final_metrics: dict[str, float] = field(default_factory=dict)
    final_epochs: dict[str, int | None] = field(default_factory=dict)
    test_use: int | None = None
    host: str = ""
    device: str = ""
    num_parameters: int | None = None
    peak_memory_bytes: int | None = None
    shared_s: float = 0.0
    copy_of: int | None = None
    facts: dict[str, float] = field(default_factory=dict)
    measured_on: str = ""
    confirms: int | None = None
    stopped: bool = False
    gpus: float = 0.0
    over_limit: str = ""
    warnings: tuple[str, ...] = ()
    _earlier_attempts_s: float = 0.0
    _attempt_started: float | None = None
    _attempt_seen: float = 0.0
    _first_seen: float = 0.0  # the first report of the attempt
    _num_seen: int = 0

    def has_epoch(self, epoch: int) -> bool:
        """Whether this epoch was recorded already."""
        return epoch in self.known_epochs

    @property
    def epochs(self) -> int:
        """How many epochs were reported."""
        return len(self.known_epochs)

    @property
    def duration_s(self) -> float:
        return max(0.0, self._earlier_attempts_s + self.attempt_s - self.shared_s)

    @property
    def attempt_s(self) -> float:
        """Of the open attempt alone, up to its last report."""
        return 0.0 if self._attempt_started is None else max(0.0, self._attempt_seen - self._attempt_started)

    @property
    def start_s(self) -> float | None:
        """How long its first report took beside the epoch and what is shared: starting the worker, reading the data."""
        if self.started is None or self.first_report is None:
            return None
        return max(0.0, self.first_report - self.started - self.shared_s - (self.epoch_s or 0.0))

    @property
    def epoch_s(self) -> float | None:
        """How long an epoch takes, without the start: from report to report, as far as there are two in an attempt.

        Of a single one, as long as it says itself; else all of the trial's time.
        """
        if self._num_seen > 1:
            return (self._attempt_seen - self._first_seen) / (self._num_seen - 1)
        if self._num_seen == 1 and (told := finite(self.last_metrics.get("epoch_s"))) is not None:
            return told
        return self.duration_s / self.epochs if self.epochs else None

    def _close_attempt(self, duration_s: float | None = None) -> None:
        """Adds the open attempt's time: the measured one, or up to its last report when it was cut off."""
        self._earlier_attempts_s += self.attempt_s if duration_s is None else duration_s
        self._attempt_started = None

    def _start(self, event: TrialStarted) -> None:
        self._close_attempt()  # still open when the driver was killed
        self.state, self.reason, self.ended = "RUNNING", "", None
        self.attempt, self.seed, self.params, self.name = event.attempt, event.seed, event.params, event.name
        self.confirms, self.stopped, self.gpus = event.confirms, False, event.gpus
        self.started = event.time if self.started is None else self.started
        self._attempt_started = self._attempt_seen = event.time
        self._num_seen = 0

    def _report(self, event: EpochReported, objective: Objective) -> None:
        self.known_epochs.add(event.epoch)
        self._attempt_seen = event.time
        self.first_report = event.time if self.first_report is None else self.first_report
        self._first_seen = self._first_seen if self._num_seen else event.time
        self._num_seen += 1
        self.host, self.device = event.host or self.host, event.device or self.device
        self.shared_s += finite(event.metrics.get("shared_s")) or 0.0
        self.warnings += tuple(text for text in event.warnings if text not in self.warnings)
        self.num_parameters = whole(event.metrics.get("num_parameters")) or self.num_parameters
        peak = whole(event.metrics.get("peak_memory_bytes"))
        if peak is not None:
            self.peak_memory_bytes = max(peak, self.peak_memory_bytes or 0)
        if self.last_epoch is None or event.epoch > self.last_epoch:
            self.last_epoch, self.last_metrics = event.epoch, event.metrics
        value = finite(event.metrics.get(objective.metric))
        if value is not None and (self.best_value is None or objective.better(value, self.best_value)):
            self.best_epoch, self.best_value, self.best_metrics = event.epoch, value, event.metrics

    def _fail(self, event: AttemptFailed) -> None:
        self._close_attempt(event.duration_s)
        self.state, self.reason, self.attempt = "WAITING", event.reason, event.attempt
        if event.of_node:
            self.node_losses += 1
        else:
            self.failures += 1

    def _pause(self, event: TrialPaused) -> None:
        self._close_attempt(event.duration_s)
        self.state, self.reason, self.ended, self.attempt = "PAUSED", event.reason, event.time, event.attempt
        self.stopped = event.stopped

    def _end(self, event: TrialEnded, original: TrialSummary | None) -> None:
        self._close_attempt(event.duration_s)
        self.state, self.reason, self.ended = event.state, event.reason, event.time
        self.attempt = event.attempt or self.attempt
        if self.started is None:  # it never ran: only this event says what it was
            self.params, self.seed, self.name = event.params, event.seed, event.name
        self.confirms = self.confirms if event.confirms is None else event.confirms
        self.copy_of = event.copy_of
        if original is not None:
            self.best_epoch, self.best_value = original.best_epoch, original.best_value
            self.best_metrics = original.best_metrics
            self.last_epoch, self.last_metrics = original.last_epoch, original.last_metrics
            self.num_parameters, self.peak_memory_bytes = original.num_parameters, original.peak_memory_bytes
            self.facts, self.measured_on = dict(original.facts), original.measured_on
            self.over_limit = original.over_limit

    def has_final(self, split: str) -> bool:
        """Whether the model of its best epoch was evaluated on this split."""
        if f"{split}_num_examples" not in self.final_metrics:
            return False
        return self.final_epochs.get(split) in (None, self.best_epoch)

    def _evaluate(self, event: FinalEvaluated) -> bool:
        """Takes in an evaluation; whether it is of a model that was not evaluated on this split before."""
        known = f"{event.split}_num_examples" in self.final_metrics
        is_new = not known or self.final_epochs.get(event.split) != event.epoch
        self.final_metrics.update({**event.metrics, f"{event.split}_num_examples": event.num_examples})
        self.final_epochs[event.split] = event.epoch
        return is_new

    def _reopen(self) -> None:
        self.state, self.ended, self.over_limit = "WAITING", None, ""
        self.failures = self.node_losses = 0  # asked for by the user: it may fail as often again


@dataclass(slots=True)
class SweepState:
    """A sweep, as far as its log goes.

    Attributes:
        objective: by which the best epoch and the best trial are chosen.
        trials: a summary each, by number.
        state: of the sweep as a whole; None before its first start.
        data_fingerprint: of the data that its trials are trained on.
        digests: of what else their results depend on, by what it is in words.
        test_uses: how many models the sweep itself has judged on the test split.
        answer: what the answer of the sweep is worth, as `results.answer.Answer.to_json` has it; None: not known yet.
        candidates: the models to choose from, by name, as `results.candidates.Candidate.to_json` has them.
        tested: of those that are made of several trials: `made_of` and `metrics` on test, by name.
        measured: the facts of each architecture that was measured.
        started: seconds since the epoch (UTC) of its first start.
        finished: when it stopped or ended; None while it runs.
        updated: the time of the last event.
        duration_s: of all runs of the driver together, up to the last event of each.
        search: how the search goes.
        repetitions: trial → the trials that run it again with other seeds, in the order in which they began.
        gpus_shared: how many trials share a GPU, as was decided last; None: that was never measured.
    """

    objective: Objective
    trials: dict[int, TrialSummary] = field(default_factory=dict)
    state: SweepStatus | None = None
    reason: str = ""
    data_fingerprint: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    test_uses: int = 0
    answer: Mapping[str, Any] | None = None
    candidates: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    tested: dict[str, dict[str, Any]] = field(default_factory=dict)
    measured: dict[str, ModelMeasured] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None
    updated: float | None = None
    search: SearchProgress = field(default_factory=SearchProgress)
    repetitions: dict[int, list[int]] = field(default_factory=dict)
    gpus_shared: GpusShared | None = None
    _preparing_s: float = 0.0
    _searched: float | None = None  # when something was last recorded that is no part of the sweep's end
    _evaluated: bool = False
    _earlier_runs_s: float = 0.0
    _run_started: float | None = None

    @property
    def duration_s(self) -> float:
        return self._earlier_runs_s + self._run_s()

    def _run_s(self) -> float:
        if self._run_started is None or self.updated is None:
            return 0.0
        return max(0.0, self.updated - self._run_started)

    def spent_s(self, now: float | None = None) -> float:
        """What counts for the wall-clock budget: preparing included, since the search was last extended.

        Args:
            now: seconds since the epoch (UTC), while the sweep runs. Default: as of the last event.
        """
        running = self._run_s()
        if now is not None and self._run_started is not None:
            running = max(running, now - self._run_started)
        return self._preparing_s + self._earlier_runs_s + running - self.search.spent_before_s

    def runs(self, trial: int) -> Runs | None:
        """The runs by whose mean a trial counts; None where it counts by its own value."""
        if trial not in self.search.confirmed:
            return None
        again = (self.trials[number] for number in self.repetitions.get(trial, ()))
        values = [each.best_value for each in again if each.state == "COMPLETED" and each.best_value is not None]
        return runs_of(self.trials[trial].best_value, values)

    def counts(self) -> Counter[State]:
        """How many trials are in each state."""
        return Counter(summary.state for summary in self.trials.values())

    def best(self, states: Iterable[State] = RANKED) -> TrialSummary | None:
        """The best trial, of those in these states, by what a trial counts by (`ranking`)."""
        return next(iter(self.ranked(states)), None)

    def ranked(self, states: Iterable[State] = RANKED) -> list[TrialSummary]:
        """The trials in these states that have a value, best first. Repetitions of others are not among them."""
        wanted = frozenset(states)
        found = [
            (place(each.best_value, each.trial, self.objective.mode, None if runs is None else runs.mean), each)
            for each in self.trials.values()
            if each.state in wanted and each.best_value is not None and each.confirms is None and not each.over_limit
            for runs in (self.runs(each.trial),)
        ]
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]

    def has_epoch(self, trial: int, epoch: int) -> bool:
        """Whether this epoch of this trial was recorded already."""
        summary = self.trials.get(trial)
        return summary is not None and summary.has_epoch(epoch)

    def apply(self, event: Event) -> bool:
        """Takes one more event in.

        Returns:
            False for an epoch that was known already (the first report of it wins), which changes nothing.
        """
        if isinstance(event, EpochReported):
            if self.has_epoch(event.trial, event.epoch):
                return False
            self._trial(event.trial)._report(event, self.objective)
            value = finite(event.metrics.get(self.objective.metric))
            if value is not None and self.trials[event.trial].confirms is None:
                self.search.reported(event.trial, value, self.objective)
        elif isinstance(event, TrialStarted):
            self._trial(event.trial)._start(event)
            self._repeats(event.trial, event.confirms)
        elif isinstance(event, AttemptFailed):
            self._trial(event.trial)._fail(event)
        elif isinstance(event, TrialPaused):
            self._trial(event.trial)._pause(event)
            self._tried(event.trial, event.stopped)
        elif isinstance(event, TrialEnded):
            original = None if event.copy_of is None else self.trials.get(event.copy_of)
            self._trial(event.trial)._end(event, original)
            self._repeats(event.trial, event.confirms)
            self._tried(event.trial, event.copy_of is not None or event.state not in RANKED)
        elif isinstance(event, TrialReopened):
            self._trial(event.trial)._reopen()
        elif isinstance(event, FinalEvaluated):
            summary = self._trial(event.trial)
            self._evaluated = True
            if summary._evaluate(event) and event.split == "test":
                self.test_uses += 1
                summary.test_use = self.test_uses
        elif isinstance(event, ModelMeasured):
            self._measure(event)
        elif isinstance(event, LimitChecked):
            self._trial(event.trial).over_limit = event.over
        elif isinstance(event, Answered):
            self.answer = event.answer
        elif isinstance(event, CandidateJudged):
            self._judge(event)
        elif isinstance(event, CandidateTested):
            self._test(event)
        elif isinstance(event, GpusShared):
            self.gpus_shared = event
        elif isinstance(event, SweepChanged):
            self._change(event)
        elif isinstance(event, SearchStopped | SearchWentOn | Confirmed):
            self.updated = event.time
            self.search.take(event, self.spent_s() + self.search.spent_before_s)
        if not isinstance(event, _OF_THE_END):
            self._searched, self._evaluated = event.time, False
        self.updated = event.time
        return True

    def _measure(self, event: ModelMeasured) -> None:
        known = self.measured.get(event.architecture)
        if known is not None:
            asked = tuple(dict.fromkeys((*known.asked, *event.asked)))
            event = replace(event, facts={**known.facts, **event.facts}, asked=asked, trials=event.trials)
        self.measured[event.architecture] = event
        for number in event.trials:
            trial = self._trial(number)
            trial.facts.update(event.facts)
            trial.measured_on = event.machine
            trial.num_parameters = trial.num_parameters or whole(event.facts.get("num_parameters"))

    def _judge(self, event: CandidateJudged) -> None:
        self.candidates[event.candidate] = event.values
        known = self.tested.get(event.candidate)
        if known is not None and known["made_of"] != list(event.values.get("trials", ())):
            del self.tested[event.candidate]  # of another model

    def _test(self, event: CandidateTested) -> None:
        if event.candidate not in self.tested:
            self.test_uses += 1
        self.tested[event.candidate] = {
            "made_of": list(event.made_of),
            "metrics": {**event.metrics, "test_num_examples": event.num_examples},
        }

    def _trial(self, trial: int) -> TrialSummary:
        return self.trials.setdefault(trial, TrialSummary(trial))

    def _repeats(self, trial: int, original: int | None) -> None:
        if original is not None and trial not in self.repetitions.setdefault(original, []):
            self.repetitions[original].append(trial)

    def _tried(self, trial: int, says_nothing: bool) -> None:
        """A trial has come to its end, or to a rung: counts for `search.stop.no_gain`, unless it says nothing of it."""
        if not says_nothing and self.trials[trial].confirms is None:
            self.search.tried(trial)

    def _change(self, event: SweepChanged) -> None:
        in_this_run = self._searched is not None and (self._run_started or math.inf) <= self._searched
        if event.state == "COMPLETED" and self._evaluated and in_this_run and self._searched is not None:
            self.search.end_s = event.time - self._searched
        self._earlier_runs_s += self._run_s()  # up to its last event, when the driver was killed
        self._run_started = None
        if event.state == "RUNNING":
            self._run_started = event.time
            self._preparing_s += event.preparing_s
            self.started = event.time if self.started is None else self.started
            self.finished = None
        else:
            if self.state == "RUNNING" and self.updated is not None:
                self._earlier_runs_s += max(0.0, event.time - self.updated)
            self.finished = event.time
        self.state, self.reason = event.state, event.reason
        self.data_fingerprint = event.data_fingerprint or self.data_fingerprint
        self.digests = {**self.digests, **event.digests}


def fold(events: Iterable[Event], objective: Objective) -> SweepState:
    """The state after all these events."""
    state = SweepState(objective)
    for event in events:
        state.apply(event)
    return state


def finite(value: Any) -> float | None:
    """The value when it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def whole(value: Any) -> int | None:
    """The value as a whole number, None when it is not a finite number, or none of 64 bits."""
    number = finite(value)
    return None if number is None or not -(2**63) <= number < 2**63 else int(number)
