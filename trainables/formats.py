"""The formats in which a model can be published, each a file of the model package.

A further format is a line of `FORMATS` and a module with `recipes` (see `trainables.image.deployment.formats.recipe`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from trainables.extras import install_command

ONNX = "onnx"
"""The model as it was trained, in float32: every package has it, others are made of it and compared with it."""

AUTO = "auto"
"""Stands for every format that answers as well and is faster on this machine."""

MAX_DROP = 0.5
"""Percentage points."""


@dataclass(frozen=True)
class Format:
    """A further format of a model.

    Attributes:
        file: its name in the package.
        module: that makes it.
        what: it is, in a few words.
        needs: the optional package that makes and runs it, which is also the name of the extra that installs it.
    """

    file: str
    module: str
    what: str
    needs: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All that belongs to it: OpenVINO keeps the weights in a file of their own."""
        return (self.file, self.file.removesuffix(".xml") + ".bin") if self.file.endswith(".xml") else (self.file,)


_MODULES = "trainables.image.deployment.formats."

FORMATS: Mapping[str, Format] = {
    "onnx-int8": Format("model.int8.onnx", _MODULES + "int8", "weights and activations in 8 bits"),
    "onnx-fp16": Format("model.fp16.onnx", _MODULES + "fp16", "weights and activations in 16 bits"),
    "openvino": Format("model.openvino.xml", _MODULES + "openvino", "32-bit floats for OpenVINO", "openvino"),
}
"""Of what a package may have beside `onnx`."""

if TYPE_CHECKING:  # mypy takes no table for a Literal
    FormatName: TypeAlias = str
else:
    FormatName = Literal[(ONNX, *FORMATS)]


@dataclass(frozen=True)
class FormatsWanted:
    """What is asked of the further formats of a package.

    Attributes:
        names: of them, in `FORMATS`.
        max_drop: the most percentage points of accuracy on val that one may lose.
        only_faster: of them, those that are left out where they are not faster than the float model here.
        test: whether those that are published are judged on test, too: only of the one model that a sweep publishes.
        latency: the facts of latency that are measured of each file (see `trainables.facts`).
    """

    names: Sequence[FormatName]
    max_drop: float = MAX_DROP
    only_faster: Sequence[FormatName] = ()
    test: bool = False
    latency: Sequence[str] = ()


def further_formats(formats: Sequence[FormatName | Literal["auto"]]) -> tuple[FormatName, ...]:
    """What `export.formats` asks for beside `onnx`."""
    return tuple(name for name in FORMATS if name in formats or (AUTO in formats and not missing((name,))))


def missing(names: Sequence[FormatName]) -> Mapping[FormatName, str]:
    """The formats that an optional package would make which is not installed: how to install it, by name."""
    return {
        name: install_command(needs)
        for name in names
        if name in FORMATS and (needs := FORMATS[name].needs) and importlib.util.find_spec(needs) is None
    }
