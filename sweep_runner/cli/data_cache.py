"""`sweep data cache`: what the cache of decoded pixels holds, and emptying it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.results.paths import ResultsPaths
from trainables.quantities import size_text

_DAY_S = 86_400.0


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser().absolute()
    from trainables.image.data_config import DataConfig

    return DataConfig.model_validate({}).cache_folder


folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The cache, as in data.cache_dir; by default $SWEEP_CACHE, or the user's cache folder.",
)


@click.group()
def cache() -> None:
    """List or clear the cache of decoded pixels and features.

    Images are decoded once per resolution and cached for all trials on the node and for later sweeps over the same
    images; features of frozen backbones, too. The cache takes up to data.cache_limit_bytes: the least recently used
    entries are removed first.
    """


@cache.command()
@folder_option
@json_option
@common_options
def ls(folder: Path | None, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """List the cache: size, last use and content, the most recently used first.

    \b
    Examples:
      sweep data cache ls
      sweep data cache ls --json
    """
    from trainables.image.pixels.cache_content import list_cache

    place = _folder(folder)
    entries = list_cache(place)
    if as_json:
        out.json([vars(entry) for entry in entries])
        return
    total = sum(entry.size_bytes for entry in entries)
    out.say(f"{place}: {len(entries)} files, {size_text(total)}")
    rows: list[list[Any]] = [
        [
            entry.fingerprint[:12],
            entry.content,
            size_text(entry.size_bytes),
            "in use now" if entry.in_use else time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used)),
        ]
        for entry in entries
    ]
    if rows:
        out.table(["images", "content", "size", "last use"], rows)


@cache.command()
@folder_option
@click.option(
    "--unused-for", "days", type=click.FloatRange(min=0), metavar="DAYS", help="Only entries unused for this many days."
)
@common_options
def clear(folder: Path | None, days: float | None, results: ResultsPaths, out: Out) -> None:
    """Clear the cache, except what a running sweep uses. What is needed again is computed again.

    \b
    Examples:
      sweep data cache clear
      sweep data cache clear --unused-for 30
    """
    from trainables.image.pixels.cache_content import clear_cache

    place = _folder(folder)
    removed, kept = clear_cache(place, None if days is None else time.time() - days * _DAY_S)
    out.say(f"{place}: removed {len(removed)} files, {size_text(sum(entry.size_bytes for entry in removed))}")
    if kept:
        out.warn(
            f"{len(kept)} files kept, {size_text(sum(entry.size_bytes for entry in kept))}: a running process uses them"
        )
