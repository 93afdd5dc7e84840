"""`sweep models`: the models that a sweep file can name, and what is known of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from trainables.image.models.catalogue import Entry

COLUMNS = ("model", "parameters", "px", "from px", "blocks", "pooling", "features", "ONNX", "ms", "weights", "tried")


@click.command()
@click.argument("pattern", default="*")
@click.option("--fits", metavar="LIMITS", help="Limits, such as '5M params, 20 ms' (CPU time per image).")
@click.option("--at-hand", is_flag=True, help="Only models whose published weights are on this machine.")
@json_option
@common_options
def models(pattern: str, fits: str | None, at_hand: bool, as_json: bool, results: ResultsPaths, out: Out) -> int:
    """List models by name: resolution, parameters, supported features, weights on this machine.

    PATTERN is a shell pattern, or a part of the name. px is the published resolution, "from px" the smallest that can
    be trained; blocks are the units of finetune: last_n and layer_lr_decay; features says whether head-only trials can
    share stored features; ms is the CPU time of one image at px on one thread; tried: right (trained, exported, and the
    same answers from ONNX Runtime), or listed (built and checked, not trained). A dash: not measured.

    \b
    Examples:
      sweep models 'mobilenet*'
      sweep models --fits '5M params, 20 ms'
      sweep models vit --at-hand --json
    """
    from trainables.image.models.catalogue import find_models, limits
    from trainables.image.models.table import nearest

    try:
        most = limits(fits) if fits else {}
    except ValueError as error:
        raise RequestError(f"--fits {fits!r}: {error}") from error
    found = find_models(pattern)
    if not found:
        near = nearest(pattern.strip("*?"), (entry.name for entry in find_models("*")))
        hint = (
            f"Did you mean {', '.join(near)}?" if near else "Try a part of the name, or `sweep models` for all of them."
        )
        raise RequestError(f"no model matches {pattern!r}", hint=hint)
    if at_hand and not (found := [entry for entry in found if entry.weights == "at hand"]):
        out.say(
            "no published weights of these models are in the caches of this machine (Hugging Face hub, torch.hub). "
            "Weight files of your own need no cache: fixed.pretrained names a file or a folder, and "
            "`sweep init FOLDER --weights PATH` lists what it recognises"
        )
        if as_json:
            out.json([])
        return 0
    unknown = [entry for entry in found if any(getattr(entry, key) is None for key in most)]
    fitting = [
        entry
        for entry in found
        if all(getattr(entry, key) is not None and getattr(entry, key) <= value for key, value in most.items())
    ]
    if as_json:
        out.json([asdict(entry) for entry in fitting])
    elif fitting:
        out.table(COLUMNS, [_row(entry) for entry in fitting])
    if unknown:
        out.say(f"{len(unknown)} of {len(found)} models are left out: their size or time was not measured")
    if not fitting:
        out.say(f"none of {len(found)} models is within these limits")
    return 0


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        "-" if entry.parameters is None else f"{entry.parameters / 1e6:.1f}M",
        str(entry.resolution) + (" only" if entry.weights != "none" and entry.resizable is False else ""),
        _text(entry.smallest_resolution),
        _text(entry.num_blocks),
        " ".join(entry.poolings) if entry.poolings else "-",
        _word(entry.stored_features),
        _word(entry.onnx),
        "-" if entry.image_ms is None else f"{entry.image_ms:.3g}",
        entry.weights,
        entry.verdict or ("listed" if entry.poolings else "-"),
    )


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)


def _word(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"
