"""A sweep file → a job of a Ray cluster."""

from __future__ import annotations

import getpass
import secrets
import shlex
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.execution.jobs.upload import EXCLUDES, Folder

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

STOP_WAIT_S = 90
"""What a stopped sweep is given to end in order; Ray's own patience is 3 s, after which it kills."""


@dataclass(frozen=True)
class Submission:
    """What is asked of the cluster.

    Attributes:
        sweep: its name.
        file: the sweep file, from the working folder on.
        folder: the working folder.
        results: on the cluster: an absolute path on shared storage, or an address such as `s3://bucket/prefix`.
        overrides: `a.b=c`, each as given to `--set`.
        verb: `run`, or `resume` to go on with a sweep that is there.
        fresh: puts a sweep of the same name aside.
        py_modules: further folders of Python modules that are sent.
        excludes: patterns of what is not sent.
    """

    sweep: str
    file: Path
    folder: Folder
    results: str
    overrides: tuple[str, ...] = ()
    verb: str = "run"
    fresh: bool = False
    py_modules: tuple[Path, ...] = ()
    excludes: tuple[str, ...] = ()

    @property
    def entrypoint(self) -> str:
        """The command that runs on the cluster. `exec`: a signal meets the sweep itself, with no shell in between."""
        what = ["resume", self.sweep, "--file", str(self.file)] if self.verb == "resume" else ["run", str(self.file)]
        sets = [word for override in self.overrides for word in ("--set", override)]
        fresh = ["--fresh"] if self.fresh else []
        return "exec " + shlex.join(["sweep", *what, "--address", "auto", "--results", self.results, *fresh, *sets])

    @property
    def runtime_env(self) -> dict[str, Any]:
        environment: dict[str, Any] = {
            "working_dir": str(self.folder.path),
            "excludes": [*EXCLUDES, *self.excludes],
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
        }
        if self.py_modules:
            environment["py_modules"] = [str(path) for path in self.py_modules]
        return environment

    @property
    def metadata(self) -> dict[str, str]:
        """What the dashboard and `sweep jobs ls` show of it."""
        return {
            "job_name": f"sweep {self.sweep}",
            "sweep": self.sweep,
            "file": str(self.file),
            "results": self.results,
            "user": f"{_user()}@{socket.gethostname()}",
        }


def cluster_results(given: str | None) -> str:
    """The results folder on the cluster.

    Raises:
        RequestError: none is given, or it depends on where the command runs.
    """
    hint = "Choose a folder on storage that all nodes share, such as --results /shared/results"
    if not given:
        raise RequestError(
            "--results is missing: give the folder on the cluster's shared storage for the sweep", hint=hint
        )
    if "://" not in given and not Path(given).is_absolute():
        raise RequestError(
            f"--results {given}: a relative path, which on the cluster leads into a temporary folder", hint=hint
        )
    return given


def submit(client: JobSubmissionClient, submission: Submission) -> str:
    """Sends what the job needs, and the job. Returns its id, which begins with the sweep's name.

    Raises:
        SweepError: the cluster did not take it.
    """
    name = f"{submission.sweep}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    try:
        job: str = client.submit_job(
            entrypoint=submission.entrypoint,
            submission_id=name,
            runtime_env=submission.runtime_env,
            metadata=submission.metadata,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise SweepError(f"the cluster did not take the job: {str(error).strip().splitlines()[0]}") from error
    return job


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user that has no name
        return "unknown"
