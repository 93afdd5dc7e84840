"""One trial after another in a worker process, as the function that Tune runs: assignments come, messages go."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from ray import tune

from sweep_runner.execution.worker.last_report import LastReport
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.execution.worker.training import (
    WorkerHandle,
    device_name,
    find_modules,
    show_in_process_list,
    train,
)
from trainables import environment
from trainables.contract import EpochReport
from trainables.reports import shortened


class RayHandle(WorkerHandle):
    """Sends each report to the driver and waits for its decision; a stop ends the thread with SystemExit.

    The last one asks for no decision: the trainable goes on to its end, and the report goes with the outcome.
    """

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        show_in_process_list(assignment.label)
        self._host = platform.node()
        self._device = device_name()
        self._last = LastReport(send)

    def last_message(self, outcome: Message) -> Message:
        last = self._last.take()
        return outcome if last is None else replace(outcome, host=last.host, device=last.device, report=last.report)

    def _send(self, report: EpochReport) -> None:
        if self.files is not None:
            self.files.push()  # what the report tells of is there before it
        message = Message(trial=self.number, attempt=self.attempt, host=self._host, device=self._device, report=report)
        try:
            before = self._last.take()
            if before is not None:
                send(before)
            if report.epoch == self.assignment.last_epoch:
                self._last.hold(message)
                return
            send(message)
        except SystemExit:
            self.stopped = True
            raise
        show_in_process_list(self.assignment.label)


_next: SimpleQueue[str] = SimpleQueue()


"""The assignment that follows the one at hand, as JSON: here before the answer to the report that ends that one."""


def take(text: str) -> None:
    """Takes the next assignment, which also says that the one at hand ends with the report that is being answered."""
    _next.put(text)


def send(message: Message) -> None:
    """Delivers a message to the driver; returns when the driver says go on.

    Raises:
        SystemExit: it says stop, after a report.
    """
    tune.report({"message": message.to_json()})
    if message.report is not None and not _next.empty():
        raise SystemExit


def run(config: Mapping[str, Any]) -> None:
    """Tune's function: one assignment after another, each from start to outcome, until the driver has no other.

    Never raises for what the trainable does. A trial of its own for each would cost Tune more than a short trial takes.
    """
    environment.withhold(os.environ)  # of a cluster's node, whose Ray may have been started by a launcher
    assignment: Assignment | None = Assignment.from_json(config["assignment"])
    while assignment is not None:
        find_modules(assignment)
        try:
            send(_outcome(assignment))
        except SystemExit:
            if _next.empty():
                raise  # Tune stops it, and has nothing else for this worker
        assignment = None if _next.empty() else Assignment.from_json(_next.get())


def _outcome(assignment: Assignment) -> Message:
    if assignment.workers == 1:
        outcome = train(assignment, lambda: RayHandle(assignment))
    else:
        from sweep_runner.execution.worker.group import train_together

        outcome = train_together(assignment, send)
    return replace(outcome, reason=shortened(outcome.reason))
