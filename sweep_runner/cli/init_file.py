"""The sweep file that `sweep init` writes, with comments that say why."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from sweep_runner.cli.init_advice import split_lines
from sweep_runner.spec.suggested import Taken, written

if TYPE_CHECKING:
    from sweep_runner.cli.init_look import Found


def sweep_file(found: Found, taken: Taken, output: Path, name: str) -> str:
    """The text of the file."""
    # Below the name: a file's opening comment is the question that a report answers.
    header = [f"name: {written(name)}", f"# Written by sweep init. Next: sweep check {output}; sweep run {output}"]
    header += [f"# {part}" for line in taken.said for part in textwrap.wrap(_line(line), _WIDTH)]
    return "".join(("\n".join(header), "\n", data_part(found), "trainable: image_classifier\n", taken.text, _END))


def data_part(found: Found) -> str:
    """The data section: what was recognised, so that the file says it and a change of the folder is noticed."""
    lines = [f"data:   # {_line(found.reading.found)}"]
    lines += [f"  {key}: {written(value)}" for key, value in found.section.items()]
    if found.view == "images" and "crops" in found.views:
        lines.append("  # view: crops                        # one example per annotated object instead of per image")
    lines += split_lines(found.listing, found.warnings)
    if found.unequal:
        lines.append("  # balance: class_weights             # weights rare classes more in the loss")
    return "\n".join(lines) + "\n"


_WIDTH = 110
_END = """\
resources: {cpus: 1, gpus: auto, max_concurrent: auto}
export: {formats: [onnx]}
# loggers: [csv, tensorboard]          # experiment trackers
# notify: {command: 'notify-send "$SWEEP_SWEEP $SWEEP_STATE"'}
"""


def _line(text: str) -> str:
    """A text that ends no comment."""
    return " ".join(text.split())
