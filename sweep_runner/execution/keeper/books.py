"""What becomes of trials, written down: each end, pause and failed attempt, first in the log and then in the study."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence

from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.keeper.retention import Retention
from sweep_runner.results.events import AttemptFailed, State, TrialEnded, TrialPaused
from sweep_runner.results.front import further_values
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import TrialSummary
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.goals import over_limits, wanted_facts_of
from sweep_runner.spec.model import SweepSpec


class Books:
    """The trials of a sweep: those at work and those that wait in memory, all of them in the log and in the study.

    Args:
        spec: the sweep.
        paths: of the sweep's folder.
        study: open, under the sweep's lock.
        recorder: open, under the sweep's lock.

    Attributes:
        live: the trials that were handed out, by number.
        queue: what is handed out before anything new is proposed.
        stopping: nothing more is handed out, and a trial whose worker goes stays open.
        news: of attempts that ended badly and are followed by another, and what trials warn of, in words; for who shows
            them to take.
        retention: drops the checkpoints that are not among the best.
    """

    def __init__(self, spec: SweepSpec, paths: SweepPaths, study: Study, recorder: Recorder) -> None:
        self.spec = spec
        self.paths = paths
        self.study = study
        self.recorder = recorder
        self.live: dict[int, LiveTrial] = {}
        self.queue: deque[Proposal] = deque()
        self.news: deque[str] = deque()
        self.stopping = False
        self.retention = Retention(paths, spec, recorder.state)
        self._copies: dict[int, list[Proposal]] = {}
        self._warned = {text for each in recorder.state.trials.values() for text in each.warnings}

    def summary(self, number: int) -> TrialSummary | None:
        return self.recorder.state.trials.get(number)

    def warn(self, number: int, warnings: Sequence[str]) -> None:
        """Shows what a trial warns of. What others have said already is not shown again."""
        self.news.extend(f"trial {number}: {text}" for text in warnings if text not in self._warned)
        self._warned.update(warnings)

    def end(self, live: LiveTrial, state: State, reason: str) -> None:
        number = live.proposal.number
        summary = self.summary(number)
        if state == "COMPLETED" and (summary is None or summary.best_value is None):
            state, reason = "FAILED", f"trainable {self.spec.trainable!r} ended without reporting an epoch"
        self.recorder.record(
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
        self.settle(number, state)

    def refuse(self, proposal: Proposal, reason: str) -> None:
        """Ends a trial that is not trained at all, or not again."""
        summary = self.summary(proposal.number)
        self.recorder.record(
            TrialEnded(
                time=time.time(),
                trial=proposal.number,
                attempt=summary.attempt if summary else 0,
                state="INFEASIBLE",
                reason=reason,
                params=proposal.params,
                seed=trial_seed(self.spec.search.seed, proposal.number),
                name=proposal.name,
            )
        )
        self.settle(proposal.number, "INFEASIBLE")

    def end_idle(self, number: int, state: State, reason: str) -> None:
        """Ends a trial that no worker has."""
        summary = self.summary(number)
        assert summary is not None, "it has begun"
        self.recorder.record(
            TrialEnded(time=time.time(), trial=number, attempt=summary.attempt, state=state, reason=reason)
        )
        self.settle(number, state)

    def try_again(self, live: LiveTrial, reason: str, *, of_node: bool = False) -> None:
        """An attempt has failed: the trial is the next to be handed out."""
        number = live.proposal.number
        self.recorder.record(
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
        self.queue.appendleft(live.proposal)
        self.news.append(f"trial {number}: attempt {live.attempt} ended: {reason}; retrying")

    def pause(self, live: LiveTrial, epoch: int, reason: str) -> None:
        """The trial waits with its checkpoint, which was written before its report, and frees its place."""
        self.set_aside(live, epoch, reason, stopped=False)
        self.pause_in_study(live.proposal.number)
        self.give_up_surplus()

    def set_aside(self, live: LiveTrial, epoch: int, reason: str, *, stopped: bool) -> None:
        """The trial frees its place and keeps its checkpoint; the study hears nothing of it.

        Args:
            live: the trial.
            epoch: that it has reported last.
            reason: in words.
            stopped: whether the search has ended, so that no comparison of trials is the cause.
        """
        self.recorder.record(
            TrialPaused(
                time=time.time(),
                trial=live.proposal.number,
                attempt=live.attempt,
                epoch=epoch,
                reason=reason,
                duration_s=time.time() - live.started,
                stopped=stopped,
            )
        )
        self.live.pop(live.proposal.number, None)

    def pause_in_study(self, number: int) -> None:
        """Tells the study that a trial whose pause is in the log is paused."""
        summary = self.summary(number)
        assert summary is not None, "it has reported"
        self.study.pause(number, summary.best_value, further_values(summary, self.spec.objective))

    def give_up_surplus(self) -> None:
        """Of more paused trials than may keep their checkpoints, those end that are farthest from going on."""
        most = self.spec.keep.paused
        for number in self.study.surplus(most):
            summary = self.summary(number)
            assert summary is not None, "it has reported"
            self.end_idle(
                number, "PRUNED", f"{summary.reason}; given up: {most} others are closer to continuing (keep.paused)"
            )

    def settle(self, number: int, state: State) -> None:
        """After a trial's end is in the log: the study learns it, and its copies end or get their turn."""
        summary = self.summary(number)
        assert summary is not None
        self.tell(number, state, summary.best_value)
        self.retention.ended(summary)
        for copy in self._copies.pop(number, []):
            if state == "FAILED":
                self.queue.append(copy)
            else:
                self._end_as_copy(copy, summary)

    def is_copy(self, proposal: Proposal) -> bool:
        """Settles a trial whose configuration an earlier trial has; whether it did."""
        original = proposal.duplicate_of
        if original is None:
            return False
        summary = self.summary(original)
        if summary is None or summary.state in ("WAITING", "RUNNING", "PAUSED"):
            self._copies.setdefault(original, []).append(proposal)
            return True
        if summary.state == "FAILED":
            return False
        self._end_as_copy(proposal, summary)
        return True

    def end_copies_of_paused(self) -> None:
        """With nothing live or to come, copies of paused trials need not wait for these any longer."""
        for original in [number for number in self._copies if self._is_paused(number)]:
            for copy in self._copies.pop(original):
                summary = self.summary(original)
                assert summary is not None, "it is paused"
                self._end_as_copy(copy, summary)

    def _is_paused(self, number: int) -> bool:
        summary = self.summary(number)
        return summary is not None and summary.state == "PAUSED"

    def _end_as_copy(self, proposal: Proposal, original: TrialSummary) -> None:
        self.recorder.record(
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
        self.tell(proposal.number, _ended_state(original.state), original.best_value)

    def tell(self, number: int, state: State, value: float | None) -> None:
        """Tells the study how a trial has ended that has ended in the log."""
        if state == "WAITING" or state == "RUNNING" or state == "PAUSED":
            raise AssertionError(f"trial {number} is {state}: it has not ended")
        summary = self.summary(number)
        further = further_values(summary, self.spec.objective) if summary is not None else ()
        self.study.tell(number, state, value, violations=self._violations(number), further=further)

    def _violations(self, number: int) -> Mapping[str, float]:
        """By how much of each limit a trial is over it; empty where it is over none."""
        summary = self.summary(number)
        if summary is None or not summary.over_limit:
            return {}
        return over_limits(self.spec.limits, summary.facts, tuple(wanted_facts_of(self.spec.limits, (), {})))


def _ended_state(original: State) -> State:
    """How the copy of a trial ends: a paused original may still go on, its copies do not wait for that."""
    return "PRUNED" if original == "PAUSED" else original


def trial_seed(sweep_seed: int, number: int) -> int:
    """A trial's seed: below 2³¹ (every library takes that), the same whenever and wherever the trial runs."""
    digest = hashlib.sha256(f"{sweep_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
