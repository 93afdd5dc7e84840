"""The sweep file that `sweep init` writes, with comments that say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.image.datasets import BUILT_IN

if TYPE_CHECKING:
    from sweep_runner.cli.init_look import Found, Start

_SMALL = 2_000
"""Up to so many examples, a frozen backbone is tried beside training all of it."""


def sweep_file(found: Found, start: Start, output: Path, name: str, trials: int) -> str:
    """The text of the file."""
    header = f"""\
# Which model and settings classify the pictures in {_line(str(found.root))} best?
#   sweep check {output}
#   sweep run {output}
name: {_quoted(name)}
"""
    return "".join((header, data_part(found), search_part(found, start, trials), _END))


def data_part(found: Found) -> str:
    """The data section: what was recognised, so that the file says it and a change of the folder is noticed."""
    lines = [f"data:   # {_line(found.reading.found)}"]
    lines += [f"  {key}: {_quoted(value)}" for key, value in found.section.items()]
    if found.view == "images" and "crops" in found.views:
        lines.append("  # view: crops                        # one example per annotated object instead of per picture")
    return "\n".join(lines) + "\n"


def search_part(found: Found, start: Start, trials: int) -> str:
    """What is fixed, what is searched, and how."""
    few = min(found.counts.values()) * 3 < max(found.counts.values())
    if found.listing.multilabel:
        metric, why = "val_map", "mean average precision: labels that are rightly absent do not count"
    elif few:
        metric, why = "val_macro_f1", "classes differ in size: each counts the same"
    else:
        metric, why = "val_accuracy", "share of pictures that are right"
    if not start.pretrained:
        finetune = "  finetune: [scratch]\n"
    elif len(found.listing.table) <= _SMALL:
        finetune = "  finetune: [head, full]              # the last layer only, or all of it\n"
    else:
        finetune = ""
    epochs, resolution = (10, 160) if start.pretrained else (30, 64)
    # Measured on photos and pretrained nets (docs/real-data.md); of a box the middle would be less than the object.
    square = _CROP if start.pretrained and found.view == "images" else ""
    return f"""\
trainable: image_classifier
fixed:
  epochs: {epochs}                          # at most; weak trials pause before
  pretrained: {str(start.pretrained).lower()}                    # {start.why}
  input_resolution: {resolution}               # pixels; more sees finer detail and costs its square
{square}space:
  model: [{", ".join(start.models)}]
{finetune}  optimizer: [adamw, sgd]
  lr: {{low: 1.0e-4, high: 1.0e-1, log: true}}
  batch_size: [16, 32]
objective: {{metric: {metric}, mode: max}}   # {why}
search: {{sampler: guided, trials: {trials}, seed: 0}}
pruner: {{kind: promotion}}               # a trial pauses after a third of its epochs; the best third go on
"""


_CROP = """\
  resize: crop                        # the middle of a picture; squash keeps its edges and bends it, pad adds grey
  crop_fraction: 0.95                 # of the shorter side
"""

_END = """\
resources: {cpus: 1, gpus: auto, max_concurrent: auto}
export: {formats: [onnx]}
# loggers: [csv, tensorboard]          # trackers that follow the sweep
# notify: {command: 'notify-send "$SWEEP_SWEEP $SWEEP_STATE"'}
"""


def _quoted(value: Any) -> str:
    """A value as YAML: JSON is YAML, too."""
    return value if isinstance(value, str) and value in BUILT_IN else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    """A text that ends no comment."""
    return " ".join(text.split())
