"""The log of a job, as it grows, to the job's end; a Ctrl-C is never missed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.jobs.state import Job, find_job, wait_for

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PATIENCE_S = 60.0
"""How long the cluster may be out of reach while a job is followed."""
_AGAIN_S = 1.0
_TRIES_AFTER_END = 3
_LOOK_S = 0.2
_PIECES_AHEAD = 64


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> Job:
    """Writes what a job logs until it has ended. A connection that breaks is made again; nothing is written twice.

    Another thread talks to the cluster. This one only writes, and looks five times a second whether somebody has
    pressed Ctrl-C: asyncio, which would have to pass a Ctrl-C on through every layer of the connection, loses it where
    one of them ends in another way at that moment.

    Args:
        client: of the cluster's Jobs API.
        job_id: of a job that came through it.
        write: takes pieces of the log. Called in this thread, which is the main thread.

    Returns:
        The job, ended.

    Raises:
        SweepError: the cluster was out of reach for a minute. The job may go on.
        KeyboardInterrupt: Ctrl-C. The job goes on.
    """
    pieces: queue.Queue[str | Job | BaseException] = queue.Queue(_PIECES_AHEAD)
    with _Interrupt() as interrupt:
        threading.Thread(target=_fetch, args=(client, job_id, pieces.put), name="job log", daemon=True).start()
        while True:
            if interrupt.came:
                raise KeyboardInterrupt
            try:
                piece = pieces.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if isinstance(piece, str):
                with interrupt.raised():
                    write(piece)
            elif isinstance(piece, BaseException):
                raise piece
            else:
                return piece


class _Interrupt:
    """Notes SIGINT while it is open; raises KeyboardInterrupt at once only in a block that says so.

    An exception out of a signal handler can break whatever it falls into (a lock that is being waited for is then
    released twice), or meet code that drops it (a finalizer). A write that blocks needs it all the same. A process that
    a shell has started in the background ignores SIGINT at first: not here.

    Attributes:
        came: whether there was one.
    """

    def __init__(self) -> None:
        self.came = False
        self._raises = False
        self._previous: Any = None

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, it gets out of what blocks."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if self._raises:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL if self._previous is None else self._previous)


def _fetch(client: JobSubmissionClient, job_id: str, give: Callable[[str | Job | BaseException], None]) -> None:
    """Gives the log's pieces, then the job, ended, or why that is not known."""
    try:
        give(_fetched(client, job_id, give))
    except BaseException as error:  # noqa: BLE001 - raised in the thread that follows
        give(error)


def _fetched(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> Job:
    import aiohttp

    written = broken_after_end = 0
    reached_s = time.monotonic()
    while True:
        tail = _Tail(write, written)
        broke = ""
        try:
            asyncio.run(tail.run(client, job_id))
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            broke = str(error).strip().partition("\n")[0] or type(error).__name__
        written = max(written, tail.seen)
        try:
            job = wait_for(client, job_id, lambda now: now.ended, timeout_s=2)
            reached_s = time.monotonic()
            broken_after_end += job.ended
            # The node that holds the log may be gone; how the job ended is known without it.
            if job.ended and (not broke or broken_after_end > _TRIES_AFTER_END):
                return job
        except RequestError:
            raise
        except SweepError as error:
            broke = broke or str(error)
        if time.monotonic() - reached_s > _PATIENCE_S:
            raise SweepError(f"the cluster is out of reach ({broke}); the job may go on")
        time.sleep(_AGAIN_S)


class _Tail:
    """One connection to a job's log, which the cluster sends from the beginning.

    Args:
        write: takes what comes after the first `skip` characters.
        skip: characters that were written before.
    """

    def __init__(self, write: Callable[[str], None], skip: int) -> None:
        self.seen = 0
        self._write = write
        self._skip = skip

    async def run(self, client: JobSubmissionClient, job_id: str) -> None:
        async for text in client.tail_job_logs(job_id):
            fresh = text[max(0, self._skip - self.seen) :]
            self.seen += len(text)
            if fresh:
                self._write(fresh)


def whole_log(client: JobSubmissionClient, job_id: str) -> str:
    """What a job has logged so far.

    Raises:
        SweepError: the cluster does not give it.
    """
    find_job(client, job_id)
    try:
        log: str = client.get_job_logs(job_id)
    except (RuntimeError, OSError) as error:
        raise SweepError(f"{job_id}: no logs: {str(error).strip().splitlines()[0]}") from error
    return log
