"""`sweep submit`: a sweep file to a Ray cluster, as a job."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.checking import checked_plan
from sweep_runner.cli.common import Out, set_option
from sweep_runner.cli.taken_view import say_taken
from sweep_runner.errors import Interrupted, RequestError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from sweep_runner.execution.jobs.state import Job

address_option = click.option(
    "--address",
    default="http://127.0.0.1:8265",
    envvar="RAY_API_SERVER_ADDRESS",
    show_envvar=True,
    show_default=True,
    metavar="URL",
    help="The dashboard of the cluster's head node.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@address_option
@click.option(
    "--results",
    envvar="SWEEP_RESULTS",
    show_envvar=True,
    metavar="DIR",
    help="On the cluster: an absolute path on storage that its nodes share.",
)
@set_option
@click.option("--resume", is_flag=True, help="Continue the existing sweep, with the file as it is now.")
@click.option("--fresh", is_flag=True, help="Move an existing sweep of the same name aside and start over.")
@click.option("--follow", "-f", is_flag=True, help="Follow its log until the sweep ends.")
@click.option(
    "--working-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that is sent along (default: the current one, or FILE's if FILE is outside of it).",
)
@click.option(
    "--py-module",
    "py_modules",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Additional package to send, such as --py-module ../my_models. Repeatable.",
)
@click.option(
    "--exclude",
    "excludes",
    multiple=True,
    metavar="PATTERN",
    help="Pattern of files that are not sent, as in .gitignore. Repeatable.",
)
@click.option(
    "--upload-limit",
    type=click.IntRange(1, 500),
    default=100,
    show_default=True,
    metavar="MIB",
    help="Size limit of what is sent.",
)
@click.option("--quiet", "-q", is_flag=True, help="Results, warnings and errors only.")
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
def submit(
    file: Path,
    address: str,
    results: str | None,
    overrides: tuple[str, ...],
    resume: bool,
    fresh: bool,
    follow: bool,
    working_dir: Path | None,
    py_modules: tuple[Path, ...],
    excludes: tuple[str, ...],
    upload_limit: int,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run the sweep that FILE describes as a job of a Ray cluster.

    The file is checked here; then it goes to the cluster with the folder around it, and runs there as
    `sweep run FILE --address auto`. The job's id is printed. With --follow, the exit code is the sweep's; Ctrl-C
    leaves the job running.

    \b
    Examples:
      sweep submit sweeps/quickstart.yaml --address http://head:8265 --results /shared/results --follow
      sweep submit sweeps/quickstart.yaml --results /shared/results --set search.trials=200 --exclude 'photos/'
      sweep submit sweeps/quickstart.yaml --results /shared/results --resume
    """
    from sweep_runner.execution.jobs.server import connect
    from sweep_runner.execution.jobs.submission import Submission, cluster_results
    from sweep_runner.execution.jobs.submission import submit as send
    from sweep_runner.execution.jobs.upload import measure, working_folder

    out = Out(quiet=quiet, verbose=verbose and not quiet)
    if resume and fresh:
        raise RequestError("--resume continues a sweep, --fresh starts over: choose one")
    place = cluster_results(results)
    name = _checked(file, overrides, out)
    file, folder = file.absolute(), working_folder(file, working_dir)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise RequestError(
            f"--working-dir {folder}: {file} is not in it", hint="Choose a folder that contains the file."
        )
    file = file.resolve().relative_to(folder.resolve())
    missing = [path for path in py_modules if not path.expanduser().is_dir()]
    if missing:
        raise RequestError(f"--py-module {missing[0]}: no such folder")
    modules = tuple(path.expanduser().absolute() for path in py_modules)
    sent = measure(folder.resolve(), excludes, upload_limit, needed=folder.resolve() / file)
    for module in modules:
        measure(module, excludes, upload_limit)
    client = connect(address)
    submission = Submission(
        sweep=name,
        file=file,
        folder=sent,
        results=place,
        overrides=overrides,
        verb="resume" if resume else "run",
        fresh=fresh,
        py_modules=modules,
        excludes=excludes,
    )
    out.detail(f"on the cluster: {submission.entrypoint}")
    out.say(f"sending {sent.num_files:,} files, {sent.size_bytes / 1024**2:,.1f} MiB, of {folder}")
    job_id = send(client, submission)
    if not follow:
        out.result(job_id)
        out.say(f"follow it: {job_command('logs', job_id, '--follow')}")
        return
    out.say(f"job {job_id}")
    sys.exit(follow_to_end(client, job_id, out))


def follow_to_end(client: JobSubmissionClient, job_id: str, out: Out) -> int:
    """Prints a job's log until it ends, says how it did, and returns the exit code that follows from it.

    Raises:
        Interrupted: Ctrl-C; the job goes on.
    """
    from sweep_runner.execution.jobs.follow import follow

    def write(text: str) -> None:
        click.echo(text, nl=False)

    try:
        job = follow(client, job_id, write)
    except KeyboardInterrupt:
        raise Interrupted(
            f"\njob {job_id} continues\n"
            f"    follow it   {job_command('logs', job_id, '--follow')}\n"
            f"    stop it     {job_command('stop', job_id)}"
        ) from None
    say_end(job, out)
    return job.command_code


def say_end(job: Job, out: Out) -> None:
    """How a job ended, in a line."""
    colors = {"SUCCEEDED": "green", "FAILED": "bold red", "STOPPED": "yellow"}
    out.say(f"job {job.id} {job.state}{f': {job.why}' if job.why else ''}", style=colors.get(job.state, ""))


def job_command(verb: str, job_id: str, *more: str) -> str:
    """A `sweep jobs` command on a job, as a user here can copy and run it."""
    context = click.get_current_context()
    given = context.params.get("address") if context.get_parameter_source("address") else None
    from_environment = os.environ.get("RAY_API_SERVER_ADDRESS") == given
    address = [] if given is None or from_environment else ["--address", str(given)]
    return shlex.join(["sweep", "jobs", verb, job_id, *more, *address])


def _checked(file: Path, overrides: tuple[str, ...], out: Out) -> str:
    """The sweep's name, of a file that is right as far as can be known here."""
    plan = checked_plan(file, overrides, out)
    say_taken(plan, file, out)
    for warning in plan.warnings:
        out.warn(warning)
    return plan.spec.name
