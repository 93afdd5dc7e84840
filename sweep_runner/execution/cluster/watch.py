"""Follows a cluster while trials run: nodes that come and go, room for trials, and whether its head still answers.

Looking happens in a thread of its own, because a question to a head that is gone takes its time; what follows from it
happens in the driver's main thread, where the keeper is.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.cluster.preflight import NodeReport, Preflight
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.resources.slots import Node, resolve
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.model import Resources
from sweep_runner.spec.plan import possible_workers

_LOOK_EVERY_S = 1.0
_QUESTION_S = 2.0
HEAD_PATIENCE_S = 20.0
"""How long the head may be silent. Ray's own patience is 60 s; then it ends the driver without a word."""
_LEAVE_PATIENCE_S = 15.0
_ROOM_PATIENCE_S = 20.0
"""How long all trials may wait for a place before the user is told; workers need some seconds to start."""


class Teller(Protocol):
    """Shows news to the user."""

    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...


@dataclass(frozen=True)
class _News:
    text: str
    bad: bool


class Watch:
    """Looks at a cluster every second.

    Args:
        address: of its head.
        preflight: looks over nodes that come later.
        paths: of the sweep's folder.
        on_silence: ends the process in order, when the head is gone and the main thread cannot (it waits for Ray).
    """

    def __init__(
        self, address: str, preflight: Preflight, paths: SweepPaths, on_silence: Callable[[str], None]
    ) -> None:
        self._address = address
        self._resume = paths.command("resume", "--address HOST:PORT")
        self._preflight = preflight
        self._on_silence = on_silence
        self._alive: dict[str, tuple[str, Node]] | None = None
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._ended = threading.Event()
        self._applied: dict[str, tuple[str, Node]] | None = None
        self._crowded_since: float | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """While it is open, the cluster is looked at."""
        thread = threading.Thread(target=self._follow, name="cluster watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(timeout=2 * _QUESTION_S)

    def apply(self, keeper: Keeper, resources: Resources, teller: Teller) -> None:
        """Passes on what was seen: to the user, and to the keeper how many trials there is room for.

        Args:
            keeper: of the sweep.
            resources: what a trial gets, without `auto` for GPUs.
            teller: shows news.

        Raises:
            SweepError: the head is gone.
        """
        while not self._news.empty():
            news = self._news.get()
            (teller.warned if news.bad else teller.noted)(news.text)
        if self.silent_s > HEAD_PATIENCE_S and not keeper.stopping:
            raise SweepError(self._words_of_silence())
        alive = self._alive
        if alive is None:
            return
        if alive != self._applied:
            self._applied = alive
            self._make_room(keeper, [node for _, node in alive.values()], resources)
        self._tell_of_room(keeper, alive, resources, teller)

    @property
    def silent_s(self) -> float:
        """For how long the head has not answered."""
        return time.monotonic() - self._heard

    def _make_room(self, keeper: Keeper, nodes: list[Node], resources: Resources) -> None:
        try:
            slot = resolve(resources, nodes, _workers(keeper))
            trials, workers = slot.max_concurrent, slot.max_workers
        except RequestError:
            trials = workers = 1  # it waits for a place, and `_tell_of_room` says so
        keeper.max_workers = workers
        if resources.max_concurrent == "auto":
            keeper.max_live = trials

    def _tell_of_room(
        self, keeper: Keeper, alive: dict[str, tuple[str, Node]], resources: Resources, teller: Teller
    ) -> None:
        if not keeper.live or keeper.pending != set(keeper.live):
            self._crowded_since, keeper.waiting = None, ""
            return
        now = time.monotonic()
        if self._crowded_since is None:
            self._crowded_since = now
        if keeper.waiting or now - self._crowded_since < _ROOM_PATIENCE_S:
            return
        try:
            resolve(resources, [node for _, node in alive.values()], _workers(keeper))
            why = "others use the cluster"
        except RequestError as error:
            why = error.problems[0].message.partition("could never start. ")[2] or "no node has room for one"
        wanted = f"{resources.cpus:g} CPUs" + (f" and {resources.gpus:g} GPUs" if resources.gpus else "")
        keeper.waiting = f"waiting for room: a worker needs {wanted} on one node; {why}; continues when there is"
        teller.warned(f"{keeper.waiting}. Ctrl-C stops, and can be resumed")

    def _follow(self) -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]  # native

        client = None
        while not self._ended.wait(_LOOK_EVERY_S):
            try:
                # Private in Ray; the public `ray.nodes` has no limit of time.
                client = client or GcsClient(address=self._address)
                infos = client.get_all_node_info(timeout=_QUESTION_S)
            except Exception:  # noqa: BLE001 - whatever it says of a head that is gone
                if self.silent_s > HEAD_PATIENCE_S + _LEAVE_PATIENCE_S and not self._ended.is_set():
                    self._on_silence(self._words_of_silence())
                    os._exit(1)
                continue
            self._heard = time.monotonic()
            now = {
                key.hex(): (
                    _label(info.node_manager_address, info.node_manager_hostname),
                    Node(
                        info.node_manager_hostname or info.node_manager_address,
                        info.resources_total.get("CPU", 0.0),
                        info.resources_total.get("GPU", 0.0),
                    ),
                )
                for key, info in infos.items()
                if info.state == 0  # alive, in Ray's protocol
            }
            before, self._alive = self._alive, now
            if before is not None and before.keys() != now.keys():
                self._tell_of_nodes(before, now)

    def _tell_of_nodes(self, before: dict[str, tuple[str, Node]], now: dict[str, tuple[str, Node]]) -> None:
        for key in before.keys() - now.keys():
            self._news.put(_News(f"node {before[key][0]} was lost: its trials continue on other nodes", bad=True))
        for key in now.keys() - before.keys():
            label, node = now[key]
            gpus = f", {node.gpus:g} GPUs" if node.gpus else ""
            self._news.put(_News(f"node {label} joined: {node.cpus:g} CPUs{gpus}", bad=False))
        if new := list(now.keys() - before.keys()):
            # Takes seconds, in which nodes that go are noticed later: nothing is waiting for that.
            with contextlib.suppress(Exception):
                for report in self._preflight.look_over(new):
                    self._tell_of_problems(report)

    def _tell_of_problems(self, report: NodeReport) -> None:
        for problem in report.problems:
            self._news.put(_News(f"{problem}\n    Trials that run there may fail.", bad=True))

    def _words_of_silence(self) -> str:
        return (
            f"the cluster's head at {self._address} has not answered for {self.silent_s:.0f} s: the cluster is gone. "
            f"Nothing recorded is lost. When a cluster is available again: {self._resume}"
        )


def _workers(keeper: Keeper) -> tuple[int, ...]:
    return possible_workers(keeper.spec.space, keeper.spec.resources.workers)


def _label(address: str, name: str) -> str:
    return address if name in ("", address) else f"{address} ({name})"
