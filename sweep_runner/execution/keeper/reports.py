"""What a worker says, taken: a report, an outcome, or that the worker is gone; and whether its trial goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sweep_runner.errors import SweepError
from sweep_runner.execution.keeper.books import Books
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.keeper.search_end import SearchEnd
from sweep_runner.execution.worker.messages import Message, last_epoch_of
from sweep_runner.results.events import EpochReported, State
from trainables.contract import EpochReport

OUTCOME_STATES: dict[str, State] = {
    "completed": "COMPLETED",
    "failed": "FAILED",
    "diverged": "FAILED",
    "infeasible": "INFEASIBLE",
}

MAX_NODE_LOSSES = 10
"""How often a trial is tried again because its node was lost: no fault of its own, unless it brings nodes down."""


class Reports:
    """Takes what workers say.

    Args:
        books: where it is written down.
        end: knows when the search ends.
    """

    def __init__(self, books: Books, end: SearchEnd) -> None:
        self._books = books
        self._end = end

    def on_message(self, number: int, message: Message) -> bool:
        """Takes a worker's message; whether the worker is to go on.

        A message of a trial that is not live, or of an earlier attempt, changes nothing; nor does one of another trial,
        which the worker had before this one.
        """
        if message.trial != number:
            return number in self._books.live
        live = self._books.live.get(number)
        if live is None or live.attempt != message.attempt:
            return False
        live.heard(time.monotonic(), message.report.metrics if message.report is not None else None)
        if message.report is not None:
            go_on = self._on_report(live, message.report, message)
            if message.outcome is None or not go_on:
                return go_on
        assert message.outcome is not None
        if message.disk_full:
            # It stays open in log and study, and a resume goes on with it from its last checkpoint.
            del self._books.live[number]
            raise SweepError(
                f"the disk is full: trial {number} could not write its checkpoint ({message.reason}). "
                f"Free disk space, then continue with: {self._books.paths.command('resume')}"
            )
        if message.of_node:
            self.on_lost(number, message.attempt, message.reason, of_node=True)
        elif message.retry and self._failed_often(live) is False:
            self._books.try_again(live, message.reason)
        else:
            self._books.end(live, OUTCOME_STATES[message.outcome], message.reason)
        return False

    def on_lost(self, number: int, attempt: int, reason: str, *, of_node: bool = False) -> None:
        """A worker is gone without an outcome. Harmless for a trial that has ended or was handed out anew.

        Args:
            number: of the trial.
            attempt: of the trial.
            reason: in words.
            of_node: whether its node is gone, which does not count as a failure of the trial.
        """
        live = self._books.live.get(number)
        if live is None or live.attempt != attempt:
            return
        if self._books.stopping:
            # Not the trial's fault: it stays open in log and study, and a resume goes on with it.
            del self._books.live[number]
        elif of_node and self._lost_nodes(live) >= MAX_NODE_LOSSES:
            self._books.end(
                live, "FAILED", f"{reason}, as {MAX_NODE_LOSSES} nodes before: does the trial bring them down?"
            )
        elif of_node:
            self._books.try_again(live, reason, of_node=True)
        elif self._failed_often(live):
            self._books.end(live, "FAILED", live.overdue or reason)
        else:
            self._books.try_again(live, live.overdue or reason)

    def _on_report(self, live: LiveTrial, report: EpochReport, message: Message) -> bool:
        number = live.proposal.number
        summary = self._books.summary(number)
        if summary is not None and summary.has_epoch(report.epoch):
            return True
        live.epoch, live.metrics = report.epoch, dict(report.metrics)
        self._books.recorder.record(
            EpochReported(
                time=time.time(),
                trial=number,
                attempt=live.attempt,
                epoch=report.epoch,
                metrics=report.metrics,
                host=message.host,
                device=message.device,
                outcomes=report.outcomes,
                warnings=report.warnings,
            )
        )
        self._books.warn(number, report.warnings)
        goes_on = self.goes_on(live, report.epoch, report.metrics)
        if goes_on and message.outcome is None:
            goes_on = not self._end.ends_with(live)
        return goes_on

    def goes_on(self, live: LiveTrial, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Tells the study the value of a recorded epoch; whether the trial goes on. If not, it has ended or paused."""
        number, proposal = live.proposal.number, live.proposal
        self._books.study.report(number, epoch, metrics[self._books.spec.objective.metric])
        last = last_epoch_of(self._books.spec.config_of(proposal.params))
        if last is not None and epoch >= last:
            return True  # it has run to its end: there is nothing left to save by stopping it
        if proposal.name is not None and not self._books.spec.search.prune_baselines:
            return True
        if proposal.confirms is not None:
            return self._repeats_further(live, epoch, proposal.confirms)
        if (reason := self._books.study.should_prune(number, epoch)) is not None:
            self._books.end(live, "PRUNED", reason)
        elif (reason := self._books.study.should_pause(number, epoch)) is not None:
            self._books.pause(live, epoch, reason)
        return reason is None

    def _repeats_further(self, live: LiveTrial, epoch: int, original: int) -> bool:
        """Whether a repetition goes on: no pruner ends it, and it has as many epochs as its original."""
        summary = self._books.summary(original)
        assert summary is not None
        assert summary.last_epoch is not None, "it has a value"
        if epoch < summary.last_epoch:
            return True
        self._books.end(live, "COMPLETED", f"trained for {summary.last_epoch} epochs, as trial {original} was")
        return False

    def _failed_often(self, live: LiveTrial) -> bool:
        summary = self._books.summary(live.proposal.number)
        return (summary.failures if summary else 0) >= self._books.spec.resources.max_failures

    def _lost_nodes(self, live: LiveTrial) -> int:
        summary = self._books.summary(live.proposal.number)
        return summary.node_losses if summary else 0
