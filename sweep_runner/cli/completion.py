"""`sweep completion`: the script that makes a shell complete `sweep`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

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
    kind = get_completion_class(shell)
    assert kind is not None, shell
    maker = kind(click.get_current_context().find_root().command, {}, "sweep", "_SWEEP_COMPLETE")
    # Not `source()`: it asks bash for its version, and refuses where that is not the shell at hand.
    out.result(maker.source_template % maker.source_vars())
