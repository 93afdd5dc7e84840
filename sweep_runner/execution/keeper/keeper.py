"""The keeper: the one object that hands out trials and does every durable write, in one fixed order.

For a report: row in the log (on disk) → value in the study → prune or pause? → end or pause in the log → told to the
study. A crash between any two of these is mended when a keeper is made, because the log alone decides what happened,
and because such a decision depends on nothing but the recorded values.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sweep_runner.execution.keeper.books import Books, trial_seed
from sweep_runner.execution.keeper.catching_up import catch_up
from sweep_runner.execution.keeper.ending import EndWork
from sweep_runner.execution.keeper.gate import Gate
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.keeper.reports import Reports
from sweep_runner.execution.keeper.search_end import SearchEnd
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.results.events import LimitChecked, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.model import SweepSpec
from trainables.own_modules import folders_of_own_modules
from trainables.quantities import size_text


class Keeper:
    """Decides what is trained next, records what happened, tells the study.

    Args:
        spec: the sweep.
        paths: of the sweep's folder.
        study: open, under the sweep's lock.
        recorder: open, under the sweep's lock.
        max_live: trials at a time; may be changed while the sweep runs.
        max_workers: of all trials together at a time; None: as many as they have. May be changed, too.
        end_work: what follows the search, for which a wall-clock budget keeps time.
        gate: checks trials against the limits before they are trained; None: there are none.
        num_threads: of a worker.
        remote: where checkpoints go besides (`Assignment.remote`).

    Attributes:
        live: the trials that were handed out, by number.
        pending: those of them that have no place to run yet.
        gpus: of a worker that is handed a trial from here on; a share where several use one.
        sight: how busy the GPUs are, in words; set by who sees it.
        paused: why no trial starts though there is room; empty when it does not matter.
        waiting: for what all trials wait, when they do for long; set by who sees it.
        end: how the search ends, by a rule or by itself.
        news: of attempts that ended badly and are followed by another, and what trials warn of, in words; for who shows
            them to take.
    """

    def __init__(
        self,
        spec: SweepSpec,
        paths: SweepPaths,
        study: Study,
        recorder: Recorder,
        max_live: int,
        max_workers: int | None = None,
        end_work: EndWork = EndWork(),  # noqa: B008 - frozen
        gate: Gate | None = None,
        num_threads: int = 1,
        remote: Mapping[str, Any] | None = None,
    ) -> None:
        self._books = Books(spec, paths, study, recorder)
        self.spec = spec
        self.live = self._books.live
        self.news = self._books.news
        self.paused = ""
        self.waiting = ""
        self.max_live = max_live
        self.pending: set[int] = set()
        self.gpus = 0.0
        self.sight = ""
        self._paths = paths
        self._recorder = recorder
        self.max_workers = max_workers
        self._gate = gate
        self._num_threads = num_threads
        self._remote = remote
        self._import_paths = folders_of_own_modules(spec.trainable, spec.data)
        self._exhausted = False
        self.end = SearchEnd(self._books, end_work, lambda: self.max_live)
        self._reports = Reports(self._books, self.end)
        catch_up(self._books, self._reports, self.end)

    @property
    def stopping(self) -> bool:
        """Whether nothing more is handed out; whoever wants that sets it."""
        return self._books.stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._books.stopping = stopping

    def on_drop(self, also: Callable[[int, int | None], None]) -> None:
        """Has every (trial, epoch to keep) that drops checkpoints told to someone else, too."""
        self._books.retention.also = also
        self._books.retention.tell_again(self._recorder.state.trials.values())

    # What is next ---------------------------------------------------------------------------------------

    def next(self) -> Assignment | None:
        """The next hand-out; None when nothing is to be handed out now."""
        if self.stopping or len(self.live) >= self.max_live or self._disk_is_low():
            return None
        proposal = self._next_proposal()
        if proposal is not None and self._must_wait(proposal):
            self._books.queue.appendleft(proposal)
            return None
        return None if proposal is None else self._hand_out(proposal)

    @property
    def finished(self) -> bool:
        """Whether nothing is live. Call it when `next` has just given None: then nothing is to come either."""
        return not self.live and not self.paused

    @property
    def runs_out(self) -> bool:
        """Whether fewer trials are live than could be, because there are no more: the end is near."""
        return self._exhausted and not self._books.queue and 0 < len(self.live) < self.max_live

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
                f"paused: {size_text(free)} free in {self._paths.root}, "
                f"less than resources.min_free_disk ({size_text(wanted)}); continues when more is free: free disk "
                f"space there, or stop and lower the limit: "
                f"{self._paths.command('resume', '--set resources.min_free_disk=SIZE')}"
            )
        return bool(self.paused)

    def _next_proposal(self) -> Proposal | None:
        while True:
            proposal = self.end.draw()
            self._exhausted = proposal is None
            if proposal is None and not self.live:
                self._books.end_copies_of_paused()
            if proposal is None:
                return None
            if self._books.is_copy(proposal):
                continue
            admitted = self._admitted(proposal)
            if admitted is None:
                self._books.queue.appendleft(proposal)
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
        number, summary = proposal.number, self._books.summary(proposal.number)
        if summary is None or not summary.facts:
            self._recorder.record(replace(verdict.measured, time=time.time(), trials=(number,)))
        if not verdict.over:
            return True
        self._recorder.record(LimitChecked(time=time.time(), trial=number, over=verdict.over))
        self._books.refuse(proposal, f"not trained: {verdict.over}")
        return False

    def _hand_out(self, proposal: Proposal) -> Assignment:
        summary = self._books.summary(proposal.number)
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
        return self._assignment(proposal, attempt, seed, epochs)

    def _assignment(self, proposal: Proposal, attempt: int, seed: int, epochs: int) -> Assignment:
        return Assignment(
            sweep=self.spec.name,
            trial=proposal.number,
            name=proposal.name,
            attempt=attempt,
            seed=seed,
            folder=str(self._paths.trial(proposal.number)),
            num_threads=self._num_threads,
            metric=self.spec.objective.metric,
            mode=self.spec.objective.mode,
            recorded_epochs=epochs,
            trainable=self.spec.trainable,
            data=self.spec.data,
            data_folder=str(self._paths.data),
            config=self.spec.config_of(proposal.params),
            import_paths=self._import_paths,
            remote=self._remote,
            workers=self.spec.workers_of(proposal.params),
            worker_timeout_s=self.spec.resources.worker_timeout_s,
            gpus=self.gpus,
        )

    # What happened --------------------------------------------------------------------------------------

    def on_message(self, number: int, message: Message) -> bool:
        """Takes a worker's message; whether the worker is to go on (`Reports.on_message`)."""
        return self._reports.on_message(number, message)

    def on_lost(self, number: int, attempt: int, reason: str, *, of_node: bool = False) -> None:
        """A worker is gone without an outcome (`Reports.on_lost`)."""
        self._reports.on_lost(number, attempt, reason, of_node=of_node)

    def requeue_live(self) -> None:
        """Puts every live trial back into the queue: its worker is gone with the Tuner."""
        for number in sorted(self.live, reverse=True):
            self._books.queue.appendleft(self.live.pop(number).proposal)
