"""What a module of a format gives: recipes, each of which makes a file of the float model.

Such a module has `recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]`: groups of recipes, those first that make
the faster files. The next group is asked for only where no file of those before answers well enough.
"""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def refused(model: FloatModel, by: str) -> Iterator[None]:
    """Tells in words what a converter does not take: they refuse models by errors of many kinds.

    Args:
        model: that is converted.
        by: what converts.

    Raises:
        CannotConvert: it does not take the model.
        OSError: the disk is full.
    """
    try:
        yield
    except (OSError, CannotConvert):
        raise
    except MemoryError as error:
        raise CannotConvert(f"{by} needs more memory than there is") from error
    except Exception as error:
        # ONNX Runtime does not tell of a file that it wrote in part: what is read back is no model then.
        probe = model.scratch / "probe"
        probe.write_bytes(bytes(4 * model.path.stat().st_size))
        probe.unlink()
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CannotConvert(f"{by} does not take the model: {reason}") from error


class MakesFormat(Protocol):
    """The module of a format."""

    def recipes(self, model: FloatModel) -> Iterator[Sequence[Recipe]]:
        """Groups of recipes; raises `CannotConvert` where there is none."""
        ...
