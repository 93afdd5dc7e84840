"""`sweep soup`: averaged weights of a sweep that has ended, adopted where val says that they are better."""

from __future__ import annotations

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@common_options
def soup(name: str, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Average the weights of kept checkpoints of the sweep NAME, which has ended.

    A greedy soup: it starts from the published trial, and takes each further checkpoint of the same network, from the
    same start, that makes it no worse on val. It is published instead of the single model where it is better on val by
    more than chance; then it is evaluated on test, which counts as a use of test.

    The same as `sweep resume NAME --set export.soup=auto`. With `export: {soup: auto}` in the sweep file, a sweep keeps
    more checkpoints, and does this at its end.

    \b
    Examples:
      sweep soup flowers
      sweep query "select * from candidates where sweep = 'flowers'"
    """
    from sweep_runner.cli.remote import bring_checkpoint
    from sweep_runner.cli.run import go_on_with
    from sweep_runner.execution.keeper.retention import num_kept
    from sweep_runner.execution.publishing.candidates import refuse_soup
    from sweep_runner.results.log import read_events
    from sweep_runner.results.lookup import find_sweep
    from sweep_runner.results.state import fold
    from sweep_runner.spec.check import load_plan

    paths = find_sweep(results, name)
    plan = load_plan(paths.spec, ("export.soup=auto",), resolved=True)
    state = fold(read_events(paths.log), plan.spec.objective)
    if state.state != "COMPLETED":
        raise RequestError(
            f"the sweep {name!r} has not ended: a soup is made of the best of all its trials",
            hint=f"Let it end first: {paths.command('resume')}",
        )
    for summary in state.ranked()[: num_kept(plan.spec)]:
        bring_checkpoint(results, plan.spec, summary)
    refuse_soup(plan, paths, state)
    go_on_with(name, ("export.soup=auto",), as_json, results, out)
