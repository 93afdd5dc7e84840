"""A checksum of a whole Parquet file, inside it: any tool reads the file as before, and we see every changed bit.

Parquet's own checksums are of pages; names, types, counts and statistics have none. Ours lies in the footer's
key-value metadata, and is of everything before and after its sixteen digits.
"""

from __future__ import annotations

import io
import mmap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

_KEY = "xxh3"
_DIGITS = 16
_SLOT = b"\x18\x04" + _KEY.encode() + b"\x18\x10"
"""How a footer (Thrift, compact) begins an entry with this key and a value of 16 bytes."""
_FOOTER_BYTES = 16 << 20


def to_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file with its checksum."""
    # Of a table that was read from such a file: it would be found in place of the one that is written here.
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != _KEY.encode()}
    table = table.replace_schema_metadata(metadata or None)
    sink = io.BytesIO()
    # With a checksum a page as well, which other readers look at.
    with pq.ParquetWriter(sink, table.schema, compression="snappy", write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: "0" * _DIGITS})
    content = bytearray(sink.getvalue())
    place = _place(content)
    assert place is not None, "Arrow writes the footer in another way than it did"
    content[place : place + _DIGITS] = _checksum(content, place)
    return bytes(content)


def check_parquet(path: Path) -> None:
    """Looks whether a file is as it was written. One of an earlier version has no checksum: nothing is known of it.

    Raises:
        OSError: it cannot be read.
        pyarrow.ArrowInvalid: it was changed.
    """
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise pa.ArrowInvalid("the file is empty") from None
        with content:
            place = _place(content)
            if place is not None and content[place : place + _DIGITS] != _checksum(content, place):
                raise pa.ArrowInvalid("its checksum is another: the file was changed after it was written")


def _place(content: bytearray | mmap.mmap) -> int | None:
    start = content.rfind(_SLOT, max(0, len(content) - _FOOTER_BYTES))
    return None if start < 0 else start + len(_SLOT)


def _checksum(content: bytearray | mmap.mmap, place: int) -> bytes:
    with memoryview(content) as view, view[:place] as before, view[place + _DIGITS :] as after:
        state = xxhash.xxh3_64(before)
        state.update(after)
        return state.hexdigest().encode()
