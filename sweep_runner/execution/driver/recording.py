"""The recorder of a run, with the sweep's other files; and how a run ended, put on record."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator

from sweep_runner.durable import write_atomically
from sweep_runner.errors import SweepError
from sweep_runner.execution.driver.observer import Observer
from sweep_runner.results.environment import add_run, capture_environment
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.events import SweepState as SweepStatus
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.requirements import requirements
from sweep_runner.spec.loader import dump_spec, opening_comment
from sweep_runner.spec.plan import Plan
from sweep_runner.tracking.follow import trackers
from sweep_runner.tracking.notify import notify, payload


@contextlib.contextmanager
def open_recorder(plan: Plan, paths: SweepPaths, observer: Observer) -> Iterator[Recorder]:
    """The recorder, with the sweep's other files written beside it."""
    environment, changed = add_run(paths.environment, capture_environment(sys.argv))
    if changed:
        observer.warned(
            f"code or versions differ from the previous run, so trials may not be comparable: {', '.join(changed)}"
        )
    recorder = Recorder(paths, plan.spec.objective, list(plan.spec.space), environment)
    try:
        write_atomically(paths.environment, json.dumps(environment, indent=2).encode())
        write_atomically(paths.requirements, requirements().encode())
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


def record_end(recorder: Recorder, state: SweepStatus, reason: str) -> None:
    """How the run ended."""
    try:
        recorder.record(SweepChanged(time=time.time(), state=state, reason=reason.partition("\n")[0]))
    except SweepError:
        # The disk is full, say: what led here is being raised already, and a sweep without an end in its log
        # is taken for interrupted, which it is.
        if state == "COMPLETED":
            raise
