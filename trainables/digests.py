"""Checksums of files that results depend on: written with each file, and compared when it is read.

XXH3 (https://xxhash.com, 64 bits) finds what disks, networks and hands do to bytes, at the speed of memory. It is no
protection against somebody who means to deceive.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from typing import Any

import xxhash

Readable = bytes | bytearray | memoryview | mmap.mmap
_MARK = b"xxh3-64\n"
TRAILER_BYTES = len(_MARK) + 8
_KEY = b',"xxh3":"'
_LINE_END_BYTES = len(_KEY) + 16 + len(b'"}')


class DigestMismatch(ValueError):
    """What is there is not what was written."""


def digest(data: Readable) -> bytes:
    """The checksum, 8 bytes."""
    return xxhash.xxh3_64_digest(data)


# Files whose end holds the checksum of the rest -----------------------------------------------------------


def trailer(data: Readable) -> bytes:
    """What follows `data` in a file that is checked when it is read: `TRAILER_BYTES` bytes."""
    return trailer_of(digest(data))


def trailer_of(checksum: bytes) -> bytes:
    """As `trailer`, where the checksum is known."""
    return _MARK + checksum


def content_bytes(data: memoryview) -> int:
    """How many bytes come before the trailer.

    Raises:
        DigestMismatch: there is no trailer, or it is of other bytes.
    """
    size = len(data) - TRAILER_BYTES
    if size < 0 or bytes(data[size : size + len(_MARK)]) != _MARK:
        raise DigestMismatch("its checksum is missing")
    with data[:size] as content:
        if bytes(data[size + len(_MARK) :]) != digest(content):
            raise DigestMismatch("its checksum is another")
    return size


# Lines of JSON ---------------------------------------------------------------------------------------------


def sealed(line: bytes) -> bytes:
    """A line that holds a JSON object, with its checksum as the object's last member.

    Args:
        line: a JSON object that is not empty, without a newline at its end.
    """
    assert line.endswith(b"}"), "a JSON object"
    return b'%b%b%016x"}' % (line[:-1], _KEY, xxhash.xxh3_64_intdigest(line))


def is_sealed(line: bytes) -> bool:
    """Whether a line holds a checksum, and it is right. Lines of earlier versions hold none.

    Args:
        line: with or without its newline.

    Raises:
        DigestMismatch: it holds the checksum of another line.
    """
    line = line.removesuffix(b"\n")
    start = len(line) - _LINE_END_BYTES
    if start <= 0 or not line.startswith(_KEY, start):
        return False
    if sealed(line[:start] + b"}") != line:
        raise DigestMismatch("its checksum is another")
    return True


# JSON files ------------------------------------------------------------------------------------------------


def to_sealed_json(values: Mapping[str, Any]) -> bytes:
    """A JSON object as one line that `from_sealed_json` checks."""
    return sealed(json.dumps(values, separators=(",", ":")).encode())


def from_sealed_json(content: bytes) -> dict[str, Any]:
    """The object that `to_sealed_json` wrote, or one without a checksum, of an earlier version.

    Raises:
        DigestMismatch: it was changed.
        ValueError: it is not JSON object.
    """
    is_sealed(content)
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    values.pop("xxh3", None)
    return values
