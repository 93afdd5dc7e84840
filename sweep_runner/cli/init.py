"""`sweep init`: a sweep file for a folder of images."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from sweep_runner.cli.common import Out, common_options
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")
SPLITS = {"train", "val", "valid", "test"}
_SMALL = 2_000
"""Up to so many pictures, a frozen backbone is tried beside training all of it."""

TEMPLATE = """\
# Which model and settings classify the pictures in {root} best?
#   sweep check {file}
#   sweep run {file}
name: {name}
data:
  dataset: image_folder               # one folder a class: {shown}
  root: {quoted}
trainable: image_classifier
fixed:
  epochs: {epochs}                          # at most; the pruner stops weak trials before
  pretrained: {pretrained}
  input_resolution: {resolution}               # pixels; more sees finer detail and costs its square
space:
  model: [{models}]
{finetune}  optimizer: [adamw, sgd]
  lr: {{low: 1.0e-4, high: 1.0e-1, log: true}}
  batch_size: [16, 32]
objective: {{metric: {metric}, mode: max}}   # {why}
search: {{sampler: tpe, trials: {trials}, seed: 0}}
pruner: {{kind: successive_halving, min_epochs: 1, reduction_factor: 3}}
resources: {{cpus: 1, gpus: auto, max_concurrent: auto}}
export: {{formats: [onnx]}}
# loggers: [csv, tensorboard]          # trackers that follow the sweep
# notify: {{command: 'notify-send "$SWEEP_SWEEP $SWEEP_STATE"'}}
"""


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: sweep.yaml."
)
@click.option("--name", help="Of the sweep. By default the folder's.")
@click.option("--trials", type=click.IntRange(min=1), help="How many. By default 20.")
@click.option("--pretrained/--scratch", default=None, help="Begin with weights from the hub, or without.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what is not given by default.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common_options
def init(
    folder: Path | None,
    output: Path | None,
    name: str | None,
    trials: int | None,
    pretrained: bool | None,
    yes: bool,
    force: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Write a sweep file with comments for FOLDER, which has one folder of images a class.

    Asks what is not given; without a terminal it takes the defaults.

    \b
    Examples:
      sweep init ~/photos
      sweep init ~/photos --scratch --trials 30 --output photos.yaml --yes
    """
    yes = yes or not sys.stdin.isatty()  # nobody to ask
    folder = folder or (None if yes else Path(click.prompt("Folder of images, one folder a class", err=True)))
    if folder is None:
        raise RequestError("FOLDER is missing", hint="Name a folder with one folder of images a class.")
    counts = _counts(folder.expanduser())
    total = sum(counts.values())
    out.say(
        f"{total} pictures in {len(counts)} classes: " + ", ".join(f"{key} {number}" for key, number in counts.items())
    )
    default = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.expanduser().absolute().name).strip("-._") or "sweep"
    name = name or (default if yes else click.prompt("Name of the sweep", default=default, err=True))
    trials = trials or (20 if yes else click.prompt("Trials", default=20, type=click.IntRange(min=1), err=True))
    if pretrained is None:
        pretrained = yes or click.confirm("Begin with pretrained weights (fetched once)?", default=True, err=True)
    output = output or Path("sweep.yaml")
    if output.exists() and not force:
        raise RequestError(f"{output} exists", hint="Name another with --output, or replace it with --force.")
    text = _file(folder, counts, output, name, trials, pretrained)

    from sweep_runner.durable import write_atomically
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_spec

    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        check_spec(load_spec(partial))
    finally:
        partial.unlink(missing_ok=True)
    write_atomically(output, text.encode())
    out.say(f"wrote {output}. Look at it, then: sweep data check {output}; sweep run {output}")
    out.result(str(output))


def _file(folder: Path, counts: dict[str, int], output: Path, name: str, trials: int, pretrained: bool) -> str:
    import json

    few = min(counts.values()) * 3 < max(counts.values())
    total = sum(counts.values())
    finetune = "  finetune: [head, full]              # the last layer only, or all of it\n" if total <= _SMALL else ""
    shown = ", ".join(list(counts)[:5]) + (", …" if len(counts) > 5 else "")
    return TEMPLATE.format(
        root=folder,
        file=output,
        name=json.dumps(name),
        shown=shown.replace("\n", " "),
        quoted=json.dumps(str(folder.expanduser().absolute()), ensure_ascii=False),
        epochs=10 if pretrained else 30,
        pretrained=str(pretrained).lower(),
        resolution=160 if pretrained else 64,
        models="mobilenetv3_large_100, resnet18, efficientnet_b0" if pretrained else "simple_cnn3, cnn4, resnet18",
        finetune=finetune if pretrained else "  finetune: [scratch]\n",
        metric="val_macro_f1" if few else "val_accuracy",
        why="classes differ in size: each counts the same" if few else "share of pictures that are right",
        trials=trials,
    )


def _counts(folder: Path) -> dict[str, int]:
    """Pictures of each class.

    Raises:
        RequestError: no folder, or not one folder a class.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder", hint="Name a folder with one folder of images a class.")
    tops = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if tops and {path.name for path in tops} <= SPLITS:
        tops = sorted(path for top in tops for path in top.iterdir() if path.is_dir())
    counts: dict[str, int] = {}
    for top in tops:
        number = sum(Path(file).suffix.lower() in SUFFIXES for _, _, files in os.walk(top) for file in files)
        if number:
            counts[top.name] = counts.get(top.name, 0) + number
    if len(counts) < 2:
        raise RequestError(
            f"{folder}: found {len(counts)} folders with pictures, and a classifier needs two or more",
            hint="Put the pictures of each class into a folder of its own; tables of labels: see docs/real-data.md.",
        )
    return counts
