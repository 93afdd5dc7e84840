"""What a module of a format gives: recipes, each of which makes a file of the float model.

Such a module has `recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]`: groups of recipes, those first that make
the faster files. The next group is asked for only where no file of those before answers well enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt


class CannotConvert(Exception):
    """Why a model is not to be had in a format, in words."""


@dataclass(frozen=True)
class FloatModel:
    """What a format is made of.

    Attributes:
        path: of the float ONNX file.
        calibration: pictures of train as the model sees them, (N, H, W, C): what activations are like.
        scratch: an empty folder for what is needed meanwhile.
        num_threads: CPU threads to use.
    """

    path: Path
    calibration: npt.NDArray[np.uint8]
    scratch: Path
    num_threads: int


@dataclass(frozen=True)
class Recipe:
    """One way to make a format.

    Attributes:
        what: in words, for the record.
        write: writes the file; raises `CannotConvert`.
    """

    what: str
    write: Callable[[Path], None]


class MakesFormat(Protocol):
    """The module of a format."""

    def recipes(self, model: FloatModel) -> Iterator[Sequence[Recipe]]:
        """Groups of recipes; raises `CannotConvert` where there is none."""
        ...
