"""A sweep is started, or gone on with: its folder, its lock, and one run."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweep_runner.durable import SweepLock
from sweep_runner.errors import RequestError
from sweep_runner.execution.driver.observer import Observer, SweepOutcome
from sweep_runner.execution.driver.remote_results import RemoteResults, remote_results
from sweep_runner.execution.driver.run import Run
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.plan import Plan

_PROBE_BYTES = 4096


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
    made, refused = _make_folder(paths.root), False
    try:
        with SweepLock(paths.lock), remote_results(paths, observer.warned) as remote:
            there = paths.spec.exists()
            if there and not fresh:
                raise RequestError(_already_there(paths))
            if there and remote is not None:
                remote.put_aside()
            if not there:
                outcome = Run(plan, paths, observer, remote, made=made)()
        if there:
            _put_aside(paths)
            made = _make_folder(paths.root)
            with SweepLock(paths.lock), remote_results(paths, observer.warned) as remote:
                outcome = Run(plan, paths, observer, remote)()
        return _uploaded(outcome, remote)
    except RequestError:
        refused = True
        raise
    finally:
        if made and (not paths.spec.exists() or (refused and not paths.trials.exists())):
            # It did not come to a sweep: nothing of it should be in the way of the next try.
            shutil.rmtree(paths.root, ignore_errors=True)


def resume_sweep(
    plan: Plan,
    paths: SweepPaths,
    observer: Observer,
    *,
    changed: Sequence[str] = (),
    retry_failed: bool = False,
    extended: bool = False,
    take_over: bool = False,
) -> SweepOutcome:
    """Goes on with a sweep that was stopped, or was given more trials.

    Args:
        plan: the sweep as it is to go on.
        paths: of the sweep's folder.
        observer: shows progress.
        changed: what of the sweep file is not as it was, in words: told when it is known to be taken.
        retry_failed: FAILED and INFEASIBLE trials run again.
        extended: more trials were asked for: what ended the search does so no more.
        take_over: takes a sweep in remote results from another machine's process.

    Raises:
        RequestError: the data or the space are not what they were.
        Interrupted: stopped by a signal; resumable.
    """
    with SweepLock(paths.lock), remote_results(paths, observer.warned, take_over) as remote:
        outcome = Run(plan, paths, observer, remote, changed=changed, retry_failed=retry_failed, extended=extended)()
    return _uploaded(outcome, remote)


def _uploaded(outcome: SweepOutcome, remote: RemoteResults | None) -> SweepOutcome:
    """The outcome, with what did not reach remote results: then the sweep has ended, and is not where it should be."""
    if remote is None or not remote.problem:
        return outcome
    return replace(outcome, notes=(*outcome.notes, remote.problem), failed=True)


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
        paths.command("resume"): "continue it",
        paths.command("resume", "--file FILE"): "continue it, with the file as it is now",
        "sweep run FILE --fresh": "move it aside and start over",
        "sweep run FILE --set name=OTHER": "run under another name",
    }.items()
    width = max(len(command) for command, _ in choices)
    return f"{paths.root}: a sweep named {paths.name!r} exists already. Choose one:\n" + "\n".join(
        f"    {command:<{width}}  {what}" for command, what in choices
    )


def _put_aside(paths: SweepPaths) -> Path:
    """Moves a sweep out of the way, where no command looks: starting over must not destroy results."""
    aside = paths.root.parent / ".replaced" / f"{paths.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.parent.mkdir(exist_ok=True)
    paths.root.rename(aside)
    return aside
