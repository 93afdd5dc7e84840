"""What a shell completes in a `sweep` command: names of sweeps, trials and sweep files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.trial_names import BEST

_HEAD = 16_384  # bytes of a file in which its name is looked for


def complete(name: str, context: click.Context, incomplete: str) -> list[CompletionItem]:
    """What an argument of this name (one of `COMPLETED`) may be: sweeps, NAME/TRIAL, trials of a sweep, sweep files."""
    if name == "file":
        return _sweep_files(incomplete)
    results = ResultsPaths(_results_folder(context.params.get("results_folder")))
    if name in ("trial", "trial_option"):
        # Click leaves arguments unread before an option that still lacks its value.
        chosen = context.params.get("name") or context.params.get("model") or next(iter(context.args), None)
        found = _trials(results.sweep(str(chosen))) if chosen else []
        return [CompletionItem(trial) for trial in found if trial.startswith(incomplete)]
    sweep, slash, _ = incomplete.partition("/")
    sweeps = {paths.name: paths for paths in results.sweeps()}
    if slash and sweep in sweeps:
        trials = (f"{sweep}/{trial}" for trial in _trials(sweeps[sweep]))
        return [CompletionItem(text) for text in trials if text.startswith(incomplete)]
    items = [CompletionItem(each) for each in sweeps if each.startswith(incomplete)]
    return items or ([CompletionItem(incomplete, type="file")] if name != "name" else [])


def _trials(paths: SweepPaths) -> list[str]:
    """How the trials of a sweep can be named: best, baselines, numbers."""
    import yaml

    if not paths.trials.is_dir():
        return []
    numbers = sorted(int(path.name) for path in paths.trials.glob("[0-9]*"))
    try:
        baselines = list((yaml.safe_load(paths.spec.read_text(encoding="utf-8")) or {}).get("baselines") or {})
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        baselines = []  # a shell that completes is no place to tell what is wrong with a file
    return [BEST, *map(str, baselines), *map(str, numbers)]


def _sweep_files(incomplete: str) -> list[CompletionItem]:
    """YAML files with a `name:`, in the folder that is being typed and one below; where there are none, folders."""
    start, _, _ = incomplete.rpartition("/")
    folder = Path(f"{start}/" if start or incomplete.startswith("/") else ".").expanduser()
    below = (path for pattern in ("*.y*ml", "*/*.y*ml") for path in folder.glob(pattern))
    prefix = f"{start}/" if start or incomplete.startswith("/") else ""
    found = [f"{prefix}{path.relative_to(folder)}" for path in sorted(below) if _is_sweep_file(path)]
    items = [CompletionItem(text) for text in found if text.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="dir")]


def _is_sweep_file(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml") or path.name.startswith("."):
        return False
    try:
        with path.open("rb") as file:
            return re.search(rb"^name\s*:", file.read(_HEAD), re.MULTILINE) is not None
    except OSError:
        return False


def _results_folder(given: str | None) -> Path:
    """The results; of remote ones their copy here as it is: a shell that completes does not wait for a network."""
    named = given or os.environ.get("SWEEP_RESULTS") or "results"
    if "://" in named:
        from sweep_runner.results.remote.address import Address, working_copy

        return working_copy(Address.parse(named))
    return Path(named).expanduser().absolute()


COMPLETED = ("name", "trial", "trial_option", "model", "data", "first", "second", "file")
"""Arguments of these names are completed."""
