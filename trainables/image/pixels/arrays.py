"""Files that hold all pictures of a split as one array: NumPy's .npz, HDF5, MNIST's idx, a CSV of pixels."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.extras import install_command

Shape = tuple[int, ...]
_INTEGER = re.compile(r"[+-]?\d+")

CSV_PIXELS = "pixels"
IDX = "idx"
"""What the array of a file is called whose array has no name."""

_IDX_TYPES = {0x08: np.uint8, 0x09: np.int8, 0x0B: np.int16, 0x0C: np.int32, 0x0D: np.float32, 0x0E: np.float64}


def is_npz(head: bytes) -> bool:
    """Whether a file begins as an .npz does: a zip archive whose first member is an array."""
    return head[:4] == b"PK\x03\x04" and b".npy" in head[:256]


def is_hdf5(head: bytes) -> bool:
    """Whether a file begins as HDF5 does."""
    return head[:8] == b"\x89HDF\r\n\x1a\n"


def is_idx(head: bytes) -> bool:
    """Whether a file begins as MNIST's arrays do, be it compressed."""
    if head[:2] == b"\x1f\x8b":
        try:
            head = gzip.GzipFile(fileobj=io.BytesIO(head)).read(4)
        except (OSError, EOFError):
            return False
    return len(head) > 3 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and head[3] in (1, 3, 4)


def is_stack(path: Path) -> bool:
    """Whether a file begins as one of arrays does; a CSV's beginning says nothing."""
    head = _head(path)
    return is_npz(head) or is_hdf5(head) or is_idx(head)


def arrays_in(path: Path) -> Mapping[str, Shape]:
    """The arrays of a file and their shapes; no array is read but MNIST's, which may be compressed.

    Raises:
        OSError: it cannot be read, or its package is not installed.
        ValueError: it is damaged.
    """
    head = _head(path)
    if is_npz(head):
        with _whole(), zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _npy_shape(archive, name) for name in archive.namelist()}
    if is_hdf5(head):
        found: dict[str, Shape] = {}
        with _hdf5(path) as file:
            file.visititems(lambda name, item: found.update({name: item.shape} if hasattr(item, "shape") else {}))
        return found
    if is_idx(head):
        return {IDX: load(path, IDX).shape}
    return {CSV_PIXELS: load(path, CSV_PIXELS).shape}


def load(path: Path, name: str) -> npt.NDArray[Any]:
    """One array of a file.

    Raises:
        OSError: it cannot be read, or its package is not installed.
        ValueError: it is damaged, or not what it says.
    """
    head = _head(path)
    if is_npz(head):
        with _whole(), np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    if is_hdf5(head):
        with _hdf5(path) as file:
            return np.asarray(file[name])
    return _idx(path) if is_idx(head) else _csv(path)[1]


def pictures(path: Path, name: str) -> npt.NDArray[np.uint8]:
    """The pictures of an array as (N, H, W) or (N, H, W, 3), 8 bits.

    Whole numbers from 0 to 255 stay; numbers from 0 to 1 are taken as shares of white.

    Raises:
        OSError, ValueError: as `load`; or its values are no pixels.
    """
    array = load(path, name)
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
        raise ValueError(f"{name} has the shape {array.shape}: images are (N, height, width) or (N, height, width, 3)")
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8)
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind in "iu" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.asarray(np.rint(array * 255), dtype=np.uint8)
    raise ValueError(
        f"{name} has values from {low:g} to {high:g} ({array.dtype}): "
        "pixels are whole numbers from 0 to 255, or shares of white from 0 to 1"
    )


def csv_labels(path: Path) -> npt.NDArray[np.int64]:
    """The labels of a CSV of pixels, (N,)."""
    return _csv(path)[0]


def encoded(picture: npt.NDArray[np.uint8]) -> bytes:
    """One picture as a PPM or PGM file, which costs nothing to write or read."""
    height, width = picture.shape[:2]
    content: bytes = np.ascontiguousarray(picture).tobytes()
    return b"P%d %d %d 255\n" % (6 if picture.ndim == 3 else 5, width, height) + content


def pixel_columns(line: str) -> tuple[int, int] | None:
    """Where a CSV's first line has the label, and a picture's side, if it is one of pixels: `label,pixel0,...`.

    Without a header the label comes first.
    """
    fields = [field.strip().strip('"') for field in line.strip().split(",")]
    if len(fields) < 50:
        return None
    label = next((place for place, field in enumerate(fields) if field.lower() in ("label", "class", "target")), None)
    numbers = all(field.lstrip("-").isdigit() for field in fields)
    if label is None and not numbers:
        return None
    side = math.isqrt(len(fields) - 1)
    return (label or 0, side) if side * side == len(fields) - 1 else None


def _csv(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline()
    found = pixel_columns(line)
    if found is None:
        raise ValueError("it is not a table of pixels: label,pixel0,pixel1,... of square images")
    label, side = found
    names = not line.split(",")[0].strip().strip('"').lstrip("-").isdigit()
    try:
        table = arrow_csv.read_csv(
            path, read_options=arrow_csv.ReadOptions(autogenerate_column_names=not names, block_size=1 << 24)
        )
        columns = [column.cast(pa.int64()).to_numpy() for column in table.columns]
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(_csv_problem(path) or " ".join(str(error).split())[:300]) from error
    if any(column.null_count for column in table.columns):
        raise ValueError(_csv_problem(path) or "some of its cells are empty")
    values = np.stack(columns[:label] + columns[label + 1 :], axis=1)
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise ValueError(f"its pixels go from {values.min()} to {values.max()}: they are 0 to 255")
    return columns[label], values.astype(np.uint8).reshape(-1, side, side)


def _csv_problem(path: Path) -> str:
    """The first line of a CSV of pixels that is not as the first; empty if there is none."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = enumerate(csv.reader(file), 1)
        width = len(next(rows)[1])
        for line, cells in rows:
            if cells and len(cells) != width:
                return (
                    f"line {line} has {len(cells)} columns, line 1 has {width}: a CSV of pixels holds images of one "
                    "size, square and grey. Write others as files, in one folder per class (Datumaro: imagenet)"
                )
            if strange := [place for place, cell in enumerate(cells) if not _INTEGER.fullmatch(cell.strip())]:
                place = strange[0]
                return (
                    f"line {line}, column {place + 1}: {cells[place][:40]!r} is not a whole number: "
                    "labels are numbers, and pixels go from 0 to 255"
                )
    return ""


def _idx(path: Path) -> npt.NDArray[Any]:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"it is cut short or damaged: {error}") from error
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist())
    kind = np.dtype(_IDX_TYPES[content[2]]).newbyteorder(">")
    if len(content) - start != math.prod(shape) * kind.itemsize:
        raise ValueError(
            f"its header says {' × '.join(map(str, shape))} values, and {len(content) - start:,} bytes follow: "
            "it is cut short, or its images are of several sizes"
        )
    return np.frombuffer(content, dtype=kind, offset=start).reshape(shape)


def _npy_shape(archive: zipfile.ZipFile, name: str) -> Shape:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape: Shape = read(file)[0]
    return shape


def _hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise OSError(f"HDF5 needs the package h5py: {install_command('hdf5')}") from error
    return h5py.File(path, "r")


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Says of a damaged archive that it is one, as a ValueError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it is cut short or damaged: {error}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(256)
