"""`sweep jobs`: the sweeps that run, or ran, as jobs of a Ray cluster."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.cli.submit import address_option, follow_to_end, job_command, say_end
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from sweep_runner.execution.jobs.state import Job


@click.group()
def jobs() -> None:
    """List, follow or stop the sweeps of a Ray cluster.

    `sweep submit` sends them there.
    """


@jobs.command()
@address_option
@json_option
@common_options
def ls(address: str, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """List the cluster's sweeps, the latest first: state, exit, start, user.

    \b
    Examples:
      sweep jobs ls --address http://head:8265
      sweep jobs ls --json
    """
    from sweep_runner.execution.jobs.server import connect
    from sweep_runner.execution.jobs.state import list_jobs

    found = list_jobs(connect(address))
    if as_json:
        out.json([asdict(job) for job in found])
        return
    rows = [(job.id, job.state, _started(job), _took(job), job.file, job.user, job.why) for job in found]
    out.table(("job", "state", "started", "took", "file", "by", "why"), rows)
    if not found:
        out.say(f"no sweep was submitted to {address}; sweep submit FILE submits one")


@jobs.command()
@click.argument("job")
@address_option
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the sweep ends.")
@common_options
def logs(job: str, address: str, follow: bool, results: ResultsPaths, out: Out) -> None:
    """Print the log of JOB.

    With --follow, the exit code is the sweep's; Ctrl-C leaves the job running.

    \b
    Examples:
      sweep jobs logs quickstart-20260301-101500-1f2e
      sweep jobs logs quickstart-20260301-101500-1f2e --follow --address http://head:8265
    """
    from sweep_runner.execution.jobs.follow import whole_log
    from sweep_runner.execution.jobs.server import connect
    from sweep_runner.execution.jobs.state import find_job

    client = connect(address)
    found = find_job(client, job)
    if not found.submitted:
        raise RequestError(f"{job}: its command runs on another machine, where its log is, too")
    if follow:
        sys.exit(follow_to_end(client, found.id, out))
    click.echo(whole_log(client, found.id), nl=False)


@jobs.command()
@click.argument("job")
@address_option
@common_options
def stop(job: str, address: str, results: ResultsPaths, out: Out) -> None:
    """Stop JOB gracefully and wait until it has ended; `sweep submit FILE --resume` continues it.

    \b
    Example:
      sweep jobs stop quickstart-20260301-101500-1f2e --address http://head:8265
    """
    from sweep_runner.execution.jobs.server import connect
    from sweep_runner.execution.jobs.state import find_job
    from sweep_runner.execution.jobs.state import stop as end

    client = connect(address)
    found = find_job(client, job)
    if found.ended:
        out.say(f"it had ended before: job {found.id} {found.state}")
        return
    out.say(f"stopping {found.id}; running trials keep their last checkpoint")
    say_end(end(client, found), out)
    out.say(f"its log: {job_command('logs', found.id)}")


def _started(job: Job) -> str:
    return "" if job.started_s is None else datetime.fromtimestamp(job.started_s).strftime("%Y-%m-%d %H:%M")


def _took(job: Job) -> str:
    from sweep_runner.results.display import clock

    return "" if job.started_s is None else clock((job.ended_s or time.time()) - job.started_s)
