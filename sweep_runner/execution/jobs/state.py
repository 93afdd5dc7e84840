"""The jobs of a cluster that are sweeps: what each is, how it ended, and ending one in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.jobs.submission import STOP_WAIT_S

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

_POLL_S = 0.5
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_ENDS = {1: "something failed", 2: "invalid request", 130: "interrupted, resumable"}


@dataclass(frozen=True)
class Job:
    """A job of the cluster that runs, or ran, a sweep.

    Attributes:
        id: what the commands take.
        sweep: its name.
        state: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        why: what the end means, or what the cluster says of it; empty for one that runs or succeeded.
        exit_code: of the sweep's command; None before its end, and when it was stopped.
        started_s: Unix time; None before.
        ended_s: likewise.
        file: the sweep file as it was sent.
        results: where the sweep is kept.
        user: who sent it.
        submitted: whether it came through the Jobs API. Others, of a driver elsewhere, have no logs here and
            cannot be stopped from here.
    """

    id: str
    sweep: str
    state: str
    why: str
    exit_code: int | None
    started_s: float | None
    ended_s: float | None
    file: str
    results: str
    user: str
    submitted: bool

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def command_code(self) -> int:
        """The exit code of a command that followed it to its end: as `sweep run` there would have had here."""
        if self.state == "STOPPED":
            return 130
        if self.state == "SUCCEEDED":
            return 0
        return self.exit_code if self.exit_code in _ENDS else 1


def list_jobs(client: JobSubmissionClient) -> list[Job]:
    """The sweeps among the cluster's jobs, the latest first."""
    jobs = [_job(details) for details in _asked(client.list_jobs)]
    return sorted((job for job in jobs if job.sweep), key=lambda job: job.started_s or float("inf"), reverse=True)


def find_job(client: JobSubmissionClient, job_id: str) -> Job:
    """One job, whether it is a sweep or not.

    Raises:
        RequestError: the cluster has no such job.
    """
    try:
        return _job(_asked(lambda: client.get_job_info(job_id)))
    except SweepError as error:
        if "404" not in str(error) and "does not exist" not in str(error):
            raise
        known = ", ".join(job.id for job in list_jobs(client)[:5])
        raise RequestError(
            f"the cluster has no job {job_id!r}", hint=f"It has {known}." if known else "It has no sweeps."
        ) from error


def stop(client: JobSubmissionClient, job: Job) -> Job:
    """Ends a job in order, and returns it as it is when it has ended.

    Raises:
        RequestError: it did not come through the Jobs API.
        SweepError: it goes on.
    """
    if not job.submitted:
        raise RequestError(
            f"{job.id}: the sweep's command runs on another machine, so this cluster cannot stop it",
            hint="Press Ctrl-C where it runs.",
        )
    if not job.ended:
        _asked(lambda: client.stop_job(job.id))
        job = wait_for(client, job.id, lambda now: now.ended, STOP_WAIT_S + 15)
        if not job.ended:
            raise SweepError(f"{job.id} is still {job.state} after {STOP_WAIT_S + 15} s; look at its logs")
    return job


def wait_for(client: JobSubmissionClient, job_id: str, what: Callable[[Job], bool], timeout_s: float) -> Job:
    """The job as it is when something is so of it, or when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not what(job := find_job(client, job_id)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return job


def _asked(question: Callable[[], Any]) -> Any:
    from ray.exceptions import AuthenticationError

    try:
        return question()
    except AuthenticationError as error:
        raise RequestError("the cluster does not take our token any more", hint="See RAY_AUTH_TOKEN_PATH.") from error
    except (RuntimeError, OSError) as error:
        raise SweepError(f"the cluster does not say: {str(error).strip().splitlines()[0]}") from error


def _job(details: JobDetails) -> Job:
    metadata = details.metadata or {}
    state = str(getattr(details.status, "value", details.status))
    code = details.driver_exit_code if state in ENDED else None
    why = ""
    if state == "FAILED":
        said = (details.message or "").strip().splitlines()
        why = f"exit code {code}: {_ENDS.get(code, 'see its logs')}" if code is not None else (said or ["unknown"])[0]
    return Job(
        id=details.submission_id or details.job_id or "",
        sweep=metadata.get("sweep", ""),
        state=state,
        why=why,
        exit_code=code,
        started_s=details.start_time / 1000 if details.start_time else None,
        ended_s=details.end_time / 1000 if details.end_time else None,
        file=metadata.get("file", ""),
        results=metadata.get("results", ""),
        user=metadata.get("user", ""),
        submitted=details.submission_id is not None,
    )
