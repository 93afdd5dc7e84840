"""One trial in a worker process: built from its assignment, trained, and how it ended."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from sweep_runner.execution.build import build
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.execution.worker.tee import Tee
from trainables.contract import EpochReport
from trainables.errors import Diverged, Infeasible, TrainableError
from trainables.handle import BaseHandle, late_words
from trainables.own_modules import find_own_modules

if TYPE_CHECKING:
    from sweep_runner.results.remote.checkpoints import TrialFiles


class WorkerHandle(BaseHandle):
    """A handle in a worker process.

    Attributes:
        assignment: with the folders of this node.
        files: what uploads checkpoints, where results lie on a storage.
        stopped: whether it has ended the trial, by SystemExit.
    """

    def __init__(self, assignment: Assignment, rank: int = 0) -> None:
        self.files: TrialFiles | None = None
        if assignment.remote is not None:
            assignment, self.files = _with_remote(assignment, assignment.remote)
        self.assignment = assignment
        self.stopped = False
        super().__init__(assignment.facts(rank))

    @property
    def log_file(self) -> Path:
        """Where what this worker prints in the trial is kept."""
        return self.folder / (f"log-rank-{self.rank}.txt" if self.rank else "log.txt")

    def _late(self, report: EpochReport) -> None:
        # What is printed goes to the log of the trial that this process is at by now.
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(f"{late_words(report)}\n")

    def last_message(self, outcome: Message) -> Message:
        """What is sent at the end: the outcome, and with it whatever was not sent before.

        Raises:
            SystemExit: the driver has stopped the trial.
        """
        return outcome


def find_modules(assignment: Assignment) -> None:
    """Lets a user's own module be imported."""
    find_own_modules(assignment.import_paths)


def show_in_process_list(label: str) -> None:
    """Names the trial in the process's title, which is what Ray's dashboard (and `ps`) shows of a worker.

    Workers run one trial after another under one actor, so the actor's own name cannot tell trials apart. Ray
    sets the title anew at each call of the actor, so this is called again after each report.
    """
    ray._raylet.setproctitle(f"ray::{label}")


def train(assignment: Assignment, make_handle: Callable[[], WorkerHandle]) -> Message:
    """Trains a trial to its end, and says how it ended.

    Raises:
        SystemExit: the handle has stopped it.
    """
    handle: WorkerHandle | None = None
    try:
        handle = make_handle()
        outcome = _trained(handle)
    except Exception as error:  # noqa: BLE001 - its folder cannot be written, say
        outcome = failed(assignment, error)
    finally:
        if handle is not None and handle.files is not None and handle.rank == 0:
            handle.files.finish()
    return outcome if handle is None else handle.last_message(outcome)


def _trained(handle: WorkerHandle) -> Message:
    """How the training ended, from the trainable alone."""
    assignment = handle.assignment
    message = partial(Message, trial=assignment.trial, attempt=assignment.attempt)
    try:
        with _logged(assignment, handle):
            handle.replay()
            trainable, config = build(assignment.trainable, assignment.data, assignment.data_folder, assignment.config)
            try:
                trainable.train(config, handle)
            finally:
                handle.close()
    except Diverged as error:
        return message(outcome="diverged", reason=f"diverged: {error}")
    except Infeasible as error:
        return message(outcome="infeasible", reason=str(error))
    except TrainableError as error:
        return message(outcome="failed", reason=str(error))
    except SystemExit as error:
        if handle.stopped:
            raise
        return message(outcome="failed", reason=f"the trainable called sys.exit({error.code})")
    except BaseException as error:  # noqa: BLE001 - whatever a trainable raises fails this trial, and only this one
        return failed(assignment, error)
    return message(outcome="completed")


def _with_remote(assignment: Assignment, remote: Mapping[str, Any]) -> tuple[Assignment, TrialFiles]:
    """The assignment with the folders of this node, and what uploads from there."""
    from sweep_runner.results.remote.checkpoints import Place, TrialFiles

    trial, data = Path(assignment.folder), Path(assignment.data_folder)
    files = TrialFiles(Place.from_json(remote), trial, data, assignment.attempt, assignment.config)
    return replace(assignment, folder=str(files.trial), data_folder=str(files.data)), files


def failed(assignment: Assignment, error: BaseException) -> Message:
    """The outcome of an attempt that ended with an error which another attempt may not meet."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = f"{type(error).__name__}: {error}".strip().rstrip(":")
    return Message(
        trial=assignment.trial,
        attempt=assignment.attempt,
        outcome="failed",
        reason=reason,
        retry=True,
        disk_full=full,
    )


@contextlib.contextmanager
def _logged(assignment: Assignment, handle: WorkerHandle) -> Iterator[None]:
    """Keeps what the trial prints in its `log.txt`, and a traceback in `error.txt`.

    Of several workers each has a log of its own; whose traceback it is stands in front of it.
    """
    rank = f" rank {handle.rank}" if handle.num_workers > 1 else ""
    label = f"[{assignment.label}{rank}]"
    with handle.log_file.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        stdout, stderr = Tee(log, sys.stdout, label), Tee(log, sys.stderr, label)
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            print(f"started with {dict(assignment.config)}, seed {assignment.seed}")
            try:
                yield
                print("completed")
            except BaseException as error:
                if handle.stopped:
                    raise
                with (handle.folder / "error.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write((f"of{rank}:\n" if rank else "") + traceback.format_exc())
                print(f"ended: {type(error).__name__}: {error}")
                raise


def device_name() -> str:
    """What this worker may compute on: its GPUs' names, or `cpu`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    torch = sys.modules.get("torch")
    if visible and torch is not None and torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"gpu {visible}" if visible else "cpu"
