"""The process that runs a sweep for another one, and tells it what happens: one JSON object per line."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.errors import Interrupted, Problem, RequestError, SweepError
from sweep_runner.execution.driver.observer import SweepOutcome
from sweep_runner.execution.driver.progress import ended_progress, num_ended, progress_of
from sweep_runner.execution.driver.sweep import resume_sweep, start_sweep
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.spec.check import load_plan
from trainables.errors import TrainableError

if TYPE_CHECKING:
    from sweep_runner.execution.cluster.preflight import NodeReport
    from sweep_runner.execution.keeper.keeper import Keeper
    from sweep_runner.execution.ray_runtime.session import RaySession
    from sweep_runner.results.state import SweepState
    from trainables.contract import Preparation

_EVERY_S = 0.5


class Teller:
    """An `Observer` that writes what happens into a pipe.

    Args:
        pipe: its descriptor.
        num_trials: planned.
        num_epochs: of a trial, when they all have as many.
    """

    def __init__(self, pipe: int, num_trials: int, num_epochs: int | None) -> None:
        self._pipe = pipe
        self._num_trials = num_trials
        self._num_epochs = num_epochs
        self._began = time.monotonic()
        self._told = 0.0
        self._ended_before: int | None = None
        self._writing = threading.Lock()

    def tell(self, kind: str, **facts: Any) -> None:
        """Writes one line. Whoever should read it may be gone: then the sweep is being stopped already."""
        line = json.dumps({"kind": kind, **facts}).encode() + b"\n"
        with self._writing:
            try:
                while line:
                    line = line[os.write(self._pipe, line) :]
            except BrokenPipeError:
                return

    def preparing(self, what: str, done: int, total: int) -> None:
        if done >= total or time.monotonic() - self._told > _EVERY_S:
            self._told = time.monotonic()
            self.tell("step", text=f"{what}: {done:,} of {total:,}")

    def prepared(self, preparation: Preparation) -> None:
        for label, text in preparation.summary.items():
            self.tell("note", text=f"{label}: {text}")
        for warning in preparation.warnings:
            self.tell("warning", text=warning)
        self.tell("step", text="starting Ray")

    def looked_over(self, reports: Sequence[NodeReport]) -> None:
        self.tell("step", text=f"{len(reports)} nodes are ready")

    def started(self, session: RaySession, max_concurrent: int) -> None:
        self._began = time.monotonic()
        self.tell("step", text=f"{self._num_trials} trials, {max_concurrent} at a time")

    def tick(self, keeper: Keeper, state: SweepState) -> None:
        while keeper.news:
            self.tell("warning", text=keeper.news.popleft())
        if self._ended_before is None:
            self._ended_before = num_ended(state)
        if time.monotonic() - self._told < _EVERY_S:
            return
        self._told = time.monotonic()
        hosts = {trial.host for trial in state.trials.values()} - {""}
        elapsed_s = time.monotonic() - self._began
        progress = progress_of(
            keeper, state, self._num_trials, self._num_epochs, elapsed_s, self._ended_before, len(hosts) > 1
        )
        self.tell("progress", **asdict(progress))

    def stopping(self) -> None:
        self.tell("step", text="stopping: ending the running trials")

    def left(self, text: str) -> None:
        self.tell("interrupted", text=text)

    def noted(self, text: str) -> None:
        self.tell("note", text=text)

    def warned(self, text: str) -> None:
        self.tell("warning", text=text)

    def searched(self) -> None:
        self.tell("step", text="search ended")

    def finishing(self, what: str) -> None:
        self.tell("step", text=what)


def main(request: Path, pipe: int) -> int:
    """Runs the sweep that a request names, and tells how it ended.

    Args:
        request: a JSON file: see `sweep_runner.python.session.Request`.
        pipe: the descriptor to write into.
    """
    asked = json.loads(request.read_text(encoding="utf-8"))
    listen()
    teller = Teller(pipe, 0, None)
    try:
        plan = load_plan(Path(asked["spec"]), resolved=True)
        epochs = plan.candidates.get("epochs", ())
        teller = Teller(pipe, plan.num_trials, epochs[0] if len(epochs) == 1 else None)
        results = ResultsPaths(Path(asked["results"]))
        paths = results.sweep(plan.spec.name)
        if asked["resume"]:
            outcome = resume_sweep(plan, paths, teller, changed=asked["changed"])
        else:
            outcome = start_sweep(plan, paths, teller, fresh=asked["fresh"])
        teller.tell("progress", **asdict(ended_progress(paths.name, outcome.state, plan.num_trials)))
        _report(results, paths.name, outcome, teller)
    except Interrupted as error:
        teller.tell("interrupted", text=str(error))
        return error.exit_code
    except RequestError as error:
        teller.tell("refused", problems=[asdict(problem) for problem in error.problems])
        return error.exit_code
    except (SweepError, TrainableError, OSError) as error:
        teller.tell("refused", problems=[asdict(Problem(str(error)))])
        return 1
    return 0


def _report(results: ResultsPaths, name: str, outcome: SweepOutcome, teller: Teller) -> None:
    from sweep_runner.report.page import write_report

    for trial in outcome.state.trials.values():
        if trial.state in ("FAILED", "INFEASIBLE"):
            teller.tell("warning", text=f"trial {trial.trial} {trial.state}: {trial.reason}")
    for note in outcome.notes:
        teller.tell("warning", text=note)
    teller.tell("step", text="writing the report")
    try:
        write_report(results, name, None, teller.warned)
    except Exception as error:  # noqa: BLE001 - hours of training stand behind it, and it can be made again
        teller.tell("warning", text=f"no report was written ({error}); try again: sweep.report()")
    teller.tell("ended")


def listen() -> None:
    """Hears from now on when the process that asked for the sweep is gone, and stops."""
    # What a shell starts in the background inherits that SIGINT is ignored, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_when_left, name="lifeline", daemon=True).start()


def _stop_when_left() -> None:
    """Stops the sweep when the process that asked for it is gone: its end of our standard input closes then."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
