"""The keeper: the one object that hands out trials and does every durable write, in one fixed order.

For a report: row in the log (on disk) → value in the study → prune or pause? → end or pause in the log → told to the
study. A crash between any two of these is mended when a keeper is made, because the log alone decides what happened,
and because such a decision depends on nothing but the recorded values.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from sweep_runner.errors import SweepError
from sweep_runner.execution.keeper.ending import EndWork
from sweep_runner.execution.keeper.gate import Gate
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.keeper.retention import Retention
from sweep_runner.execution.keeper.search_end import SearchEnd
from sweep_runner.execution.worker.messages import Assignment, Message, last_epoch_of
from sweep_runner.results.events import (
    AttemptFailed,
    EpochReported,
    LimitChecked,
    State,
    SweepChanged,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from sweep_runner.results.front import further_values
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import TrialSummary
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.goals import over_limits, wanted_facts_of
from sweep_runner.spec.model import SweepSpec
from trainables.contract import EpochReport

OUTCOME_STATES: dict[str, State] = {
    "completed": "COMPLETED",
    "failed": "FAILED",
    "diverged": "FAILED",
    "infeasible": "INFEASIBLE",
}


MAX_NODE_LOSSES = 10
"""How often a trial is tried again because its node was lost: no fault of its own, unless it brings nodes down."""


class Keeper:
    """Decides what is trained next, records what happened, tells the study.

    Args:
        spec: the sweep.
        paths: of the sweep's folder.
        study: open, under the sweep's lock.
        recorder: open, under the sweep's lock.
        max_live: trials at a time; may be changed while the sweep runs.
        assign: completes a hand-out (threads, data) for the worker.
        max_workers: of all trials together at a time; None: as many as they have. May be changed, too.
        end_work: what follows the search, for which a wall-clock budget keeps time.
        gate: holds trials against the limits before they are trained; None: there are none.

    Attributes:
        live: the trials that were handed out, by number.
        pending: those of them that have no place to run yet.
        gpus: of a worker that is handed a trial from here on; a share where several use one.
        sight: how busy the GPUs are, in words; set by who sees it.
        stopping: nothing more is handed out.
        paused: why no trial starts though there is room; empty when it does not matter.
        waiting: for what all trials wait, when they do for long; set by who sees it.
        end: how the search ends, by a rule or by itself.
        news: of attempts that ended badly and are followed by another, in words; for who shows them to take.
    """

    def __init__(
        self,
        spec: SweepSpec,
        paths: SweepPaths,
        study: Study,
        recorder: Recorder,
        max_live: int,
        assign: Callable[[Proposal, int, int, int], Assignment],
        max_workers: int | None = None,
        end_work: EndWork = EndWork(),  # noqa: B008 - frozen
        gate: Gate | None = None,
    ) -> None:
        self.spec = spec
        self.live: dict[int, LiveTrial] = {}
        self.stopping = False
        self.paused = ""
        self.waiting = ""
        self.news: deque[str] = deque()
        self.max_live = max_live
        self.pending: set[int] = set()
        self.gpus = 0.0
        self.sight = ""
        self._paths = paths
        self._study = study
        self._recorder = recorder
        self.max_workers = max_workers
        self._assign = assign
        self._gate = gate
        self._queue: deque[Proposal] = deque()
        self._exhausted = False
        self._copies: dict[int, list[Proposal]] = {}
        self.end = SearchEnd(spec, study, recorder, self.live, self._queue, end_work, lambda: self.max_live)
        self._retention = Retention(paths, spec, recorder.state)
        self._catch_up()

    def on_drop(self, also: Callable[[int, int | None], None]) -> None:
        """Has every (trial, epoch to keep) that drops checkpoints told to someone else, too."""
        self._retention.also = also
        self._retention.tell_again(self._recorder.state.trials.values())

    # What is next ---------------------------------------------------------------------------------------

    def next(self) -> Assignment | None:
        """The next hand-out; None when nothing is to be handed out now."""
        if self.stopping or len(self.live) >= self.max_live or self._disk_is_low():
            return None
        proposal = self._next_proposal()
        if proposal is not None and self._must_wait(proposal):
            self._queue.appendleft(proposal)
            return None
        return None if proposal is None else self._hand_out(proposal)

    @property
    def finished(self) -> bool:
        """Whether nothing is live. Call it when `next` has just given None: then nothing is to come either."""
        return not self.live and not self.paused

    @property
    def runs_out(self) -> bool:
        """Whether fewer trials are live than could be, because there are no more: the end is near."""
        return self._exhausted and not self._queue and 0 < len(self.live) < self.max_live

    def overdue(self) -> Iterator[tuple[int, int]]:
        """The trials (number, attempt) whose workers are to be ended because they take too long."""
        limits = self.spec.resources
        now = time.monotonic()
        for number, live in self.live.items():
            if limits.trial_timeout_s is not None and now - live.began > limits.trial_timeout_s:
                live.overdue = f"timed out: not done after {limits.trial_timeout_s:g} s (resources.trial_timeout_s)"
            elif limits.report_timeout_s is not None and now - live.last_sign > limits.report_timeout_s:
                live.overdue = f"timed out: no report for {limits.report_timeout_s:g} s (resources.report_timeout_s)"
            if live.overdue:
                yield number, live.attempt

    def wait_for_place(self, trials: Iterable[tuple[int, int]]) -> None:
        """Says which trials (number, attempt) have no place to run yet. Their limits of time have not begun."""
        now = time.monotonic()
        self.pending = set()
        for number, attempt in trials:
            live = self.live.get(number)
            if live is not None and live.attempt == attempt:
                self.pending.add(number)
                live.began = live.last_sign = now

    def _must_wait(self, proposal: Proposal) -> bool:
        """Whether a trial has to wait for others to end: Tune would keep it, and its time would run.

        It is the next one all the same: small ones that overtake it could keep it waiting for ever.
        """
        at_work = sum(self.spec.workers_of(live.proposal.params) for live in self.live.values())
        wanted = self.spec.workers_of(proposal.params)
        return self.max_workers is not None and at_work > 0 and at_work + wanted > self.max_workers

    def _disk_is_low(self) -> bool:
        """Whether there is too little room to start a trial; `paused` says so."""
        free, wanted = shutil.disk_usage(self._paths.root).free, self.spec.resources.min_free_disk
        self.paused = ""
        if free < wanted:
            self.paused = (
                f"paused: {free / 1e6:,.0f} MB free in {self._paths.root}, "
                f"less than resources.min_free_disk ({wanted / 1e6:,.0f} MB); continues when more is free: free disk "
                f"space there, or stop and lower the limit: "
                f"{self._paths.command('resume', '--set resources.min_free_disk=SIZE')}"
            )
        return bool(self.paused)

    def _next_proposal(self) -> Proposal | None:
        while True:
            proposal = self.end.draw()
            self._exhausted = proposal is None
            if proposal is None and not self.live:
                self._end_copies_of_paused()
            if proposal is None:
                return None
            if self._is_copy(proposal):
                continue
            admitted = self._admitted(proposal)
            if admitted is None:
                self._queue.appendleft(proposal)
                return None
            if admitted:
                return proposal

    def _admitted(self, proposal: Proposal) -> bool | None:
        """Whether a trial may be trained; None: what its model takes is being measured. One over a limit ends here."""
        if self._gate is None or self._gate.is_open:
            return True
        verdict = self._gate.look(proposal.params)
        if verdict.measured is None:
            self.paused = "measuring the model before its first trial starts (limits, objective)"
            return None
        number, summary = proposal.number, self._summary(proposal.number)
        if summary is None or not summary.facts:
            self._recorder.record(replace(verdict.measured, time=time.time(), trials=(number,)))
        if not verdict.over:
            return True
        self._recorder.record(LimitChecked(time=time.time(), trial=number, over=verdict.over))
        self._recorder.record(
            TrialEnded(
                time=time.time(),
                trial=number,
                attempt=summary.attempt if summary else 0,
                state="INFEASIBLE",
                reason=f"not trained: {verdict.over}",
                params=proposal.params,
                seed=trial_seed(self.spec.search.seed, number),
                name=proposal.name,
            )
        )
        self._settle(number, "INFEASIBLE")
        return False

    def _is_copy(self, proposal: Proposal) -> bool:
        """Settles a trial whose configuration an earlier trial has; whether it did."""
        original = proposal.duplicate_of
        if original is None:
            return False
        summary = self._summary(original)
        if summary is None or summary.state in ("WAITING", "RUNNING", "PAUSED"):
            self._copies.setdefault(original, []).append(proposal)
            return True
        if summary.state == "FAILED":
            return False
        self._end_as_copy(proposal, summary)
        return True

    def _hand_out(self, proposal: Proposal) -> Assignment:
        summary = self._summary(proposal.number)
        attempt = summary.attempt + 1 if summary else 1
        epochs = summary.epochs if summary else 0
        seed = trial_seed(self.spec.search.seed, proposal.number)
        now = time.time()
        self._recorder.record(
            TrialStarted(
                time=now,
                trial=proposal.number,
                attempt=attempt,
                seed=seed,
                params=proposal.params,
                name=proposal.name,
                num_threads=self.spec.resources.num_threads,
                gpus=self.gpus,
                confirms=proposal.confirms,
            )
        )
        began = time.monotonic()
        self.live[proposal.number] = LiveTrial(proposal, attempt, now, began, began, epochs)
        return self._assign(proposal, attempt, seed, epochs)

    # What happened --------------------------------------------------------------------------------------

    def on_message(self, number: int, message: Message) -> bool:
        """Takes a worker's message; whether the worker is to go on.

        A message of a trial that is not live, or of an earlier attempt, changes nothing; nor does one of another trial,
        which the worker had before this one.
        """
        if message.trial != number:
            return number in self.live
        live = self.live.get(number)
        if live is None or live.attempt != message.attempt:
            return False
        live.last_sign, live.epoch_s = time.monotonic(), time.monotonic() - live.last_sign
        if message.report is not None:
            go_on = self._on_report(live, message.report, message)
            if message.outcome is None or not go_on:
                return go_on
        assert message.outcome is not None
        if message.disk_full:
            # It stays open in log and study, and a resume goes on with it from its last checkpoint.
            del self.live[number]
            raise SweepError(
                f"the disk is full: trial {number} could not write its checkpoint ({message.reason}). "
                f"Free disk space, then continue with: {self._paths.command('resume')}"
            )
        if message.of_node:
            self.on_lost(number, message.attempt, message.reason, of_node=True)
        elif message.retry and self._failed_often(live) is False:
            self._try_again(live, message.reason)
        else:
            self._end(live, OUTCOME_STATES[message.outcome], message.reason)
        return False

    def on_lost(self, number: int, attempt: int, reason: str, *, of_node: bool = False) -> None:
        """A worker is gone without an outcome. Harmless for a trial that has ended or was handed out anew.

        Args:
            number: of the trial.
            attempt: of the trial.
            reason: in words.
            of_node: whether its node is gone, which does not count as a failure of the trial.
        """
        live = self.live.get(number)
        if live is None or live.attempt != attempt:
            return
        if self.stopping:
            # Not the trial's fault: it stays open in log and study, and a resume goes on with it.
            del self.live[number]
        elif of_node and self._lost_nodes(live) >= MAX_NODE_LOSSES:
            self._end(live, "FAILED", f"{reason}, as {MAX_NODE_LOSSES} nodes before: does the trial bring them down?")
        elif of_node:
            self._try_again(live, reason, of_node=True)
        elif self._failed_often(live):
            self._end(live, "FAILED", live.overdue or reason)
        else:
            self._try_again(live, live.overdue or reason)

    def requeue_live(self) -> None:
        """Puts every live trial back into the queue: its worker is gone with the Tuner."""
        for number in sorted(self.live, reverse=True):
            self._queue.appendleft(self.live.pop(number).proposal)

    def _on_report(self, live: LiveTrial, report: EpochReport, message: Message) -> bool:
        number = live.proposal.number
        summary = self._summary(number)
        if summary is not None and summary.has_epoch(report.epoch):
            return True
        live.epoch, live.metrics = report.epoch, dict(report.metrics)
        self._recorder.record(
            EpochReported(
                time=time.time(),
                trial=number,
                attempt=live.attempt,
                epoch=report.epoch,
                metrics=report.metrics,
                host=message.host,
                device=message.device,
                outcomes=report.outcomes,
            )
        )
        goes_on = self._goes_on(live, report.epoch, report.metrics)
        if goes_on and message.outcome is None:
            goes_on = not self.end.ends_with(live)
        return goes_on

    def _goes_on(self, live: LiveTrial, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Tells the study the value of a recorded epoch; whether the trial goes on. If not, it has ended or paused."""
        number, proposal = live.proposal.number, live.proposal
        self._study.report(number, epoch, metrics[self.spec.objective.metric])
        last = last_epoch_of(self.spec.config_of(proposal.params))
        if last is not None and epoch >= last:
            return True  # it has run to its end: there is nothing left to save by stopping it
        if proposal.name is not None and not self.spec.search.prune_baselines:
            return True
        if proposal.confirms is not None:
            return self._repeats_further(live, epoch, proposal.confirms)
        if (reason := self._study.should_prune(number, epoch)) is not None:
            self._end(live, "PRUNED", reason)
        elif (reason := self._study.should_pause(number, epoch)) is not None:
            self._pause(live, epoch, reason)
        return reason is None

    def _repeats_further(self, live: LiveTrial, epoch: int, original: int) -> bool:
        """Whether a repetition goes on: no pruner ends it, and it has as many epochs as its original."""
        summary = self._summary(original)
        assert summary is not None
        assert summary.last_epoch is not None, "it has a value"
        if epoch < summary.last_epoch:
            return True
        self._end(live, "COMPLETED", f"trained for {summary.last_epoch} epochs, as trial {original} was")
        return False

    def _failed_often(self, live: LiveTrial) -> bool:
        summary = self._summary(live.proposal.number)
        return (summary.failures if summary else 0) >= self.spec.resources.max_failures

    def _lost_nodes(self, live: LiveTrial) -> int:
        summary = self._summary(live.proposal.number)
        return summary.node_losses if summary else 0

    def _try_again(self, live: LiveTrial, reason: str, *, of_node: bool = False) -> None:
        number = live.proposal.number
        self._recorder.record(
            AttemptFailed(
                time=time.time(),
                trial=number,
                attempt=live.attempt,
                reason=reason,
                duration_s=time.time() - live.started,
                of_node=of_node,
            )
        )
        del self.live[number]
        self._queue.appendleft(live.proposal)
        self.news.append(f"trial {number}: attempt {live.attempt} ended: {reason}; retrying")

    def _pause(self, live: LiveTrial, epoch: int, reason: str) -> None:
        """The trial waits with its checkpoint, which was written before its report, and frees its place."""
        number = live.proposal.number
        self._recorder.record(
            TrialPaused(
                time=time.time(),
                trial=number,
                attempt=live.attempt,
                epoch=epoch,
                reason=reason,
                duration_s=time.time() - live.started,
            )
        )
        self.live.pop(number, None)
        self._pause_in_study(number)
        self._give_up_surplus()

    def _pause_in_study(self, number: int) -> None:
        summary = self._summary(number)
        assert summary is not None, "it has reported"
        self._study.pause(number, summary.best_value, further_values(summary, self.spec.objective))

    def _give_up_surplus(self) -> None:
        """Of more paused trials than may keep their checkpoints, those end that are farthest from going on."""
        most = self.spec.keep.paused
        for number in self._study.surplus(most):
            summary = self._summary(number)
            assert summary is not None, "it has reported"
            self._end_idle(
                number, "PRUNED", f"{summary.reason}; given up: {most} others are closer to continuing (keep.paused)"
            )

    def _end_copies_of_paused(self) -> None:
        """With nothing live or to come, copies of paused trials need not wait for these any longer."""
        for original in [number for number in self._copies if self._is_paused(number)]:
            for copy in self._copies.pop(original):
                summary = self._summary(original)
                assert summary is not None, "it is paused"
                self._end_as_copy(copy, summary)

    def _is_paused(self, number: int) -> bool:
        summary = self._summary(number)
        return summary is not None and summary.state == "PAUSED"

    def _end_idle(self, number: int, state: State, reason: str) -> None:
        """Ends a trial that no worker has."""
        summary = self._summary(number)
        assert summary is not None, "it has begun"
        self._recorder.record(
            TrialEnded(time=time.time(), trial=number, attempt=summary.attempt, state=state, reason=reason)
        )
        self._settle(number, state)

    def _end(self, live: LiveTrial, state: State, reason: str) -> None:
        number = live.proposal.number
        summary = self._summary(number)
        if state == "COMPLETED" and (summary is None or summary.best_value is None):
            state, reason = "FAILED", f"trainable {self.spec.trainable!r} ended without reporting an epoch"
        self._recorder.record(
            TrialEnded(
                time=time.time(),
                trial=number,
                attempt=live.attempt,
                state=state,
                reason=reason,
                duration_s=time.time() - live.started,
                params=live.proposal.params,
                seed=trial_seed(self.spec.search.seed, number),
                name=live.proposal.name,
                confirms=live.proposal.confirms,
            )
        )
        self.live.pop(number, None)
        self._settle(number, state)

    def _settle(self, number: int, state: State) -> None:
        """After a trial's end is in the log: the study learns it, and its copies end or get their turn."""
        summary = self._summary(number)
        assert summary is not None
        self._tell(number, state, summary.best_value)
        self._retention.ended(summary)
        for copy in self._copies.pop(number, []):
            if state == "FAILED":
                self._queue.append(copy)
            else:
                self._end_as_copy(copy, summary)

    def _end_as_copy(self, proposal: Proposal, original: TrialSummary) -> None:
        self._recorder.record(
            TrialEnded(
                time=time.time(),
                trial=proposal.number,
                attempt=0,
                state=_ended_state(original.state),
                reason=f"same configuration as trial {original.trial}: not trained again",
                copy_of=original.trial,
                params=proposal.params,
                seed=trial_seed(self.spec.search.seed, proposal.number),
                name=proposal.name,
            )
        )
        self._tell(proposal.number, _ended_state(original.state), original.best_value)

    def _tell(self, number: int, state: State, value: float | None) -> None:
        if state == "WAITING" or state == "RUNNING" or state == "PAUSED":
            raise AssertionError(f"trial {number} is {state}: it has not ended")
        summary = self._summary(number)
        further = further_values(summary, self.spec.objective) if summary is not None else ()
        self._study.tell(number, state, value, violations=self._violations(number), further=further)

    def _violations(self, number: int) -> Mapping[str, float]:
        """By how much of each limit a trial is over it; empty where it is over none."""
        summary = self._summary(number)
        if summary is None or not summary.over_limit:
            return {}
        return over_limits(self.spec.limits, summary.facts, tuple(wanted_facts_of(self.spec.limits, (), {})))

    def _summary(self, number: int) -> TrialSummary | None:
        return self._recorder.state.trials.get(number)

    # After a crash --------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Brings the study up to the log, decides what the crash left undecided, queues what was running."""
        self._check_that_they_belong_together()
        open_trials = {proposal.number: proposal for proposal in self._study.open_trials()}
        last: EpochReported | None = None  # unless something followed that only comes after its decision
        for event in read_events(self._paths.log):
            if not isinstance(event, SweepChanged):
                last = event if isinstance(event, EpochReported) else None
            if isinstance(event, EpochReported) and event.trial in open_trials:
                self._study.report(event.trial, event.epoch, event.metrics[self.spec.objective.metric])
        for number, proposal in list(open_trials.items()):
            summary = self._summary(number)
            state = "WAITING" if summary is None else summary.state
            if state == "PAUSED" and summary is not None and not summary.stopped:
                self._pause_in_study(number)
                del open_trials[number]
            elif summary is not None and state not in ("WAITING", "RUNNING", "PAUSED"):
                self._tell(number, state, summary.best_value)
                del open_trials[number]
            else:
                self._study.go_on(number)
                if last is not None and last.trial == number:
                    live = LiveTrial(proposal, last.attempt, last.time, 0.0, 0.0)
                    if not self._goes_on(live, last.epoch, last.metrics):
                        del open_trials[number]
        self._give_up_surplus()
        self._queue.extend(open_trials[number] for number in sorted(open_trials))
        stopped = self._recorder.state.search.stopped
        if stopped is not None:
            self.end.set_queue_aside(stopped.reason)

    def _check_that_they_belong_together(self) -> None:
        """A trial is in the study before it is in the log, and has ended in the log before it has in the study."""
        trials = self._study.trials()
        lacking = [number for number in self._recorder.state.trials if number >= len(trials)]
        ended = [trial.number for trial in trials if trial.state not in ("WAITING", "RUNNING", "PAUSED")]
        lost = [number for number in ended if self._summary(number) is None]
        if not lacking and not lost:
            return
        if lacking:
            what = f"{self._paths.log} has trial {min(lacking)}, which {self._paths.study.name} lacks"
        else:
            what = f"{self._paths.study} has trial {min(lost)} as ended, which {self._paths.log.name} lacks"
        raise SweepError(
            f"{what}: one of the two files was removed or replaced. Put it back from a copy, or put the whole sweep "
            "aside and start over: sweep run FILE --fresh"
        )


def _ended_state(original: State) -> State:
    """How the copy of a trial ends: a paused original may still go on, its copies do not wait for that."""
    return "PRUNED" if original == "PAUSED" else original


def trial_seed(sweep_seed: int, number: int) -> int:
    """A trial's seed: below 2³¹ (every library takes that), the same whenever and wherever the trial runs."""
    digest = hashlib.sha256(f"{sweep_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
