"""A sweep from its plan to its published model: connects preparation, study, Ray and results."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweep_runner.durable import SweepLock, write_atomically
from sweep_runner.errors import Interrupted, RequestError, SweepError
from sweep_runner.execution.finish import finish_search
from sweep_runner.execution.keeper import Keeper
from sweep_runner.execution.messages import Assignment
from sweep_runner.execution.ray_session import RaySession, StopSignals, ray_session
from sweep_runner.execution.resources import resolve
from sweep_runner.results.environment import capture_environment
from sweep_runner.results.events import SweepChanged, TrialReopened
from sweep_runner.results.events import SweepState as SweepStatus
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState
from sweep_runner.search.study import Proposal, Study
from sweep_runner.spec.loader import dump_spec
from sweep_runner.spec.plan import Plan
from trainables.contract import Preparation


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def prepared(self, preparation: Preparation) -> None: ...
    def started(self, session: RaySession, max_concurrent: int) -> None: ...
    def tick(self, keeper: Keeper, state: SweepState) -> None: ...
    def stopping(self) -> None: ...
    def searched(self) -> None: ...
    def finishing(self, what: str) -> None: ...


@dataclass(frozen=True)
class SweepOutcome:
    """How a run of a sweep ended.

    Attributes:
        state: of all its trials.
        package: the published model, None when there is none.
        notes: what the user should know of the end, such as why no model was published.
    """

    state: SweepState
    package: Path | None
    notes: tuple[str, ...]


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
        with SweepLock(paths.lock):
            if paths.spec.exists():
                if not fresh:
                    raise RequestError(_already_there(paths))
            else:
                return _run(plan, paths, observer)
        _put_aside(paths)
        _make_folder(paths.root)
        with SweepLock(paths.lock):
            return _run(plan, paths, observer)
    finally:
        if made and not paths.spec.exists():
            # It did not come to a sweep: nothing of it should be in the way of the next try.
            shutil.rmtree(paths.root, ignore_errors=True)


def resume_sweep(plan: Plan, paths: SweepPaths, observer: Observer, *, retry_failed: bool = False) -> SweepOutcome:
    """Goes on with a sweep that was stopped, or was given more trials.

    Args:
        plan: the sweep as it is to go on.
        paths: of the sweep's folder.
        observer: shows progress.
        retry_failed: FAILED and INFEASIBLE trials run again.

    Raises:
        RequestError: the data or the space are not what they were.
        Interrupted: stopped by a signal; resumable.
    """
    with SweepLock(paths.lock):
        return _run(plan, paths, observer, retry_failed)


def _run(plan: Plan, paths: SweepPaths, observer: Observer, retry_failed: bool = False) -> SweepOutcome:
    signals = StopSignals(lambda: None)
    signals.install()
    try:
        preparation = _prepare(plan, paths, observer)
        with (
            _recorder(plan, paths, preparation) as recorder,
            Study.open(paths.study, plan.spec, plan.max_epochs) as study,
        ):
            if retry_failed:
                _reopen_failed(study, recorder)
            recorder.record(SweepChanged(time=time.time(), state="RUNNING", data_fingerprint=preparation.fingerprint))
            return _search_and_finish(plan, paths, study, recorder, observer, signals)
    finally:
        signals.restore()


def _prepare(plan: Plan, paths: SweepPaths, observer: Observer) -> Preparation:
    paths.data.mkdir(exist_ok=True)
    preparation = plan.trainable(plan.data, paths.data).prepare(plan.candidates, observer.preparing)
    observer.prepared(preparation)
    return preparation


@contextlib.contextmanager
def _recorder(plan: Plan, paths: SweepPaths, preparation: Preparation) -> Iterator[Recorder]:
    """The recorder, with the sweep's files written beside it when it is new."""
    if not paths.environment.exists():
        environment = capture_environment(sys.argv)
        write_atomically(paths.environment, json.dumps(environment, indent=2).encode())
    environment = json.loads(paths.environment.read_bytes())
    recorder = Recorder(paths, plan.spec.objective, list(plan.spec.space), environment)
    try:
        before = recorder.state.data_fingerprint
        if before and before != preparation.fingerprint:
            raise RequestError(
                f"{paths.name}: the data is not what the sweep began with (fingerprint {preparation.fingerprint}, "
                f"was {before}): its trials could not be compared",
                hint="put the data back as it was, or start a new sweep under another name",
            )
        write_atomically(paths.spec, dump_spec(plan.spec).encode())
        yield recorder
    finally:
        recorder.close()


def _search_and_finish(
    plan: Plan,
    paths: SweepPaths,
    study: Study,
    recorder: Recorder,
    observer: Observer,
    signals: StopSignals,
) -> SweepOutcome:
    spec = plan.spec
    ended: SweepStatus = "FAILED"
    reason = ""
    try:
        _leave_if(signals, paths)
        limit = spec.resources.max_concurrent
        with ray_session(
            spec.name, spec.dashboard, limit if isinstance(limit, int) else os.cpu_count() or 1
        ) as session:
            from sweep_runner.execution.tune_adapter import run_trials  # imports ray: not before its environment

            signals.install()  # Ray has put its own in their place
            slot = resolve(spec.resources, session.cpus, session.gpus)
            assign = _assigner(plan, paths, slot.num_threads)
            keeper = Keeper(spec, paths, study, recorder, slot.max_concurrent, assign)
            signals.on_stop = lambda: _stop(keeper, observer)
            if signals.received:
                keeper.stopping = True
            observer.started(session, slot.max_concurrent)
            run_trials(keeper, slot, session.folder, lambda: observer.tick(keeper, recorder.state), spec.name)
            observer.searched()
            _leave_if(signals, paths)
            package, notes = finish_search(plan, paths, recorder, slot, observer.finishing)
            _leave_if(signals, paths)
        ended = "COMPLETED"
        return SweepOutcome(recorder.state, package, tuple(notes))
    except Interrupted as error:
        ended, reason = "INTERRUPTED", str(error)
        raise
    except Exception as error:
        reason = str(error)
        raise
    finally:
        _record_end(recorder, ended, reason)


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


def _assigner(plan: Plan, paths: SweepPaths, num_threads: int) -> Callable[[Proposal, int, int, int], Assignment]:
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
        )

    return assign


def _stop(keeper: Keeper, observer: Observer) -> None:
    keeper.stopping = True
    observer.stopping()


def _leave_if(signals: StopSignals, paths: SweepPaths) -> None:
    if signals.received:
        raise Interrupted(
            f"stopped by {signals.received.name}; nothing that was recorded is lost. "
            f"Go on with: sweep resume {paths.name}"
        )


def _make_folder(folder: Path) -> bool:
    """Makes a sweep's folder; whether it was not there."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(
            f"{folder}: cannot write here ({error.strerror or error})",
            hint="choose another folder with --results DIR, or mend its permissions",
        ) from error
    return made


def _already_there(paths: SweepPaths) -> str:
    return (
        f"{paths.root}: there is a sweep named {paths.name!r} already. Choose one:\n"
        f"    sweep resume {paths.name}          go on with it\n"
        f"    sweep run FILE --fresh{' ' * len(paths.name)}  put it aside and start over\n"
        f"    sweep run FILE --set name=OTHER    run under another name"
    )


def _put_aside(paths: SweepPaths) -> Path:
    """Moves a sweep out of the way, where no command looks: starting over must not destroy results."""
    aside = paths.root.parent / ".replaced" / f"{paths.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.parent.mkdir(exist_ok=True)
    paths.root.rename(aside)
    return aside
