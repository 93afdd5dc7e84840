"""A sweep from its plan to its published model: connects preparation, study, Ray and results."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from sweep_runner.durable import SweepLock, write_atomically
from sweep_runner.errors import Interrupted, Problem, RequestError, SweepError
from sweep_runner.execution.cluster.address import Reached
from sweep_runner.execution.cluster.attach import attached_session, look_for
from sweep_runner.execution.cluster.preflight import NodeReport
from sweep_runner.execution.cluster.watch import Watch
from sweep_runner.execution.finish import Finish, finish_search, finished, published_trial
from sweep_runner.execution.forecast import forecast
from sweep_runner.execution.keeper import Keeper
from sweep_runner.execution.messages import Assignment
from sweep_runner.execution.prepared import put_back_on_error
from sweep_runner.execution.ray_session import RaySession, ray_session
from sweep_runner.execution.ray_token import token_file
from sweep_runner.execution.remote_results import RemoteResults, remote_results
from sweep_runner.execution.resources import resolve
from sweep_runner.execution.signals import StopSignals
from sweep_runner.results.environment import add_run, capture_environment
from sweep_runner.results.events import SweepChanged, TrialReopened
from sweep_runner.results.events import SweepState as SweepStatus
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState, fold
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.changes import differences
from sweep_runner.spec.check import check_prepared
from sweep_runner.spec.cluster import LOCAL
from sweep_runner.spec.loader import dump_spec, load_resolved, opening_comment
from sweep_runner.spec.plan import Plan
from sweep_runner.tracking.endpoint import metrics_endpoint
from sweep_runner.tracking.follow import trackers
from sweep_runner.tracking.metrics import SweepCollector
from sweep_runner.tracking.notify import notify, payload
from trainables.contract import Preparation

_PROBE_BYTES = 4096


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def prepared(self, preparation: Preparation) -> None: ...
    def looked_over(self, reports: Sequence[NodeReport]) -> None: ...
    def started(self, session: RaySession, max_concurrent: int) -> None: ...
    def tick(self, keeper: Keeper, state: SweepState) -> None: ...
    def stopping(self) -> None: ...
    def left(self, text: str) -> None: ...
    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def searched(self) -> None: ...
    def finishing(self, what: str) -> None: ...


@dataclass(frozen=True)
class SweepOutcome:
    """How a run of a sweep ended.

    Attributes:
        state: of all its trials.
        package: the published model, None when there is none.
        notes: what the user should know of the end, such as why no model was published.
        failed: whether the final evaluation or the export went wrong.
    """

    state: SweepState
    package: Path | None
    notes: tuple[str, ...]
    failed: bool = False


def start_sweep(plan: Plan, paths: SweepPaths, observer: Observer, *, fresh: bool = False) -> SweepOutcome:
    """Runs a new sweep.

    Args:
        plan: the checked sweep file.
        paths: of the sweep's folder, which must not hold a sweep yet.
        observer: shows progress.
        fresh: puts a sweep that is there aside.

    Raises:
        RequestError: there is a sweep of this name, or its folder cannot be written.
        Interrupted: stopped by a signal; resumable.
    """
    made = _make_folder(paths.root)
    try:
        with SweepLock(paths.lock), remote_results(paths, observer.warned) as remote:
            there = paths.spec.exists()
            if there and not fresh:
                raise RequestError(_already_there(paths))
            if there and remote is not None:
                remote.put_aside()
            if not there:
                outcome = _run(plan, paths, observer, remote)
        if there:
            _put_aside(paths)
            _make_folder(paths.root)
            with SweepLock(paths.lock), remote_results(paths, observer.warned) as remote:
                outcome = _run(plan, paths, observer, remote)
        return _uploaded(outcome, remote)
    finally:
        if made and not paths.spec.exists():
            # It did not come to a sweep: nothing of it should be in the way of the next try.
            shutil.rmtree(paths.root, ignore_errors=True)


def resume_sweep(
    plan: Plan,
    paths: SweepPaths,
    observer: Observer,
    *,
    changed: Sequence[str] = (),
    retry_failed: bool = False,
    take_over: bool = False,
) -> SweepOutcome:
    """Goes on with a sweep that was stopped, or was given more trials.

    Args:
        plan: the sweep as it is to go on.
        paths: of the sweep's folder.
        observer: shows progress.
        changed: what of the sweep file is not as it was, in words: told when it is known to be taken.
        retry_failed: FAILED and INFEASIBLE trials run again.
        take_over: takes a sweep in remote results from another machine's process.

    Raises:
        RequestError: the data or the space are not what they were.
        Interrupted: stopped by a signal; resumable.
    """
    with SweepLock(paths.lock), remote_results(paths, observer.warned, take_over) as remote:
        outcome = _run(plan, paths, observer, remote, changed, retry_failed)
    return _uploaded(outcome, remote)


def _uploaded(outcome: SweepOutcome, remote: RemoteResults | None) -> SweepOutcome:
    """The outcome, with what did not reach remote results: then the sweep has ended, and is not where it should be."""
    if remote is None or not remote.problem:
        return outcome
    return replace(outcome, notes=(*outcome.notes, remote.problem), failed=True)


def _run(
    plan: Plan,
    paths: SweepPaths,
    observer: Observer,
    remote: RemoteResults | None,
    changed: Sequence[str] = (),
    retry_failed: bool = False,
) -> SweepOutcome:
    # Preparing may take minutes and has nothing that is to be kept: it is left at once.
    signals = StopSignals(lambda: _leave_if(signals, paths))
    signals.install()
    try:
        # Preparing may take minutes: what is refused is refused before.
        Study.check(paths.study, plan.spec)
        reached = None if plan.spec.cluster.address == LOCAL else look_for(plan, paths)
        room = forecast(plan, paths.root)
        observer.noted(f"disk: {'; '.join(room.lines)}")
        if room.warning:
            observer.warned(room.warning)
        preparation = _prepare(plan, paths, observer)
        for change in changed:
            observer.noted(f"changed: {change}")
        signals.on_stop = observer.stopping
        with (
            _recorder(plan, paths, observer) as recorder,
            Study.open(paths.study, plan.spec, plan.max_epochs) as study,
        ):
            if retry_failed:
                _reopen_failed(study, recorder)
            recorder.record(SweepChanged(time=time.time(), state="RUNNING", data_fingerprint=preparation.fingerprint))
            if remote is not None:
                remote.start()
            return _search_and_finish(plan, paths, study, recorder, observer, signals, reached, remote)
    finally:
        signals.restore()


def _prepare(plan: Plan, paths: SweepPaths, observer: Observer) -> Preparation:
    paths.data.mkdir(exist_ok=True)
    with put_back_on_error(paths.data):
        preparation = plan.trainable(plan.data, paths.data).prepare(plan.candidates, observer.preparing)
        observer.prepared(preparation)
        check_prepared(plan, preparation)
        before = fold(read_events(paths.log), plan.spec.objective).data_fingerprint
        if before and before != preparation.fingerprint:
            raise RequestError(_other_data(plan, paths, before, preparation.fingerprint))
    return preparation


@contextlib.contextmanager
def _recorder(plan: Plan, paths: SweepPaths, observer: Observer) -> Iterator[Recorder]:
    """The recorder, with the sweep's other files written beside it."""
    environment, changed = add_run(paths.environment, capture_environment(sys.argv))
    if changed:
        observer.warned(f"not the code of the run before, whose trials may compare badly: {', '.join(changed)}")
    recorder = Recorder(paths, plan.spec.objective, list(plan.spec.space), environment)
    try:
        write_atomically(paths.environment, json.dumps(environment, indent=2).encode())
        # With what the file says of itself: a report shows its question.
        write_atomically(paths.spec, (opening_comment(plan.loaded.path) + dump_spec(plan.spec)).encode())
        with trackers(plan.spec, paths, observer.warned):
            yield recorder
    finally:
        try:
            recorder.close()
        finally:
            if recorder.state.state in ("COMPLETED", "FAILED"):
                told = payload(paths, recorder.state.state, recorder.state.reason, recorder.state)
                notify(plan.spec.notify, told, observer.warned)


def _other_data(plan: Plan, paths: SweepPaths, before: str, now: str) -> list[Problem]:
    """That the data is not what it was, and what of it the sweep file says otherwise."""
    changes = differences(load_resolved(paths.spec).spec, plan.spec) if paths.spec.exists() else []
    return [
        *(Problem(str(change)) for change in changes if change.key[0] == "data"),
        Problem(
            f"{paths.name}: the data is not what the sweep began with (fingerprint {before} → {now}): "
            "its trials could not be compared",
            hint="put the data back as it was, or start a new sweep under another name",
        ),
    ]


def _search_and_finish(
    plan: Plan,
    paths: SweepPaths,
    study: Study,
    recorder: Recorder,
    observer: Observer,
    signals: StopSignals,
    reached: Reached | None,
    remote: RemoteResults | None,
) -> SweepOutcome:
    spec = plan.spec
    ended: SweepStatus = "FAILED"
    reason = ""
    try:
        signals.on_stop = lambda: None  # what follows writes, and is not to be torn
        _leave_if(signals, paths)
        if remote is not None:
            remote.bring_checkpoints(spec, recorder.state, published_trial(paths))
        if (done := _finished(plan, paths, study, recorder.state)) is not None:
            observer.noted(f"nothing is left to run: all {len(recorder.state.trials)} trials have ended")
            ended = "COMPLETED"
            return SweepOutcome(recorder.state, done.package, done.notes, done.failed)
        with contextlib.ExitStack() as stack:
            with signals.ending_at_once(lambda received: _leave_at_once(received, paths, recorder, observer)):
                if reached is None:
                    limit = spec.resources.max_concurrent
                    most = limit if isinstance(limit, int) else os.cpu_count() or 1
                    file = plan.loaded.path.absolute()
                    session = stack.enter_context(ray_session(spec.name, file, spec.dashboard, most))
                else:
                    session = stack.enter_context(attached_session(plan, paths, reached, observer.looked_over))
                signals.install()  # Ray's native part has put its own SIGTERM handler, which aborts, in place of ours
                from sweep_runner.execution.tune_adapter import run_trials  # imports ray: not before its environment
            _leave_if(signals, paths)
            slot = resolve(spec.resources, session.nodes)
            assign = _assigner(plan, paths, slot.num_threads, remote)
            at_a_time = slot.max_concurrent
            if reached is not None and isinstance(spec.resources.max_concurrent, int):
                at_a_time = spec.resources.max_concurrent  # nodes may still come
            keeper = Keeper(spec, paths, study, recorder, at_a_time, assign)
            if remote is not None:
                keeper.on_drop(remote.drop)
            signals.on_stop = lambda: _stop(keeper, observer)
            if signals.received:
                keeper.stopping = True
            observer.started(session, at_a_time)
            collector = SweepCollector(spec.name, plan.num_trials, recorder.look)
            address = stack.enter_context(
                metrics_endpoint(collector, paths, spec.metrics, token_file(), observer.warned)
            )
            if isinstance(spec.metrics, str) and address:
                observer.noted(f"metrics: {address} (asks for the token; {paths.command('metrics')})")
            look = None
            if reached is not None and session.preflight is not None:
                watch = Watch(reached.address, session.preflight, paths, partial(_give_up, recorder, observer))
                stack.enter_context(watch.open())
                look = partial(watch.apply, keeper, spec.resources.model_copy(update={"gpus": slot.gpus}), observer)

            def tick() -> None:
                if look is not None:
                    look()
                if remote is not None and remote.lost:
                    keeper.stopping = True
                observer.tick(keeper, recorder.state)

            run_trials(keeper, slot, session.folder, tick, spec.name)
            observer.searched()
            _leave_if(signals, paths)
            if remote is not None:
                remote.check()
                remote.bring_checkpoints(spec, recorder.state, published_trial(paths))
            finish = finish_search(
                plan, paths, recorder, slot, observer.finishing, stopped=lambda: bool(signals.received)
            )
            _leave_if(signals, paths)
        ended = "COMPLETED"
        return SweepOutcome(recorder.state, finish.package, finish.notes, finish.failed)
    except Interrupted as error:
        ended, reason = "INTERRUPTED", str(error)
        raise
    except Exception as error:
        reason = str(error)
        raise
    finally:
        _record_end(recorder, ended, reason)


def _finished(plan: Plan, paths: SweepPaths, study: Study, state: SweepState) -> Finish | None:
    """How the sweep ended, when every trial has, and so has what follows: then Ray need not start."""
    numbers = {trial.number for trial in study.trials()}
    ended = study.num_finished == len(numbers) >= study.planned
    if not ended or numbers != set(state.trials) or any(trial.ended is None for trial in state.trials.values()):
        return None
    return finished(plan, paths, state)


def _reopen_failed(study: Study, recorder: Recorder) -> None:
    for number, summary in recorder.state.trials.items():
        if summary.state in ("FAILED", "INFEASIBLE"):
            recorder.record(TrialReopened(time=time.time(), trial=number))
            study.reopen(number)


def _record_end(recorder: Recorder, state: SweepStatus, reason: str) -> None:
    try:
        recorder.record(SweepChanged(time=time.time(), state=state, reason=reason.partition("\n")[0]))
    except SweepError:
        # The disk is full, say: what led here is being raised already, and a sweep without an end in its log
        # is taken for interrupted, which it is.
        if state == "COMPLETED":
            raise


def _assigner(
    plan: Plan, paths: SweepPaths, num_threads: int, remote: RemoteResults | None
) -> Callable[[Proposal, int, int, int], Assignment]:
    spec = plan.spec
    import_paths = (str(Path.cwd()),)

    def assign(proposal: Proposal, attempt: int, seed: int, recorded_epochs: int) -> Assignment:
        return Assignment(
            sweep=spec.name,
            trial=proposal.number,
            name=proposal.name,
            attempt=attempt,
            seed=seed,
            folder=str(paths.trial(proposal.number)),
            num_threads=num_threads,
            metric=spec.objective.metric,
            mode=spec.objective.mode,
            recorded_epochs=recorded_epochs,
            trainable=spec.trainable,
            data=spec.data,
            data_folder=str(paths.data),
            config=spec.config_of(proposal.params),
            import_paths=import_paths,
            remote=remote.place if remote is not None else None,
        )

    return assign


def _stop(keeper: Keeper, observer: Observer) -> None:
    keeper.stopping = True
    observer.stopping()


def _leave_if(signals: StopSignals, paths: SweepPaths) -> None:
    if signals.received:
        raise Interrupted(_stopped_by(signals.received, paths))


def _leave_at_once(received: signal.Signals, paths: SweepPaths, recorder: Recorder, observer: Observer) -> None:
    reason = _stopped_by(received, paths)
    observer.left(reason)
    _record_end(recorder, "INTERRUPTED", reason)
    recorder.close()


def _give_up(recorder: Recorder, observer: Observer, reason: str) -> None:
    observer.left(f"error: {reason}")
    _record_end(recorder, "FAILED", reason)
    recorder.close()


def _stopped_by(received: signal.Signals, paths: SweepPaths) -> str:
    state = "nothing was begun"
    if paths.spec.exists():
        state = f"nothing that was recorded is lost. Go on with: {paths.command('resume')}"
    return f"stopped by {received.name}; {state}"


def _make_folder(folder: Path) -> bool:
    """Makes a sweep's folder; whether it was not there."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))  # a full disk lets a file be made, and nothing be written into it
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        in_the_way = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
        reason = f"{in_the_way} is a file, not a folder" if in_the_way else error.strerror or error
        raise RequestError(
            f"{folder}: cannot write here ({reason})",
            hint="choose another folder with --results DIR, or make this one writable",
        ) from error
    return made


def _already_there(paths: SweepPaths) -> str:
    choices = {
        paths.command("resume"): "go on with it",
        paths.command("resume", "--file FILE"): "go on with it, with the file as it is now",
        "sweep run FILE --fresh": "put it aside and start over",
        "sweep run FILE --set name=OTHER": "run under another name",
    }.items()
    width = max(len(command) for command, _ in choices)
    return f"{paths.root}: there is a sweep named {paths.name!r} already. Choose one:\n" + "\n".join(
        f"    {command:<{width}}  {what}" for command, what in choices
    )


def _put_aside(paths: SweepPaths) -> Path:
    """Moves a sweep out of the way, where no command looks: starting over must not destroy results."""
    aside = paths.root.parent / ".replaced" / f"{paths.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.parent.mkdir(exist_ok=True)
    paths.root.rename(aside)
    return aside
