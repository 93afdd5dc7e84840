"""What runs in one of several workers of a trial: an actor that trains as its rank, and waits for each decision."""

from __future__ import annotations

import os
import platform
import queue
import socket
import threading
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.execution.worker.training import WorkerHandle, device_name, find_modules, show_in_process_list, train
from trainables.contract import EpochReport
from trainables.environment import withhold

_NEXT_TITLE_S = 0.1


@dataclass(frozen=True)
class Place:
    """Where a rank runs.

    Attributes:
        node: Ray's id of the node.
        host: its name.
        address: by which other nodes reach it.
        interface: of the network, that has this address.
        pid: of the process.
        created: when it was, in the system's time.
    """

    node: str
    host: str
    address: str
    interface: str
    pid: int
    created: float


class RankHandle(WorkerHandle):
    """Rank 0's reports go to the coordinator; every rank waits for what it decides."""

    def __init__(self, assignment: Assignment, rank: int) -> None:
        super().__init__(assignment, rank)
        self.reports: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.decisions: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._device = device_name()

    def _send(self, report: EpochReport) -> None:
        if self.rank == 0:
            if self.files is not None:
                self.files.push()
            self.reports.put(Message(trial=self.number, attempt=self.attempt, device=self._device, report=report))
        if not self.decisions.get():
            self.stopped = True
            raise SystemExit


class Rank:
    """One of a trial's workers.

    Each of `train`, `next_report`, and `decide` with `answer` is to be called in the group of `CONCURRENCY` that is
    named for it, so that they run beside each other.
    """

    def __init__(self) -> None:
        self._assignment: Assignment | None = None
        self._handle: RankHandle | None = None
        self._title = ""

    def place(self) -> Place:
        """Where it is."""
        address = ray.util.get_node_ip_address()
        node = ray.get_runtime_context().get_node_id()
        return Place(
            node, platform.node(), address, _interface_of(address), os.getpid(), psutil.Process().create_time()
        )

    def free_port(self) -> int:
        """A port that is free here now, for the ranks to meet at."""
        with socket.socket() as probe:
            probe.bind((ray.util.get_node_ip_address(), 0))
            return int(probe.getsockname()[1])

    def start(self, assignment: Assignment, rank: int, environment: dict[str, str]) -> int:
        """Gets a trial ready; the epoch that it goes on after, 0 from the start. All ranks must say the same."""
        withhold(os.environ)
        os.environ.update(environment)
        find_modules(assignment)
        self._title = f"{assignment.label} rank {rank}"
        self._assignment, self._handle = assignment, RankHandle(assignment, rank)
        return self._handle.resumed.epoch if self._handle.resumed else 0

    def train(self) -> Message:
        """Trains to the end; of a trial that was stopped, the outcome is `completed`."""
        assignment, handle = self._assignment, self._handle
        assert assignment is not None
        assert handle is not None
        show_in_process_list(self._title)
        try:
            return train(assignment, lambda: handle)
        except SystemExit:
            return Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
        finally:
            handle.reports.put(None)

    def next_report(self) -> Message | None:
        """Rank 0's next report, when it is there; None when there is none to come."""
        assert self._handle is not None
        return self._handle.reports.get()

    def decide(self, go_on: bool) -> None:
        """Lets it go on after a report, or stops it there."""
        assert self._handle is not None
        self._handle.decisions.put(go_on)

    def answer(self) -> None:
        """Says by returning that the process is not stopped, and can be reached."""
        # Ray puts a title of its own in place of ours when this call has ended.
        threading.Timer(_NEXT_TITLE_S, show_in_process_list, [self._title]).start()


CONCURRENCY = {"train": 1, "talk": 1, "answer": 1}
"""Threads of a `Rank`, by what they do."""


def rank_class(sweep: str) -> Any:
    """The actor class, under a name that tells in Ray's dashboard whose it is."""
    return ray.remote(concurrency_groups=CONCURRENCY, max_restarts=0, max_task_retries=0)(
        type(f"{sweep} worker", (Rank,), {})
    )


def _interface_of(address: str) -> str:
    """The network interface that has an address; empty when none says so."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return name
    return ""
