"""`sweep data`: what the data of a sweep file holds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sweep_runner.cli.checking import checked_plan
from sweep_runner.cli.common import Out, common_options, data_option, json_option
from sweep_runner.cli.data_cache import cache
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

_SAY_EVERY_S = 2.0
_MOST_GROUPS = 20


@click.group()
def data() -> None:
    """Check the data of a sweep file; manage the cache of decoded pixels."""


data.add_command(cache)


@data.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PAGE",
    help="Write an HTML page with images of every class, outliers, near-duplicates and probable label errors.",
)
@json_option
@common_options
def check(
    file: Path, overrides: tuple[str, ...], page: Path | None, as_json: bool, results: ResultsPaths, out: Out
) -> int:
    """Read every image of FILE's data: counts, unreadable files, class balance, near-duplicates.

    Prints a row per class with its examples in each split. --json prints everything that was found,
    including what otherwise goes to stderr.

    Near-duplicates are copies of one image: rotated, mirrored, inverted, resized or re-encoded. They are listed, and
    a warning says if copies are in different splits.

    Exit code 1 if a class is lost because none of its files can be read.

    --html writes one self-contained page: images as the model will see them (resized, augmented), dark, blank,
    blurred and oddly shaped images, near-duplicates, and probable label errors (a head on frozen features disagrees).
    Of more than 10,000 examples it inspects a sample.

    \b
    Examples:
      sweep data check sweeps/voc.yaml
      sweep data check sweeps/voc.yaml --html voc.html
      sweep data check sweeps/voc.yaml --set data.view=images --json
    """
    if page is not None and not page.absolute().parent.is_dir():  # told now, and not after all pictures were read
        raise RequestError(
            f"--html: folder {page.absolute().parent} does not exist", hint="Create it, or choose another."
        )
    # The page shows what the space does to pictures.
    plan = checked_plan(file, overrides, out, suggest=page is not None)
    with tempfile.TemporaryDirectory(prefix="sweep-data-check-") as folder:
        trainable = plan.trainable(plan.data, Path(folder))
        preparation = trainable.check_data(Teller(out))
        if page is not None:
            from sweep_runner.report.data_page import write_data_page

            sections = trainable.look_at_data(plan.candidates, preparation, Teller(out))
            write_data_page(plan.spec.name, file, preparation, sections, page)
            out.say(f"page: {page}")
    lost = preparation.details.get("lost_classes")  # a sweep would train without them, and nobody would notice
    if as_json:
        found = {"fingerprint": preparation.fingerprint, "summary": preparation.summary, **preparation.details}
        out.json({**found, "warnings": preparation.warnings})
        return 1 if lost else 0
    for label, text in preparation.summary.items():
        out.say(f"{label}: {text}")
    if preparation.fingerprint:
        out.say(f"fingerprint: {preparation.fingerprint}")
    for warning in preparation.warnings:
        out.warn(warning)
    from sweep_runner.cli.init_advice import few_in_val

    if few := few_in_val({name: each.get("val", 0) for name, each in _class_counts(preparation.details).items()}):
        out.warn(few)
    _say_duplicates(preparation.details.get("near_duplicates", []), out)
    _print_classes(preparation.details, out)
    if not preparation.summary:
        out.say(f"{plan.spec.trainable} reads no data")
    return 1 if lost else 0


class Teller:
    """A `Progress` that says where it is now and then."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._said = time.monotonic()
        self._told = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        ends = done >= total and self._told == what  # what was begun is told to its end
        if ends or now - self._said >= _SAY_EVERY_S:
            self._said, self._told = now, "" if ends else what
            self._out.say(f"{what}: {done:,} of {total:,}")


def _say_duplicates(groups: Sequence[Sequence[str]], out: Out) -> None:
    for group in groups[:_MOST_GROUPS]:
        out.say(f"near-duplicates: {', '.join(group)}")
    if len(groups) > _MOST_GROUPS:
        out.say(f"and {len(groups) - _MOST_GROUPS} more groups: --json prints all")


def _class_counts(details: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    """Class → split → number of examples."""
    counts: Mapping[str, Mapping[str, int]] = details.get("class_counts", {})
    return counts


def _print_classes(details: Mapping[str, Any], out: Out) -> None:
    counts = _class_counts(details)
    splits = list(details.get("examples", {}))
    rows = [[name, *(by_split[split] for split in splits), sum(by_split.values())] for name, by_split in counts.items()]
    if rows:
        out.table(["class", *splits, "all"], rows)
