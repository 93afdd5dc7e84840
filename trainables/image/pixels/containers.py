"""Files that hold many images: Parquet, Arrow, CIFAR batches, archives, arrays. Images stay there and are read by row.

What is read from them is remembered up to `KEEP_BYTES`, a row group (Parquet) or a file (CIFAR) at a time: reading in
order, as when the pixel cache is filled, reads everything once. Arrow files are mapped into memory, so that any order
does. Reading Parquet in random order reads a row group for each image: that happens where the pixel cache has no room.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.image.example import Member
from trainables.image.pixels import archives, arrays
from trainables.image.pixels.cifar_batches import Batch, parse_batch

KEEP_BYTES = 512 << 20

_OPEN_FILES = 64


def read_member(path: Path, member: Member) -> bytes:
    """The encoded image in a row of a file.

    Raises:
        OSError: the file cannot be read, is of no known kind, or has no image there.
    """
    try:
        stat = path.stat()
        with _lock:
            image = _opened(path, stat.st_size, stat.st_mtime_ns, member.column)(member.row)
    except pa.ArrowException as error:  # some of which are no OSError
        raise OSError(f"{path} cannot be read: {error}") from error
    except (ValueError, IndexError, KeyError) as error:
        raise OSError(f"{path} has no image in row {member.row}: {error}") from error
    if image is None:
        raise OSError(f"{path} has no image in row {member.row}: it is empty")
    return image


def is_arrow(path: Path) -> bool:
    """Whether a file is in Arrow's IPC format: a stream, or a file."""
    with path.open("rb") as file:
        head = file.read(6)
    return head == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff"


def map_arrow(path: Path) -> pa.Table:
    """An Arrow IPC file or stream, mapped into memory.

    Raises:
        OSError: it cannot be read.
        pa.ArrowInvalid: it is damaged.
    """
    mapped = pa.memory_map(str(path))
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    return (pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)).read_all()


def bytes_of(images: pa.ChunkedArray) -> pa.ChunkedArray:
    """The encoded images of a column, which is binary, or as Hugging Face has it, a struct with `bytes`."""
    if not pa.types.is_struct(images.type):
        return images
    return pa.chunked_array([chunk.field("bytes") for chunk in images.chunks], type=images.type.field("bytes").type)


@functools.lru_cache(maxsize=_OPEN_FILES)
def _opened(path: Path, size: int, changed: int, column: str) -> Callable[[int], bytes | None]:
    """Reads rows of a file; `size` and `changed` keep apart what was there at different times."""
    if column in (archives.ZIP, archives.TAR):
        return archives.reader(path, column)
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return _parquet_reader(path, column, (path, size, changed, column))
    if is_arrow(path):
        images = bytes_of(map_arrow(path)[column])
        return lambda row: _bytes(images[row])
    if head[:1] == b"\x80":  # a pickle

        def picture(row: int) -> bytes:
            batch: Batch = _kept.get((path, size, changed), lambda: _sized(parse_batch(path.read_bytes())))
            return batch.encoded(row)

        return picture
    if column != arrays.CSV_PIXELS and not arrays.is_stack(path):
        raise ValueError("no Parquet, Arrow, CIFAR or array file")

    def of_array(row: int) -> bytes:
        stack = _kept.get((path, size, changed, column), lambda: _sized_array(arrays.pictures(path, column)))
        return arrays.encoded(stack[row])

    return of_array


def _parquet_reader(path: Path, column: str, key: tuple[Any, ...]) -> Callable[[int], bytes | None]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    starts = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))])
    leaf = f"{column}.bytes" if pa.types.is_struct(file.schema_arrow.field(column).type) else column

    def load(group: int) -> tuple[pa.ChunkedArray, int]:
        table = file.read_row_group(group, columns=[leaf])
        return bytes_of(table[column]), table.nbytes

    def picture(row: int) -> bytes | None:
        if not 0 <= row < starts[-1]:
            raise IndexError(f"it has {starts[-1]} rows")
        group = int(np.searchsorted(starts, row, side="right")) - 1
        images = _kept.get((*key, group), lambda: load(group))
        return _bytes(images[row - int(starts[group])])

    return picture


def _bytes(value: pa.Scalar) -> bytes | None:
    content = value.as_py()
    assert content is None or isinstance(content, bytes), type(content)
    return content


def _sized(batch: Batch) -> tuple[Batch, int]:
    return batch, batch.pixels.nbytes


def _sized_array(array: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    return array, array.nbytes


class _Kept:
    """What was read last, up to a number of bytes; at least the very last."""

    def __init__(self) -> None:
        self._items: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._num_bytes = 0

    def get(self, key: tuple[Any, ...], load: Callable[[], tuple[Any, int]]) -> Any:
        """What is kept under the key, or else what `load` returns with its size."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key][0]
        item, size = load()
        self._items[key] = item, size
        self._num_bytes += size
        while self._num_bytes > KEEP_BYTES and len(self._items) > 1:
            _, (_, gone) = self._items.popitem(last=False)
            self._num_bytes -= gone
        return item


_kept = _Kept()
_lock = threading.Lock()
