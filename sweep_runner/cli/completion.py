"""`sweep completion`: the script that makes a shell complete `sweep`; and what names it completes with."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from sweep_runner.cli.common import Out, common_options
from sweep_runner.results.paths import ResultsPaths


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(shell: str, results: ResultsPaths, out: Out) -> None:
    """Print the script that makes SHELL complete commands, options, sweeps and trials.

    \b
    Examples:
      sweep completion bash > ~/.local/share/bash-completion/completions/sweep
      sweep completion zsh > ~/.zfunc/_sweep
      sweep completion fish > ~/.config/fish/completions/sweep.fish
    """
    from sweep_runner.cli.main import sweep

    kind = get_completion_class(shell)
    assert kind is not None, shell
    maker = kind(sweep, {}, "sweep", "_SWEEP_COMPLETE")
    # Not `source()`: it asks bash for its version, and refuses where that is not the shell at hand.
    out.result(maker.source_template % maker.source_vars())


def complete(name: str, context: click.Context, incomplete: str) -> list[CompletionItem]:
    """What an argument called `name`, `a`, `b`, `model`, `trial` or `number` may be: sweeps, or trials of one."""
    results = ResultsPaths(_results_folder(context.params.get("results_folder")))
    if name in ("trial", "number"):
        chosen = context.params.get("name")
        found = results.sweep(chosen).trials if chosen else None
        trials = sorted(int(path.name) for path in found.glob("[0-9]*")) if found and found.is_dir() else []
        return [CompletionItem(str(number)) for number in trials if str(number).startswith(incomplete)]
    items = [CompletionItem(paths.name) for paths in results.sweeps() if paths.name.startswith(incomplete)]
    return items or ([CompletionItem(incomplete, type="file")] if name != "name" else [])


def _results_folder(given: str | None) -> Path:
    """The results; of remote ones their copy here as it is: a shell that completes does not wait for a network."""
    named = given or os.environ.get("SWEEP_RESULTS") or "results"
    if "://" in named:
        from sweep_runner.results.remote.address import Address, working_copy

        return working_copy(Address.parse(named))
    return Path(named).expanduser().absolute()


COMPLETED = ("name", "trial", "number", "model", "data", "a", "b")
"""Arguments of these names are completed."""
