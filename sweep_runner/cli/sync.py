"""`sweep sync`: what remote results lack of a sweep, uploaded later."""

from __future__ import annotations

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.durable import SweepLock
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.paths import ResultsPaths, remote_url


@click.command()
@click.argument("name")
@click.option("--take-over", is_flag=True, help="Upload even if another machine writes the sweep.")
@common_options
def sync(name: str, take_over: bool, results: ResultsPaths, out: Out) -> None:
    """Upload what the remote results lack of the sweep NAME.

    A run uploads by itself. This is for a run that ended while the storage was unreachable.

    \b
    Example:
      sweep sync quickstart --results s3://my-bucket/sweeps
    """
    from sweep_runner.execution.driver.remote_results import remote_results
    from sweep_runner.results.lookup import find_sweep

    url = remote_url(results.root)
    if url is None:
        raise RequestError(
            f"{results.root} is a local folder: there is nothing to upload",
            hint="name the remote results that the sweep ran with: --results s3://BUCKET/PREFIX",
        )
    paths = find_sweep(results, name)
    with SweepLock(paths.lock), remote_results(paths, out.warn, take_over) as remote:
        assert remote is not None
        remote.start()
    if remote.problem:
        raise SweepError(remote.problem)
    out.say(f"{name}: everything in {paths.root} is in {url}/{name}")
