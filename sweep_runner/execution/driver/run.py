"""One run of a sweep, from its data to its published model: connects preparation, study, Ray and results."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sweep_runner.errors import Interrupted
from sweep_runner.execution.cluster.address import Reached
from sweep_runner.execution.cluster.attach import AttachedSession, attached_session, look_for
from sweep_runner.execution.cluster.watch import Watch
from sweep_runner.execution.driver.forecast import forecast
from sweep_runner.execution.driver.observer import Observer, SweepOutcome
from sweep_runner.execution.driver.packer import Packer, packs
from sweep_runner.execution.driver.preparing import Preparing
from sweep_runner.execution.driver.recording import open_recorder, record_end
from sweep_runner.execution.driver.remote_results import RemoteResults
from sweep_runner.execution.driver.signals import StopSignals
from sweep_runner.execution.driver.start import RayStart, wait_for_workers
from sweep_runner.execution.evaluation.assistant import Assistant, finalize_with
from sweep_runner.execution.evaluation.finalize import Finalizer
from sweep_runner.execution.evaluation.measuring import measure_kept
from sweep_runner.execution.keeper.ending import Ending, EndWork, still_stands
from sweep_runner.execution.keeper.gate import Gate, apply_limits
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.publishing.finish import (
    Finish,
    finish_search,
    finished,
    tell_answer,
)
from sweep_runner.execution.publishing.package_origin import published_trial
from sweep_runner.execution.publishing.tasks import kept_trials, remove_staging
from sweep_runner.execution.ray_runtime.servers import ServerWatch
from sweep_runner.execution.ray_runtime.session import RaySession, ray_session
from sweep_runner.execution.ray_runtime.token import token_file
from sweep_runner.execution.resources.gpus import GpuWatch
from sweep_runner.execution.resources.slots import Slot, resolve
from sweep_runner.results.events import SearchWentOn, SweepChanged, TrialReopened
from sweep_runner.results.events import SweepState as SweepStatus
from sweep_runner.results.findings import write_findings
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState
from sweep_runner.search.study import Study
from sweep_runner.spec.cluster import LOCAL
from sweep_runner.spec.model import Search
from sweep_runner.spec.plan import Plan
from sweep_runner.tracking.endpoint import metrics_endpoint
from sweep_runner.tracking.metrics import SweepCollector
from trainables import environment
from trainables.contract import Preparation
from trainables.cpus import num_cpus


class Run:
    """One run: under the sweep's lock, from preparing the data to publishing the model.

    Args:
        plan: the sweep as it is to go on.
        paths: of its folder.
        observer: shows progress.
        remote: the results elsewhere that the folder is a copy of, if they are.
        changed: what of the sweep file is not as it was, in words: told when it is known to be taken.
        retry_failed: FAILED and INFEASIBLE trials run again.
        extended: more trials were asked for: what ended the search does so no more, and its rules count from here.
        made: the folder was made for this run: should it not come to a sweep, it goes again.
    """

    def __init__(
        self,
        plan: Plan,
        paths: SweepPaths,
        observer: Observer,
        remote: RemoteResults | None,
        *,
        changed: Sequence[str] = (),
        retry_failed: bool = False,
        extended: bool = False,
        made: bool = False,
    ) -> None:
        self._plan = plan
        self._paths = paths
        self._observer = observer
        self._remote = remote
        self._changed = changed
        self._retry_failed = retry_failed
        self._extended = extended
        self._began = time.monotonic()
        self._made = made
        # Preparing may take minutes and has nothing that is to be kept: it is left at once.
        self._signals = StopSignals(self._leave_if_stopped)
        self._assistant = Assistant()
        self._ray = RayStart(self._session, self._signals)
        self._reached: Reached | None = None
        self._imported = False

    def __call__(self) -> SweepOutcome:
        """Runs it.

        Raises:
            RequestError: the data, the space, or the cluster will not do.
            Interrupted: stopped by a signal; resumable.
        """
        plan, observer = self._plan, self._observer
        self._signals.install()
        try:
            # Here, where everything that trains is started from and inherits it.
            if removed := environment.withhold(os.environ):
                observer.noted(environment.words(removed))
            # Preparing may take minutes: what is refused is refused before.
            Study.check(self._paths.study, plan.spec)
            if plan.spec.cluster.address != LOCAL:
                self._reached = look_for(plan, self._paths)
            room = forecast(plan, self._paths.root)
            if room.warning:
                observer.noted(f"disk: {'; '.join(room.lines)}")
                observer.warned(room.warning)
            with self._assistant, self._ray:
                preparation = self._prepare()
                self._assistant.close()  # until the end, when another one begins
                for change in self._changed:
                    observer.noted(f"changed: {change}")
                self._signals.on_stop = observer.stopping
                with (
                    open_recorder(plan, self._paths, observer) as recorder,
                    Study.open(self._paths.study, plan.spec, plan.max_epochs) as study,
                ):
                    _reopen(study, recorder, failed=self._retry_failed)
                    recorder.record(
                        SweepChanged(
                            time=time.time(),
                            state="RUNNING",
                            data_fingerprint=preparation.fingerprint,
                            digests=preparation.digests,
                            preparing_s=time.monotonic() - self._began,
                        )
                    )
                    _go_on(plan.spec.search, recorder, extended=self._extended)
                    if self._remote is not None:
                        self._remote.start()
                    return self._search_and_finish(study, recorder)
        finally:
            self._signals.restore()

    # Before the search -----------------------------------------------------------------------------------

    def _prepare(self) -> Preparation:
        preparing = Preparing(self._plan, self._paths, self._assistant)
        # The nodes of a cluster are looked over when the data is there.
        start_ray = partial(self._ray.session, partial(self._leave_unprepared, preparing))
        prepared = preparing(self._observer.preparing, self._observer.prepared, None if self._reached else start_ray)
        write_findings(self._paths, prepared)
        return prepared

    def _session(self) -> contextlib.AbstractContextManager[RaySession]:
        plan = self._plan
        if self._reached is not None:
            return attached_session(plan, self._paths, self._reached, self._observer.looked_over)
        limit = plan.spec.resources.max_concurrent
        most = limit if isinstance(limit, int) else num_cpus()
        file = plan.loaded.path.absolute()
        return ray_session(plan.spec.name, file, plan.spec.dashboard, most, plan.trainable.imports)

    # The search, and what follows ------------------------------------------------------------------------

    def _search_and_finish(self, study: Study, recorder: Recorder) -> SweepOutcome:
        ended: SweepStatus = "FAILED"
        reason = ""
        try:
            self._signals.on_stop = lambda: None  # what follows writes, and is not to be torn
            self._leave_if_stopped()
            self._bring_checkpoints(recorder)
            remove_staging(self._paths)
            apply_limits(self._plan, recorder)
            finish = _finished(self._plan, self._paths, study, recorder.state)
            if finish is None:
                finish = self._search(study, recorder)
            else:
                tell_answer(self._plan, self._paths, recorder)  # a sweep of an earlier version has none
                self._observer.noted(nothing_left(recorder.state, self._paths))
            ended = "COMPLETED"
            return SweepOutcome(recorder.state, finish.package, finish.notes, finish.failed)
        except Interrupted as error:
            ended, reason = "INTERRUPTED", str(error)
            raise
        except Exception as error:
            reason = str(error)
            raise
        finally:
            record_end(recorder, ended, reason)

    def _search(self, study: Study, recorder: Recorder) -> Finish:
        plan, paths, observer, remote = self._plan, self._paths, self._observer, self._remote
        spec = plan.spec
        session = self._ray.session(partial(self._leave_at_once, recorder))
        self._assistant.forks = session.forks
        from sweep_runner.execution.driver.tune_adapter import run_trials  # imports ray: not before its environment

        self._leave_if_stopped()
        left_s = _time_left(spec.search, recorder.state)
        slot = resolve(spec.resources, session.nodes, plan.workers)
        at_a_time = slot.max_concurrent
        if self._reached is not None and isinstance(spec.resources.max_concurrent, int):
            at_a_time = spec.resources.max_concurrent  # nodes may still come
        gate = Gate(plan, paths, recorder)
        keeper = Keeper(
            spec, paths, study, recorder, at_a_time, slot.max_workers, EndWork.of(plan), gate,
            num_threads=slot.num_threads, remote=remote.place if remote is not None else None,
        )  # fmt: skip
        keeper.gpus = slot.gpus
        if remote is not None:
            keeper.on_drop(remote.drop)
        self._signals.on_stop = lambda: _stop(keeper, observer)
        if self._signals.received:
            keeper.stopping = True
        observer.started(session, at_a_time)
        if self._reached is None:
            wait_for_workers(min(at_a_time, int(session.cpus)))
        with contextlib.ExitStack() as stack:
            stack.callback(gate.close)
            gate.measure_ahead(observer.noted, lambda: bool(self._signals.received))
            self._leave_if_stopped()
            gpus = GpuWatch()
            collector = SweepCollector(spec.name, plan.num_trials, recorder.look, lambda: gpus.sight)
            address = stack.enter_context(
                metrics_endpoint(collector, paths, spec.metrics, token_file(), observer.warned)
            )
            if isinstance(spec.metrics, str) and address:
                observer.noted(f"metrics: {address} (asks for the token; {paths.command('metrics')})")
            look = self._watch(session, keeper, slot, recorder, stack)
            look_at_gpus = self._watch_gpus(session, keeper, recorder, gpus, stack)

            def tick() -> None:
                look()
                look_at_gpus()
                if remote is not None and remote.lost:
                    keeper.stopping = True
                if keeper.runs_out and self._reached is None:
                    self._import_for_the_end()
                observer.tick(keeper, recorder.state)

            run_trials(keeper, slot, session.folder, tick, spec.name, inherits=self._reached is None)
            observer.searched()
            self._leave_if_stopped()
            if remote is not None:
                remote.check()
            self._bring_checkpoints(recorder)
            measure = partial(self._measure, recorder, left_s)
            notes = measure() if spec.export.prefer == "faster" else ()
            finish = finish_search(
                plan,
                paths,
                recorder,
                self._finalizer(slot),
                observer.finishing,
                stopped=lambda: bool(self._signals.received),
            )
            self._leave_if_stopped()
            notes = (*notes, *measure())
            self._leave_if_stopped()
        self._ray.close()
        return replace(finish, notes=(*finish.notes, *notes))

    def _measure(self, recorder: Recorder, left_s: Callable[[], float]) -> tuple[str, ...]:
        """What the models of the kept trials take; what the user should know of it."""
        return measure_kept(
            self._plan,
            recorder,
            self._paths,
            kept_trials(self._paths, recorder.state),
            self._assistant,
            self._observer.finishing,
            stopped=lambda: bool(self._signals.received),
            left_s=left_s,
        )

    def _watch(
        self, session: RaySession, keeper: Keeper, slot: Slot, recorder: Recorder, stack: contextlib.ExitStack
    ) -> Callable[[], None]:
        """What follows the nodes of a cluster; of an instance of the sweep's own, which has one, Ray's servers."""
        give_up = partial(_give_up, recorder, self._observer)
        if self._reached is None or not isinstance(session, AttachedSession):
            servers = ServerWatch(session.servers, self._paths.command("resume"), give_up)
            stack.enter_context(servers.open())
            return servers.look
        watch = Watch(self._reached.address, session.preflight, self._paths, give_up)
        stack.enter_context(watch.open())
        resources = self._plan.spec.resources.model_copy(update={"gpus": slot.gpus})
        return partial(watch.apply, keeper, resources, self._observer)

    def _watch_gpus(
        self, session: RaySession, keeper: Keeper, recorder: Recorder, gpus: GpuWatch, stack: contextlib.ExitStack
    ) -> Callable[[], None]:
        """What looks at this machine's GPUs, and with `gpus: auto` has trials share them; nothing where it has none."""
        if self._reached is not None or not session.gpus:
            return lambda: None
        stack.enter_context(gpus.open())
        packer = None
        if packs(keeper.spec, session.nodes):
            packer = Packer(keeper, recorder, session.nodes[0], lambda: gpus.sight, self._observer.noted)

        def look() -> None:
            keeper.sight = "" if gpus.sight is None else str(gpus.sight)
            if packer is not None:
                packer.look()

        return look

    def _finalizer(self, slot: Slot) -> Finalizer:
        if self._reached is None:
            return partial(finalize_with, self._assistant)
        from sweep_runner.execution.evaluation.finalize_on_ray import on_ray

        return on_ray(slot, only_here=self._paths.is_copy)

    def _import_for_the_end(self) -> None:
        """A place has become free for good: what evaluates the best trial can import what it needs meanwhile."""
        if self._plan.trainable.imports and not self._imported:
            self._imported = True
            self._assistant.import_ahead(self._plan.trainable.imports)

    def _bring_checkpoints(self, recorder: Recorder) -> None:
        """Those that the end of the sweep wants, from where the results are."""
        if self._remote is not None:
            self._remote.bring_checkpoints(self._plan.spec, recorder.state, published_trial(self._paths))

    # When it is stopped ----------------------------------------------------------------------------------

    def _leave_if_stopped(self) -> None:
        if self._signals.received:
            raise Interrupted(self._stopped_by(self._signals.received))

    def _leave_unprepared(self, preparing: Preparing, received: signal.Signals) -> None:
        """Before anything is recorded: the data is as it was, and a folder that was made for it goes, too."""
        preparing.leave()
        self._observer.left(self._stopped_by(received))
        if self._made and not self._paths.spec.exists():
            shutil.rmtree(self._paths.root, ignore_errors=True)

    def _leave_at_once(self, recorder: Recorder, received: signal.Signals) -> None:
        reason = self._stopped_by(received)
        self._observer.left(reason)
        record_end(recorder, "INTERRUPTED", reason)
        recorder.close()

    def _stopped_by(self, received: signal.Signals) -> str:
        state = "no trial had started"
        if self._paths.spec.exists():
            state = f"nothing recorded is lost. Continue with: {self._paths.command('resume')}"
        return f"stopped by {received.name}; {state}"


def _finished(plan: Plan, paths: SweepPaths, study: Study, state: SweepState) -> Finish | None:
    """How the sweep ended, when every trial has, and so has what follows: then Ray need not start."""
    over = Ending(plan.spec, state, EndWork.of(plan)).is_over(study)
    return finished(plan, paths, state) if over else None


def _go_on(search: Search, recorder: Recorder, *, extended: bool) -> None:
    """Puts on record that the search goes on, where a rule has ended it that is not in the file any more."""
    stopped = recorder.state.search.stopped
    if extended or (stopped is not None and not still_stands(stopped, search.stop)):
        recorder.record(SearchWentOn(time=time.time(), anew=extended))


def _time_left(search: Search, state: SweepState) -> Callable[[], float]:
    """Seconds that the wall-clock budget has left for a run; a run that begins after the search has ended may take what
    it takes, because its user wants what was left over."""
    after = search.stop.after if search.stop is not None and state.search.stopped is None else None
    return (lambda: math.inf) if after is None else (lambda: after - state.spent_s(time.time()))


def nothing_left(state: SweepState, paths: SweepPaths) -> str:
    """Why a resume has nothing to do, and what would give it something."""
    stopped = state.search.stopped
    if stopped is None:
        return f"nothing is left to run: all {len(state.trials)} trials have ended"
    change = f"search.stop.{stopped.rule}=..."
    return (
        f"nothing is left to run: the search has ended by {stopped.reason}. To continue: "
        f"{paths.command('extend', '--trials N')}, or {paths.command('resume', f'--set {change}')}"
    )


def _reopen(study: Study, recorder: Recorder, *, failed: bool) -> None:
    """Has trials run again that failed; and those of which the log says so already, and the study does not yet.

    Args:
        study: open.
        recorder: open.
        failed: whether those that failed are to run again, or only what a killed driver had begun.
    """
    for trial in study.trials():
        summary = recorder.state.trials.get(trial.number)
        if trial.state not in ("FAILED", "INFEASIBLE") or summary is None:
            continue
        if summary.ended is not None:
            if not failed:
                continue
            recorder.record(TrialReopened(time=time.time(), trial=trial.number))
        study.reopen(trial.number)


def _stop(keeper: Keeper, observer: Observer) -> None:
    keeper.stopping = True
    observer.stopping()


def _give_up(recorder: Recorder, observer: Observer, reason: str) -> None:
    observer.left(f"error: {reason}")
    record_end(recorder, "FAILED", reason)
    recorder.close()
