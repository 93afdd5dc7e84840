"""Checksums find every changed bit, and leave files of earlier versions readable."""

from __future__ import annotations

import json

import pytest

from trainables.digests import (
    TRAILER_BYTES,
    DigestMismatch,
    content_bytes,
    from_sealed_json,
    is_sealed,
    sealed,
    to_sealed_json,
    trailer,
)


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits turned, one at a time."""
    return [
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]


def test_a_sealed_line_is_json_and_shows_a_change() -> None:
    line = sealed(b'{"loss":0.123}')
    assert is_sealed(line + b"\n")
    assert json.loads(line)["loss"] == 0.123
    for changed in flips(line):
        try:
            assert not is_sealed(changed)  # no checksum is seen any more: then its content is whole, or it is not JSON
            assert json.loads(changed)["loss"] == 0.123
        except ValueError:
            continue


def test_a_line_of_an_earlier_version_has_none() -> None:
    assert not is_sealed(b'{"loss":0.123}\n')
    assert not is_sealed(b"\n")


def test_a_trailer_shows_a_change() -> None:
    data = b"pixels" * 10
    whole = data + trailer(data)
    assert content_bytes(memoryview(whole)) == len(whole) - TRAILER_BYTES == len(data)
    for changed in [*flips(whole), data, b""]:
        with pytest.raises(DigestMismatch):
            content_bytes(memoryview(changed))


def test_a_json_object_is_sealed() -> None:
    values = {"weights": "/a/b.pth", "digest": "00ff"}
    content = to_sealed_json(values)
    assert from_sealed_json(content) == values
    assert from_sealed_json(json.dumps(values, indent=1).encode()) == values, "of an earlier version"
    for changed in flips(content):
        try:
            found = from_sealed_json(changed)
        except ValueError:
            continue
        assert {name: found[name] for name in values} == values
