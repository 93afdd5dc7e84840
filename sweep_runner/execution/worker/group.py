"""Several workers of one trial, started, watched and ended as one: what Tune's own worker does when there are several.

It trains nothing. It passes rank 0's reports on to the driver and the decision back to all ranks, and it notices when
one of them dies or hangs: the others would wait for it, for minutes or for ever.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import psutil
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from sweep_runner.execution.worker.lost import loss_of
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.execution.worker.rank import Place, rank_class
from sweep_runner.execution.worker.training import failed

_GRACE_S = 3.0
"""How long the others have to end, when one has ended badly: those that wait for it notice it a moment later."""
_STOP_S = 30.0
"""How long a stopped trial has to clean up in its `finally`."""
_LEAST_START_S = 120.0
"""A process may take long to start on a busy machine, however short the timeout is."""
_MOST_BETWEEN_ANSWERS_S = 10.0

_ECHOES = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "diststore", "timed out", "timeout")
"""In errors that a worker has because another one is gone, or does not come."""

Send = Callable[[Message], None]


class Lost(Exception):
    """A rank has gone without an outcome.

    Attributes:
        of_node: whether its node has, or it found no place: no fault of the trial.
    """

    def __init__(self, reason: str, *, of_node: bool = False) -> None:
        super().__init__(reason)
        self.of_node = of_node


_kept: Group | None = None
"""Of the trial before: a worker process that Tune uses again has its ranks, whose imports take seconds, again."""


def train_together(assignment: Assignment, send: Send) -> Message:
    """Trains one assignment with several workers, from start to outcome.

    Args:
        assignment: the trial.
        send: passes a report on; returns when the trial is to go on.

    Raises:
        SystemExit: `send` did, because the trial is stopped.
    """
    global _kept
    group, _kept = _kept, None
    if group is not None and len(group.ranks) != assignment.workers:
        group.end()
        group = None
    try:
        group = group or Group(assignment)
        message = group.train(assignment, send)
    except Lost as lost:
        message = Message(
            trial=assignment.trial,
            attempt=assignment.attempt,
            outcome="failed",
            reason=str(lost),
            retry=True,
            of_node=lost.of_node,
        )
    except SystemExit:
        if group is not None and group.is_idle:
            _kept = group
        elif group is not None:
            group.end()
        raise
    if group is not None and group.is_idle and message.outcome != "failed":
        _kept = group
    elif group is not None:
        group.end()
    return message


class Group:
    """The ranks of one trial after another, as actors in the bundles of this process's placement group.

    Attributes:
        ranks: the actors, by rank.
        is_idle: whether each of them has ended its last trial by itself, and can be given another.

    Raises:
        Lost: a rank did not start.
    """

    def __init__(self, assignment: Assignment) -> None:
        bundles = ray.util.get_current_placement_group()
        assert bundles is not None, "Tune has placed the workers"
        self.is_idle = True
        self._patience_s = assignment.worker_timeout_s
        self._places: list[Place] = []
        self.ranks = [
            rank_class(assignment.sweep)
            .options(
                name=f"{assignment.sweep} trial {assignment.trial} attempt {assignment.attempt} rank {rank}",
                num_cpus=bundle.get("CPU", 0),
                num_gpus=bundle.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(bundles, rank),
            )
            .remote()
            for rank, bundle in enumerate(bundles.bundle_specs[: assignment.workers])
        ]
        try:
            self._places = self._all([actor.place.remote() for actor in self.ranks], "did not start")
        except Lost:
            self.end()
            raise

    def train(self, assignment: Assignment, send: Send) -> Message:
        """Trains one trial.

        Raises:
            Lost: a rank died or hangs.
            SystemExit: `send` did.
        """
        self.is_idle = False
        self._patience_s = assignment.worker_timeout_s
        try:
            resumed = self._start(assignment)
        except RayTaskError as error:
            return failed(assignment, error.cause if isinstance(error.cause, Exception) else error)
        if len(set(resumed)) > 1:
            seen = ", ".join(f"rank {rank} epoch {epoch}" for rank, epoch in enumerate(resumed))
            raise Lost(f"the workers see different checkpoints ({seen}): is the results folder shared?")
        label = assignment.label
        training = {
            actor.train.options(name=f"{label} rank {rank}", concurrency_group="train").remote(): rank
            for rank, actor in enumerate(self.ranks)
        }
        try:
            ends = self._watch(assignment, training, send)
        except SystemExit:
            self._stop()
            ended, _ = ray.wait(list(training), num_returns=len(training), timeout=_STOP_S)
            self.is_idle = len(ended) == len(training)
            raise
        self.is_idle = len(ends) == len(self.ranks) and all(isinstance(end, Message) for end in ends.values())
        return self._outcome(assignment, ends)

    def _start(self, assignment: Assignment) -> list[int]:
        """Gets every rank ready; after which epoch each goes on."""
        ranks = zip(self.ranks, self._environments(assignment), strict=True)
        starts: list[Any] = []
        for rank, (actor, environment) in enumerate(ranks):
            starts.append(actor.start.remote(assignment, rank, environment))
            if assignment.remote is not None:
                self._all(starts, "did not get ready")  # those of one node bring the same files
        return self._all(starts, "did not get ready")

    def end(self) -> None:
        """Ends every rank's process, also one that is stopped and hears nothing."""
        for rank, actor in enumerate(self.ranks):
            ray.kill(actor)
            if rank < len(self._places):
                _kill(self._places[rank])

    def _environments(self, assignment: Assignment) -> list[dict[str, str]]:
        """What torch.distributed and Accelerate read, for each rank."""
        first = self._places[0]
        port = self._all([self.ranks[0].free_port.remote()], "did not answer")[0]
        nodes = [place.node for place in self._places]
        found = []
        for rank, place in enumerate(self._places):
            interface = {
                name: place.interface for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if place.interface
            }
            found.append(
                {
                    "RANK": str(rank),
                    "WORLD_SIZE": str(len(nodes)),
                    "LOCAL_RANK": str(nodes[:rank].count(place.node)),
                    "LOCAL_WORLD_SIZE": str(nodes.count(place.node)),
                    "MASTER_ADDR": first.address,
                    "MASTER_PORT": str(port),
                    # Each of them would otherwise take the machine's name for its address, which may be 127.0.0.1.
                    **interface,
                    "OMP_NUM_THREADS": str(assignment.num_threads),
                }
            )
        return found

    def _watch(self, assignment: Assignment, training: Mapping[Any, int], send: Send) -> dict[int, Message | Lost]:
        """Passes reports on until every rank has ended, or one has badly; how each has ended that has."""
        hosts = ", ".join(dict.fromkeys(place.host for place in self._places))
        pending = dict(training)
        ends: dict[int, Message | Lost] = {}
        report = self._next_report()
        answers = _Answers(self.ranks, assignment.label, self._patience_s)
        first_end: float | None = None
        while pending:
            waiting_for = [*pending, *([report] if report is not None else []), *answers.pending]
            ready, _ = ray.wait(waiting_for, num_returns=1, timeout=1.0)
            for one in ready:
                if one in pending:
                    rank = pending.pop(one)
                    ends[rank] = self._end_of(one, rank)
                    first_end = first_end or time.monotonic()
                elif one == report:
                    message = _result(one)
                    report = None
                    if message is not None:
                        device = f"{len(self.ranks)} × {message.device}"
                        send(replace(message, host=hosts, device=device))
                        answers.forgive()  # the driver may have taken its time
                        self._decide(True)
                        report = self._next_report()
                else:
                    answers.came(one)
            silent = answers.silent()
            for rank in silent:
                ends[rank] = Lost(f"{self._who(rank)} has not answered for {self._patience_s:g} s {_SETTING}")
            if silent or any(isinstance(end, Lost) or end.outcome != "completed" for end in ends.values()):
                return self._wait_for_others(pending, ends)
            if first_end is not None and time.monotonic() - first_end > self._patience_s:
                for rank in pending.values():
                    reason = f"{self._who(rank)} is still training {self._patience_s:g} s after another one ended"
                    ends[rank] = Lost(f"{reason} {_SETTING}")
                return ends
        return ends

    def _wait_for_others(
        self, pending: Mapping[Any, int], ends: dict[int, Message | Lost]
    ) -> dict[int, Message | Lost]:
        """One has ended badly: what becomes of the others tells who was the first."""
        self._stop()
        left = {one: rank for one, rank in pending.items() if rank not in ends}
        ready, _ = ray.wait(list(left), num_returns=len(left), timeout=_GRACE_S) if left else ([], [])
        for one in ready:
            ends[left[one]] = self._end_of(one, left[one])
        return ends

    def _outcome(self, assignment: Assignment, ends: Mapping[int, Message | Lost]) -> Message:
        """The trial's outcome from those of its ranks: what was first, not what followed from it.

        Raises:
            Lost: a rank died or hangs.
        """
        lost = [end for _, end in sorted(ends.items()) if isinstance(end, Lost)]
        if lost:
            raise lost[0]
        told = [(rank, end) for rank, end in sorted(ends.items()) if isinstance(end, Message)]
        bad = [(rank, end) for rank, end in told if end.outcome != "completed"]
        if not bad:
            return told[0][1]
        causes = [(rank, end) for rank, end in bad if not _is_echo(end)]
        late = [rank for rank in range(len(self.ranks)) if rank not in ends]
        if late and not causes:
            raise Lost(f"{self._who(late[0])} hangs: the others waited for it in vain {_SETTING}")
        rank, outcome = (causes or bad)[0]
        if outcome.outcome != "failed":
            return outcome  # diverged, say: of the trial, not of one of its workers
        return replace(outcome, reason=f"rank {rank} of {len(self.ranks)}: {outcome.reason}")

    def _end_of(self, promise: Any, rank: int) -> Message | Lost:
        try:
            message: Message = ray.get(promise)
        except RayError as error:
            loss = loss_of(f"{type(error).__name__}: {error}")
            return Lost(f"{self._who(rank)}: {loss.reason}", of_node=loss.of_node)
        return message

    def _all(self, promises: list[Any], what: str) -> list[Any]:
        """The answers of the ranks, in their order.

        Raises:
            Lost: one died, or does not answer in time.
            RayTaskError: it raised.
        """
        pending = {promise: rank for rank, promise in enumerate(promises)}
        deadline = time.monotonic() + max(self._patience_s, _LEAST_START_S)
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                rank = next(iter(pending.values()))
                reason = f"{self._who(rank)} {what} within {max(self._patience_s, _LEAST_START_S):g} s"
                raise Lost(reason, of_node=not self._places)
            for one in ready:
                end = pending.pop(one)
                try:
                    ray.get(one)
                except RayTaskError:
                    raise
                except RayError as error:
                    loss = loss_of(f"{type(error).__name__}: {error}")
                    raise Lost(f"{self._who(end)} {what}: {loss.reason}", of_node=loss.of_node) from error
        return list(ray.get(promises))

    def _next_report(self) -> Any:
        return self.ranks[0].next_report.options(concurrency_group="talk").remote()

    def _decide(self, go_on: bool) -> None:
        for actor in self.ranks:
            actor.decide.options(concurrency_group="answer").remote(go_on)

    def _stop(self) -> None:
        self._decide(False)

    def _who(self, rank: int) -> str:
        number = f"rank {rank} of {len(self.ranks)}"
        return f"{number} (pid {self._places[rank].pid} on {self._places[rank].host})" if self._places else number


_SETTING = "(resources.worker_timeout_s)"


class _Answers:
    """Asks every rank now and then whether it is there."""

    def __init__(self, ranks: list[Any], label: str, patience_s: float) -> None:
        self._ranks = ranks
        self._label = label
        self._patience_s = patience_s
        self._asked: dict[Any, tuple[int, float]] = {}
        self._next = dict.fromkeys(range(len(ranks)), 0.0)

    @property
    def pending(self) -> list[Any]:
        """The questions that are open."""
        now = time.monotonic()
        for rank, due in list(self._next.items()):
            if now >= due:
                del self._next[rank]
                question = (
                    self._ranks[rank]
                    .answer.options(name=f"{self._label} rank {rank}", concurrency_group="answer")
                    .remote()
                )
                self._asked[question] = (rank, now)
        return list(self._asked)

    def came(self, question: Any) -> None:
        """One is answered; or never will be, when the rank is dead, and then its end tells."""
        rank, _ = self._asked.pop(question)
        with contextlib.suppress(RayError):
            ray.get(question)
            self._next[rank] = time.monotonic() + min(_MOST_BETWEEN_ANSWERS_S, self._patience_s / 4)

    def forgive(self) -> None:
        """Begins to count anew: nobody was here to hear the answers."""
        now = time.monotonic()
        self._asked = {question: (rank, now) for question, (rank, _) in self._asked.items()}

    def silent(self) -> list[int]:
        """The ranks that have kept us waiting too long."""
        now = time.monotonic()
        return [rank for rank, since in self._asked.values() if now - since > self._patience_s]


def _result(promise: Any) -> Any:
    """The answer; None when the rank is gone, which its end tells."""
    try:
        return ray.get(promise)
    except RayError:
        return None


def _is_echo(outcome: Message) -> bool:
    return any(words in outcome.reason.lower() for words in _ECHOES)


def _kill(place: Place) -> None:
    """Ends a process on its node: one that is stopped (SIGSTOP, a debugger) takes no message from Ray."""
    if place.node == ray.get_runtime_context().get_node_id():
        _kill_here(place.pid, place.created)
        return
    there = NodeAffinitySchedulingStrategy(place.node, soft=False)
    # Not waited for: the node may be gone.
    ray.remote(_kill_here).options(num_cpus=0, scheduling_strategy=there, max_retries=0).remote(
        place.pid, place.created
    )


def _kill_here(pid: int, created: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.create_time() == created:  # and no other one that has its number by now
            process.kill()
