"""CIFAR's python batches, which are pickles: read without letting them run anything."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 32
_ROW_BYTES = 3 * SIDE * SIDE


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in a pickle that Python 2 can read; only in the one encoding that it uses for that."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode("latin-1")


def _from_buffer(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    """How numpy writes an array in pickles of protocol 5."""
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


# What an array is made of when it is unpickled; asked of numpy itself, because it moves them between releases.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _OnlyArrays(pickle.Unpickler):
    """Makes dicts, lists, numbers, text, bytes and numpy arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
        return _ALLOWED[module, name]


@dataclass(frozen=True)
class Batch:
    """A batch of pictures.

    Attributes:
        pixels: red, then green, then blue, row by row, (N, 3072) uint8.
        labels: class numbers, (N,).
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def encoded(self, row: int) -> bytes:
        """One picture as a PPM file, which costs nothing to write or read."""
        picture = self.pixels[row].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        content: bytes = picture.tobytes()
        return b"P6 %d %d 255\n" % (SIDE, SIDE) + content


def parse_batch(content: bytes) -> Batch:
    """The pictures and labels of a batch; CIFAR-100's fine labels.

    Raises:
        ValueError: it is no such batch, or asks for more than a batch needs.
    """
    found = parse_pickle(content)
    pixels, labels = found.get("data"), found.get("labels", found.get("fine_labels"))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError("it has no pixels (`data`, a row of bytes per image)")
    if pixels.shape[1] != _ROW_BYTES:
        raise ValueError(f"its images have {pixels.shape[1]} values, not 3 × {SIDE} × {SIDE}")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(type(label) is int for label in labels):
        raise ValueError(f"it does not have a class number for each of its {len(pixels)} images (`labels`)")
    return Batch(pixels, np.array(labels, dtype=np.int64))


def parse_pickle(content: bytes) -> dict[str, Any]:
    """A pickled dict of plain values and arrays, its keys as text.

    Raises:
        ValueError: it is damaged, no dict, or asks for anything else.
    """
    try:
        # Python 2 wrote the official files; an array's content is a string to it.
        found = _OnlyArrays(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # damaged pickles fail in every imaginable way
        raise ValueError(f"no CIFAR batch: {error or type(error).__name__}") from error
    if not isinstance(found, dict):
        raise ValueError(f"no CIFAR batch: it holds a {type(found).__name__}, not a dict")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}
