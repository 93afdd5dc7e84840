"""The log of a job, as it grows, to the job's end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.jobs.state import Job, find_job, wait_for

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PATIENCE_S = 60.0
"""How long the cluster may be out of reach while a job is followed."""
_AGAIN_S = 1.0
_TRIES_AFTER_END = 3


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> Job:
    """Writes what a job logs until it has ended. A connection that breaks is made again; nothing is written twice.

    Args:
        client: of the cluster's Jobs API.
        job_id: of a job that came through it.
        write: takes pieces of the log.

    Returns:
        The job, ended.

    Raises:
        SweepError: the cluster was out of reach for a minute. The job may go on.
    """
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
